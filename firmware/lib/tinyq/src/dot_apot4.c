/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights that are sums of two powers of two: a sign above a bit that adds 2 above 2 bits t, which
 * add nothing (t = 0), 1, 8 or 4 (t = 1, 2, 3): 2^(t ^ 1). Each term is a shifted activation, and
 * where the weight is zero nothing is done.
 */
#include <stdint.h>

#include "inline.h"

#define CODE_BITS   4
#define ADD_PRODUCT add_shifted

/* x * magnitude; unsigned, because a negative number has no defined left shift. */
ALWAYS_INLINE uint32_t shifted(uint32_t x, uint32_t raw) {
    const uint32_t t = raw & 3U;
    uint32_t product = 0;
    if (t != 0) {
        product = x << (t ^ 1U);
    }
    if ((raw & 4U) != 0) {
        product += x << 1;
    }
    return product;
}

ALWAYS_INLINE uint32_t add_shifted(uint32_t sum, uint32_t x, uint32_t raw) {
    if ((raw & 7U) == 0) {
        return sum;
    }
    return (raw & 8U) != 0 ? sum - shifted(x, raw) : sum + shifted(x, raw);
}

ALWAYS_INLINE int32_t image(uint32_t raw, const int8_t *table) {
    (void)table;
    return (int32_t)add_shifted(0, 1, raw);
}

#include "dot_impl.h"

void tq_dot_apot4_s8(const tq_weights *weights, const tq_segment *segment, uint32_t first,
                     uint32_t count, int32_t *sums) {
    dot(weights, segment, first, count, sums, 1);
}

void tq_dot_apot4_u8(const tq_weights *weights, const tq_segment *segment, uint32_t first,
                     uint32_t count, int32_t *sums) {
    dot(weights, segment, first, count, sums, 0);
}

void tq_dot_lanes_apot4(const tq_weights *weights, const tq_lanes *lanes, uint32_t first,
                        uint32_t count, uint32_t *sums) {
    dot_lanes(weights, lanes, first, count, sums);
}

void tq_unpack_apot4(const tq_weights *weights, uint32_t channel, uint32_t count, int8_t *images,
                     uint32_t step) {
    unpack(weights, channel, count, images, step);
}
