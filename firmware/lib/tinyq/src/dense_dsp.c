/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/dense_dsp.h>

#include "lanes_dsp.h"

enum { BLOCK = 8 };

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
    tq_dense_x x = {.bytes = input, .count = layer->inputs};
    const uint32_t *weights = layer->weights;
    uint8_t *const outputs = output;
    int32_t sums[BLOCK];
    if (layer->tail == 4) {
        x.total = total_of(x.bytes, x.count, layer->is_signed);
    }
    for (uint32_t first = 0; first < layer->outputs;) {
        const uint32_t left = layer->outputs - first;
        /* Filled up to whole words, the last channels may be a block. */
        const uint32_t channels = left + layer->tail > BLOCK ? BLOCK : layer->tail;
        const uint32_t count = left < channels ? left : channels;
        weights = layer->sum(weights, &x, channels, sums);
        finish_sums(&layer->requant, first, count, sums, outputs + first);
        first += count;
    }
}
