/* SPDX-License-Identifier: Apache-2.0
 * The harness of every emulated core and of the host: drives any model through tq_model.
 *
 * With a tinyq_cmd.bin in the working directory it does what that file asks for and exits with 0
 * (all files are little-endian; "word" is a uint32):
 *
 *   tinyq_cmd.bin      words: MAGIC, number of samples, flags (RUN_*)
 *   tinyq_in.bin       the samples, one after another; of each all input tensors in their order
 *   tinyq_out.bin      of each sample all output tensors in their order
 *   tinyq_trace.bin    RUN_TRACE: of each sample and layer the words {layer, bytes}, then the
 * tensor tinyq_profile.bin  RUN_PROFILE: of each sample clock readings, see profile_sample
 *   tinyq_report.bin   words: MAGIC, samples done, result of the self-test, stack used, layers,
 *                      bytes of a sample's inputs, bytes of its outputs, stack in use where invoke
 *                      is called (0: no sample ran)
 *
 * Without that file it runs the model's self-test, says so in a line and exits with 0 or 1.
 * Inputs are read straight into the model and outputs written straight out of it: no buffer. */
#include <stdint.h>

#include "tinyq/model.h"
#include "tq_port.h"

#ifndef TQ_MODEL
#error "say which model to run, for example -DTQ_MODEL=demo_model"
#endif
extern const tq_model TQ_MODEL;

#define MAGIC 0x31515154u /* "TQQ1" */
enum { RUN_SELFTEST = 1, RUN_TRACE = 2, RUN_PROFILE = 4 };
enum {
    EXIT_OK = 0,
    EXIT_SELFTEST = 1, /* the self-test failed (only without a command file) */
    EXIT_PROTOCOL = 2, /* a command, input or output file is missing, short or cannot be written */
    EXIT_INIT = 3,     /* the model's init failed */
    EXIT_PROFILE = 4,  /* this machine has no clock to count with */
    EXIT_STACK = 5     /* the stack ran into the data below it: nothing can be trusted */
};

typedef struct command {
    uint32_t magic;
    uint32_t samples;
    uint32_t flags;
} command;

static const tq_model *const model = &TQ_MODEL;
static int trace_file;
static int profile_file;
static uint32_t stack_outside; /* the stack in use where invoke is called */
static uint32_t unwritten;     /* bytes that any file refused */

static void put(int file, const void *data, uint32_t bytes) {
    unwritten |= tq_port_write(file, data, bytes);
}

static int open_or_exit(const char *name, tq_port_mode mode) {
    const int file = tq_port_open(name, mode);
    if (file < 0) {
        tq_port_print("tinyq: cannot open ");
        tq_port_print(name);
        tq_port_print("\n");
        tq_port_exit(EXIT_PROTOCOL);
    }
    return file;
}

static void read_or_exit(int file, void *to, uint32_t bytes) {
    if (tq_port_read(file, to, bytes) != bytes) {
        tq_port_print("tinyq: an input file is too short\n");
        tq_port_exit(EXIT_PROTOCOL);
    }
}

static uint32_t sum(const uint32_t *terms, uint32_t count) {
    uint32_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += terms[i];
    }
    return total;
}

static void read_inputs(int file) {
    for (unsigned i = 0; i < model->input_count; i++) {
        read_or_exit(file, model->input(i), model->input_bytes[i]);
    }
}

static void write_outputs(int file) {
    for (unsigned i = 0; i < model->output_count; i++) {
        put(file, model->output(i), model->output_bytes[i]);
    }
}

static void set_hook(tq_hook hook) {
    if (model->set_hook != 0) {
        model->set_hook(hook, 0);
    }
}

static void trace_layer(void *user, unsigned layer, const void *data, uint32_t bytes) {
    const uint32_t header[2] = {layer, bytes};
    (void)user;
    put(trace_file, header, sizeof header);
    put(trace_file, data, bytes);
}

