/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/dense_dsp.h>

#include "lanes_dsp.h"

enum { PAIRS = 4 };

/* Sums of two channels: of x times the lanes, and of x times their low bytes. */
typedef struct pair {
    uint32_t raw;
    uint32_t low;
} pair;

TQ_INLINE pair add(pair sum, uint32_t x, uint32_t lanes) {
    sum.raw = tq_smlad(x, lanes, sum.raw);
    sum.low = tq_smlad(x, tq_sxtb16(lanes), sum.low);
    return sum;
}

static void store(pair sum, int32_t *to) {
    to[0] = (int32_t)sum.low;
    to[1] = (int32_t)(sum.raw - sum.low) >> 8;
}

/* Four inputs, eight channels. */
#define ADD_BLOCK(bytes)                                                                           \
    do {                                                                                           \
        const uint32_t even = even_lanes(bytes, is_signed);                                        \
        const uint32_t odd = odd_lanes(bytes, is_signed);                                          \
        a = add(a, even, weights[0]);                                                              \
        b = add(b, even, weights[1]);                                                              \
        c = add(c, even, weights[2]);                                                              \
        d = add(d, even, weights[3]);                                                              \
        a = add(a, odd, weights[4]);                                                               \
        b = add(b, odd, weights[5]);                                                               \
        c = add(c, odd, weights[6]);                                                               \
        d = add(d, odd, weights[7]);                                                               \
        weights += 2 * PAIRS;                                                                      \
    } while (0)

TQ_INLINE const uint32_t *sum_block(const uint32_t *weights, const tq_dense_x *input, int32_t *sums,
                                    int is_signed) {
    const uint8_t *x = input->bytes;
    const uint8_t *const end = x + input->count / 4 * 4;
    pair a = {0, 0};
    pair b = a;
    pair c = a;
    pair d = a;
    for (; x != end; x += 4) {
        const uint32_t bytes = tq_load32(x);
        ADD_BLOCK(bytes);
    }
    if (input->count % 4 != 0) {
        const uint32_t bytes = load_last(x, input->count % 4);
        ADD_BLOCK(bytes);
    }
    store(a, sums);
    store(b, sums + 2);
    store(c, sums + 4);
    store(d, sums + 6);
    return weights;
}

TQ_INLINE const uint32_t *sum_pair(const uint32_t *weights, const tq_dense_x *input, int32_t *sums,
                                   int is_signed) {
    const uint8_t *x = input->bytes;
    pair sum = {0, 0};
    for (uint32_t left = input->count; left > 0;) {
        const uint32_t bytes = left >= 4 ? tq_load32(x) : load_last(x, left);
        sum = add(sum, even_lanes(bytes, is_signed), weights[0]);
        sum = add(sum, odd_lanes(bytes, is_signed), weights[1]);
        weights += 2;
        x += 4;
        left -= left >= 4 ? 4 : left;
    }
    store(sum, sums);
    return weights;
}

const uint32_t *tq_sum_dense_int8_s8(const uint32_t *weights, const tq_dense_x *x,
                                     uint32_t channels, int32_t *sums) {
    return channels == 2 ? sum_pair(weights, x, sums, 1) : sum_block(weights, x, sums, 1);
}

const uint32_t *tq_sum_dense_int8_u8(const uint32_t *weights, const tq_dense_x *x,
                                     uint32_t channels, int32_t *sums) {
    return channels == 2 ? sum_pair(weights, x, sums, 0) : sum_block(weights, x, sums, 0);
}
