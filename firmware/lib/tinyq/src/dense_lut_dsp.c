/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/dense_lut_dsp.h>

#include "lanes_dsp.h"

enum { CODES = 16, LANES = CODES * CODES + 1, BLOCK = 8 };

/* The images of the sequence in which every code is followed once by every code. */
static void lay_out(const int8_t *table, int16_t *lanes) {
    for (uint32_t i = 0; i < CODES; i++) {
        *lanes++ = table[i];
        for (uint32_t j = i + 1; j < CODES; j++) {
            *lanes++ = table[i];
            *lanes++ = table[j];
        }
    }
    *lanes = table[0];
}

/* sum + x * the weights of code byte `code`. */
TQ_INLINE uint32_t add(uint32_t sum, uint32_t x, const int16_t *lanes, uint32_t code) {
    return tq_smlad(x, tq_load32(lanes + code), sum);
}

/* Two inputs, eight channels. */
#define ADD_BLOCK(x, codes)                                                                        \
    do {                                                                                           \
        s0 = add(s0, x, lanes, (codes)[0]);                                                        \
        s1 = add(s1, x, lanes, (codes)[1]);                                                        \
        s2 = add(s2, x, lanes, (codes)[2]);                                                        \
        s3 = add(s3, x, lanes, (codes)[3]);                                                        \
        s4 = add(s4, x, lanes, (codes)[4]);                                                        \
        s5 = add(s5, x, lanes, (codes)[5]);                                                        \
        s6 = add(s6, x, lanes, (codes)[6]);                                                        \
        s7 = add(s7, x, lanes, (codes)[7]);                                                        \
    } while (0)

TQ_INLINE void sum_block(const int16_t *lanes, const uint8_t *codes, const uint8_t *x,
                         uint32_t left, int32_t *sums, int is_signed) {
    uint32_t s0 = 0;
    uint32_t s1 = 0;
    uint32_t s2 = 0;
    uint32_t s3 = 0;
    uint32_t s4 = 0;
    uint32_t s5 = 0;
    uint32_t s6 = 0;
    uint32_t s7 = 0;
    while (left > 0) {
        const uint32_t bytes = left >= 4 ? tq_load32(x) : load_last(x, left);
        const uint32_t even = even_lanes(bytes, is_signed);
        const uint32_t odd = odd_lanes(bytes, is_signed);
        ADD_BLOCK(even, codes);
        ADD_BLOCK(odd, codes + BLOCK);
        codes += 2 * BLOCK;
        x += 4;
        left -= left >= 4 ? 4 : left;
    }
    sums[0] = (int32_t)s0;
    sums[1] = (int32_t)s1;
    sums[2] = (int32_t)s2;
    sums[3] = (int32_t)s3;
    sums[4] = (int32_t)s4;
    sums[5] = (int32_t)s5;
    sums[6] = (int32_t)s6;
    sums[7] = (int32_t)s7;
}

TQ_INLINE void sum_one(const int16_t *lanes, const uint8_t *codes, const uint8_t *x, uint32_t left,
                       int32_t *sums, int is_signed) {
    uint32_t sum = 0;
    while (left > 0) {
        const uint32_t bytes = left >= 4 ? tq_load32(x) : load_last(x, left);
        sum = add(sum, even_lanes(bytes, is_signed), lanes, *codes++);
        sum = add(sum, odd_lanes(bytes, is_signed), lanes, *codes++);
        x += 4;
        left -= left >= 4 ? 4 : left;
    }
    sums[0] = (int32_t)sum;
}

static void sum_channels(const int16_t *lanes, const uint8_t *codes, const tq_dense_lut_dsp *layer,
                         const uint8_t *x, uint32_t channels, int32_t *sums) {
    const uint32_t inputs = layer->inputs;
    if (channels == BLOCK) {
        if (layer->is_signed) {
            sum_block(lanes, codes, x, inputs, sums, 1);
        } else {
            sum_block(lanes, codes, x, inputs, sums, 0);
        }
    } else {
        sum_one(lanes, codes, x, inputs, sums, layer->is_signed);
    }
}

void tq_run_dense_lut_dsp(const tq_dense_lut_dsp *layer, const void *input, void *output) {
    const uint32_t channel_bytes = (layer->inputs + 3) / 4 * 2;
    const uint8_t *codes = layer->codes;
    uint8_t *const outputs = output;
    int16_t lanes[LANES];
    int32_t sums[BLOCK];

    lay_out(layer->table, lanes);
    for (uint32_t first = 0; first < layer->outputs;) {
        const uint32_t channels = layer->outputs - first < BLOCK ? 1 : BLOCK;
        sum_channels(lanes, codes, layer, input, channels, sums);
        finish_sums(&layer->requant, first, channels, sums, outputs + first);
        codes += channels * channel_bytes;
        first += channels;
    }
}
