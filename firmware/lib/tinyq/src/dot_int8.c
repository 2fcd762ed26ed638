/* SPDX-License-Identifier: Apache-2.0 */
/* Uniform weights: the code is the value, two's complement in 8 bits. */
#include <stdint.h>

#define CODE_BITS 8

static inline int32_t image(uint32_t raw, const int8_t *table) {
    (void)table;
    return (int32_t)(raw << (32 - CODE_BITS)) >> (32 - CODE_BITS);
}

#include "dot_impl.h"

void tq_dot_int8_s8(const tq_weights *weights, const tq_segment *segment, uint32_t first,
                    uint32_t count, int32_t *sums) {
    dot(weights, segment, first, count, sums, 1);
}

void tq_dot_int8_u8(const tq_weights *weights, const tq_segment *segment, uint32_t first,
                    uint32_t count, int32_t *sums) {
    dot(weights, segment, first, count, sums, 0);
}

void tq_dot_lanes_int8(const tq_weights *weights, const tq_lanes *lanes, uint32_t first,
                       uint32_t count, uint32_t *sums) {
    dot_lanes(weights, lanes, first, count, sums);
}

void tq_unpack_int8(const tq_weights *weights, uint32_t channel, uint32_t count, int8_t *images,
                    uint32_t step) {
    unpack(weights, channel, count, images, step);
}