/* Branches nowhere, so that every call costs the same number of instructions on both sides of the
 * reading; tq_port_measure calibrates that number out. */
static void stamp(void *user, unsigned layer, const void *data, uint32_t bytes) {
    const uint32_t now = tq_port_clock();
    (void)user;
    (void)layer;
    (void)data;
    (void)bytes;
    put(profile_file, &now, sizeof now);
}

static void measure_invoke(void) {
    if (tq_port_measure(stamp, model->invoke) != 0) {
        tq_port_print("tinyq: instructions are counted on emulated cores only\n");
        tq_port_exit(EXIT_PROFILE);
    }
}

/* Two inferences of the sample. Words: [a b e] without hooks, [a b l0 l1 .. e] with the hook, where
 * a and b calibrate, e comes after invoke and l_i after layer i. */
static void profile_sample(int inputs, uint32_t offset) {
    measure_invoke();
    if (tq_port_seek(inputs, offset) != 0) {
        tq_port_exit(EXIT_PROTOCOL);
    }
    read_inputs(inputs);
    set_hook(stamp);
    measure_invoke();
    set_hook(0);
}

static void run_samples(const command *request) {
    const uint32_t sample_bytes = sum(model->input_bytes, model->input_count);
    const int inputs = open_or_exit("tinyq_in.bin", TQ_PORT_READ);
    const int outputs = open_or_exit("tinyq_out.bin", TQ_PORT_WRITE);
    for (uint32_t n = 0; n < request->samples; n++) {
        read_inputs(inputs);
        if ((request->flags & RUN_PROFILE) != 0) {
            profile_sample(inputs, n * sample_bytes);
        } else {
            stack_outside = tq_port_stack_depth();
            model->invoke();
        }
        write_outputs(outputs);
    }
    tq_port_close(inputs);
    tq_port_close(outputs);
}

static void write_report(const command *request, int selftest) {
    const uint32_t report[] = {MAGIC,
                               request->samples,
                               (uint32_t)selftest,
                               tq_port_stack_used(),
                               model->layer_count,
                               sum(model->input_bytes, model->input_count),
                               sum(model->output_bytes, model->output_count),
                               stack_outside};
    const int file = open_or_exit("tinyq_report.bin", TQ_PORT_WRITE);
    put(file, report, sizeof report);
    tq_port_close(file);
}

static int obey(const command *request) {
    int selftest = 0;
    if ((request->flags & RUN_SELFTEST) != 0) {
        selftest = model->selftest();
        model->reset();
    }
    if ((request->flags & RUN_TRACE) != 0) {
        trace_file = open_or_exit("tinyq_trace.bin", TQ_PORT_WRITE);
        set_hook(trace_layer);
    }
    if ((request->flags & RUN_PROFILE) != 0) {
        profile_file = open_or_exit("tinyq_profile.bin", TQ_PORT_WRITE);
        tq_port_clock_start();
    }
    run_samples(request);
    write_report(request, selftest);
    if (!tq_port_stack_intact()) {
        return EXIT_STACK;
    }
    return unwritten == 0 ? EXIT_OK : EXIT_PROTOCOL;
}

static int selftest_and_say(void) {
    const int failed = model->selftest();
    tq_port_print("tinyq: ");
    tq_port_print(model->name);
    tq_port_print(failed == 0 ? ": self-test passed\n" : ": self-test FAILED\n");
    return failed == 0 ? EXIT_OK : EXIT_SELFTEST;
}

int main(void) {
    command request = {0, 0, 0};
    const int file = tq_port_open("tinyq_cmd.bin", TQ_PORT_READ);
    if (model->init(0) != TQ_OK) {
        tq_port_print("tinyq: the model's init failed\n");
        return EXIT_INIT;
    }
    if (file < 0) {
        return selftest_and_say();
    }
    read_or_exit(file, &request, sizeof request);
    tq_port_close(file);
    return request.magic == MAGIC ? obey(&request) : EXIT_PROTOCOL;
}
