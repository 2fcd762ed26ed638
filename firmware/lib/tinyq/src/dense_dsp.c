/* SPDX-License-Identifier: Apache-2.0 */
#include "dense_blocks.h"

#include <stddef.h>

/* Sum of all elements of x. */
static int32_t total_of(const uint8_t *x, uint32_t count, int is_signed) {
    const int32_t sign = tq_sign_bit(is_signed);
    int32_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += tq_read(x[i], sign);
    }
    return total;
}

void tq_run_dense_dsp(const tq_dense_dsp *layer, const void *input, void *output) {
    tq_dense_dsp_x x = {.bytes = input, .count = layer->inputs};
    const uint32_t *weights = layer->weights;
    uint8_t *const outputs = output;
    int32_t sums[BLOCK];
    uint32_t done = 0;
    if (layer->tail == 4) {
        x.total = total_of(x.bytes, x.count, layer->is_signed);
    }
    if (layer->run != NULL && layer->outputs >= BLOCK) {
        tq_dense_dsp_blocks job =
            blocks_of(&layer->requant, weights, input, layer->inputs, layer->outputs, output);
        job.eight = 8U * (uint32_t)x.total;
        layer->run(&job);
        weights = job.weights;
        done = layer->outputs / BLOCK * BLOCK;
    }
    for (uint32_t first = done; first < layer->outputs;) {
        const uint32_t left = layer->outputs - first;
        /* Filled up to whole words, the last channels may be a block. */
        const uint32_t channels = left + layer->tail > BLOCK ? BLOCK : layer->tail;
        const uint32_t count = left < channels ? left : channels;
        weights = layer->sum(weights, &x, channels, sums);
        finish_sums(&layer->requant, first, count, sums, outputs + first);
        first += count;
    }
}
