/* SPDX-License-Identifier: Apache-2.0
 * The project's model, whichever it is: its self-test, its hook and its repeatability on this core.
 */
#include "tinyq/crc32.h"
#include "tinyq/model.h"
#include "tq_test.h"

extern const tq_model TQ_MODEL;
static const tq_model *const model = &TQ_MODEL;

static void fill_inputs(uint32_t seed) {
    for (unsigned i = 0; i < model->input_count; i++) {
        uint8_t *const bytes = model->input(i);
        for (uint32_t k = 0; k < model->input_bytes[i]; k++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[k] = (uint8_t)(seed >> 24);
        }
    }
}

static uint32_t outputs_crc(void) {
    uint32_t crc = 0;
    for (unsigned i = 0; i < model->output_count; i++) {
        crc = tq_crc32(crc, model->output(i), model->output_bytes[i]);
    }
    return crc;
}

static uint32_t infer(uint32_t seed) {
    fill_inputs(seed);
    model->invoke();
    return outputs_crc();
}

static void init_succeeds(void) {
    TQ_EQUAL(TQ_OK, model->init(0));
}

static void selftest_passes(void) {
    TQ_EQUAL(0, model->selftest());
}

static void same_input_same_output(void) {
    const uint32_t first = infer(1);
    (void)infer(2);
    TQ_EQUAL(first, infer(1));
}

static void note_layer(void *user, unsigned layer, const void *data, uint32_t bytes) {
    unsigned *const next = user;
    TQ_EQUAL(*next, layer);
    TQ_EQUAL(1, data != 0 && bytes > 0);
    (*next)++;
}

static void hook_sees_every_layer_in_order(void) {
    unsigned layers = 0;
    model->set_hook(note_layer, &layers);
    (void)infer(3);
    model->set_hook(0, 0);
    TQ_EQUAL(model->layer_count, layers);
}

int main(void) {
    TQ_RUN(init_succeeds);
    TQ_RUN(selftest_passes);
    TQ_RUN(same_input_same_output);
    TQ_RUN(hook_sees_every_layer_in_order);
    return 0;
}
