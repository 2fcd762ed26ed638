/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/dense_dsp.h>

#include "lanes_dsp.h"

/* Sums of four channels: of x times the lanes, and of x times what is left of them without the
 * highest one, two, three nibbles. */
typedef struct quad {
    uint32_t all;
    uint32_t three;
    uint32_t two;
    uint32_t one;
} quad;

TQ_INLINE quad add(quad sum, uint32_t x, uint32_t lanes) {
    sum.all = tq_smlad(x, lanes, sum.all);
    lanes &= ~UINT32_C(0xF000F000);
    sum.three = tq_smlad(x, lanes, sum.three);
    lanes = tq_uxtb16(lanes);
    sum.two = tq_smlad(x, lanes, sum.two);
    lanes &= ~UINT32_C(0x00F000F0);
    sum.one = tq_smlad(x, lanes, sum.one);
    return sum;
}

/* eight: 8 * total of x, the offset of the lower nibbles. */
static void store(quad sum, uint32_t eight, int32_t *to) {
    to[0] = (int32_t)(sum.one - eight);
    to[1] = (int32_t)(sum.two - sum.one - (eight << 4)) >> 4;
    to[2] = (int32_t)(sum.three - sum.two - (eight << 8)) >> 8;
    to[3] = (int32_t)(sum.all - sum.three) >> 12;
}

/* Channels: a compile-time 4 or 8. */
TQ_INLINE const uint32_t *sum_block(const uint32_t *weights, const tq_dense_x *input,
                                    uint32_t channels, int32_t *sums, int is_signed) {
    const uint8_t *x = input->bytes;
    const uint32_t eight = 8U * (uint32_t)input->total;
    quad a = {0, 0, 0, 0};
    quad b = a;
    for (uint32_t left = input->count; left > 0;) {
        const uint32_t bytes = left >= 4 ? tq_load32(x) : load_last(x, left);
        const uint32_t even = even_lanes(bytes, is_signed);
        const uint32_t odd = odd_lanes(bytes, is_signed);
        a = add(a, even, *weights++);
        if (channels == 8) {
            b = add(b, even, *weights++);
        }
        a = add(a, odd, *weights++);
        if (channels == 8) {
            b = add(b, odd, *weights++);
        }
        x += 4;
        left -= left >= 4 ? 4 : left;
    }
    store(a, eight, sums);
    if (channels == 8) {
        store(b, eight, sums + 4);
    }
    return weights;
}

const uint32_t *tq_sum_dense_int4_s8(const uint32_t *weights, const tq_dense_x *x,
                                     uint32_t channels, int32_t *sums) {
    return channels == 8 ? sum_block(weights, x, 8, sums, 1) : sum_block(weights, x, 4, sums, 1);
}

const uint32_t *tq_sum_dense_int4_u8(const uint32_t *weights, const tq_dense_x *x,
                                     uint32_t channels, int32_t *sums) {
    return channels == 8 ? sum_block(weights, x, 8, sums, 0) : sum_block(weights, x, 4, sums, 0);
}
