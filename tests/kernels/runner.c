/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage: program INPUTS OUTPUTS. Reads every inference's inputs, writes guard, output, guard.
 * Inputs are allocated to the byte, so that AddressSanitizer sees every read outside.
 */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void stop(const char *message) {
    fprintf(stderr, "%s\n", message);
    exit(2);
}

static unsigned char *allocate(size_t bytes) {
    unsigned char *p = malloc(bytes > 0 ? bytes : 1);
    if (p == NULL) {
        stop("out of memory");
    }
    return p;
}

static void run_once(const test_case *test, FILE *in, FILE *out) {
    const size_t bytes = test->output_bytes;
    unsigned char *const guarded = allocate(bytes + 2 * GUARD);
    unsigned char *buffers[MAX_INPUTS];
    const void *inputs[MAX_INPUTS];

    memset(guarded, 0xA5, bytes + 2 * GUARD);
    for (unsigned i = 0; i < test->inputs; i++) {
        buffers[i] = allocate(test->input_bytes[i]);
        if (fread(buffers[i], 1, test->input_bytes[i], in) != test->input_bytes[i]) {
            stop("inputs too short");
        }
        inputs[i] = buffers[i];
        if ((int)i == test->in_place) {
            memcpy(guarded + GUARD, buffers[i], bytes);
            inputs[i] = guarded + GUARD;
        }
    }
    unsigned char *const scratch = allocate(test->scratch_bytes);
    memset(scratch, 0x5A, test->scratch_bytes); /* nothing may rely on what it held */
    test->run(inputs, guarded + GUARD, scratch);
    free(scratch);
    if (fwrite(guarded, 1, bytes + 2 * GUARD, out) != bytes + 2 * GUARD) {
        stop("cannot write the outputs");
    }
    for (unsigned i = 0; i < test->inputs; i++) {
        free(buffers[i]);
    }
    free(guarded);
}

int main(int argc, char **argv) {
    FILE *const in = argc > 2 ? fopen(argv[1], "rb") : NULL;
    FILE *const out = argc > 2 ? fopen(argv[2], "wb") : NULL;
    if (in == NULL || out == NULL) {
        stop("usage: program INPUTS OUTPUTS");
    }
    for (unsigned i = 0; i < test_case_count; i++) {
        for (unsigned n = 0; n < test_cases[i].count; n++) {
            run_once(&test_cases[i], in, out);
        }
    }
    fclose(in);
    return fclose(out) == 0 ? 0 : 2;
}
