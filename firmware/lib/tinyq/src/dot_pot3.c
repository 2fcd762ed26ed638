/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights that are powers of two: a sign above 2 bits m. m = 0 is zero, else the magnitude is
 * 2^(m-1): the activation is shifted, not multiplied, and where the weight is zero nothing is done.
 */
#include <stdint.h>

#include "inline.h"

#define CODE_BITS   3
#define ADD_PRODUCT add_shifted

/* x * magnitude for m = 1..3; unsigned, because a negative number has no defined left shift. */
ALWAYS_INLINE uint32_t shifted(uint32_t x, uint32_t m) {
    return x << (m - 1U);
}

ALWAYS_INLINE uint32_t add_shifted(uint32_t sum, uint32_t x, uint32_t raw) {
    const uint32_t m = raw & 3U;
    if (m == 0) {
        return sum;
    }
    return (raw & 4U) != 0 ? sum - shifted(x, m) : sum + shifted(x, m);
}

ALWAYS_INLINE int32_t image(uint32_t raw, const int8_t *table) {
    (void)table;
    return (int32_t)add_shifted(0, 1, raw);
}

#include "dot_impl.h"

void tq_dot_pot3_s8(const tq_weights *weights, const tq_segment *segment, uint32_t first,
                    uint32_t count, int32_t *sums) {
    dot(weights, segment, first, count, sums, 1);
}

void tq_dot_pot3_u8(const tq_weights *weights, const tq_segment *segment, uint32_t first,
                    uint32_t count, int32_t *sums) {
    dot(weights, segment, first, count, sums, 0);
}

void tq_dot_lanes_pot3(const tq_weights *weights, const tq_lanes *lanes, uint32_t first,
                       uint32_t count, uint32_t *sums) {
    dot_lanes(weights, lanes, first, count, sums);
}

void tq_unpack_pot3(const tq_weights *weights, uint32_t channel, uint32_t count, int8_t *images,
                    uint32_t step) {
    unpack(weights, channel, count, images, step);
}
