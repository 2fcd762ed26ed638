/* SPDX-License-Identifier: Apache-2.0 */
/* What conv2d_mve_m55.S computes, for every other machine. */
#include "conv2d_mve_parts.h"

#if !TQ_HAS_MVE

#include <string.h>

#include "mve_codes.h"

enum { LANES = TQ_MVE_BYTES, CHANNELS = TQ_MVE_CHANNELS };

void tq_mve_copy_columns(const columns *columns, uint8_t *to, const uint8_t *from, uint32_t count) {
    for (; count > 0; count--) {
        for (uint32_t i = 0; i < columns->bytes; i++) {
            to[i] = (uint8_t)(from[i] ^ columns->flip);
        }
        to += columns->to_step;
        from += columns->from_step;
    }
}

void tq_mve_fill(uint8_t *to, uint32_t value, uint32_t count) {
    memset(to, (int)value, count);
}

static void expand(const uint8_t *codes, const int8_t *table, uint8_t *weights, uint32_t elements,
                   tq_mve_weight weight) {
    const uint32_t whole = (elements + LANES - 1) / LANES * LANES;
    for (uint32_t i = 0; i < whole; i++) {
        for (uint32_t c = 0; c < CHANNELS; c++) {
            const uint32_t at = (i / LANES * CHANNELS + c) * LANES + i % LANES;
            weights[at] = i < elements ? (uint8_t)weight(codes, table, i, c) : 0;
        }
    }
}

void tq_mve_expand_table(const uint8_t *codes, const int8_t *table, uint8_t *weights,
                         uint32_t elements) {
    expand(codes, table, weights, elements, tq_mve_weight_table);
}

void tq_mve_expand_int4(const uint8_t *codes, const int8_t *table, uint8_t *weights,
                        uint32_t elements) {
    expand(codes, table, weights, elements, tq_mve_weight_int4);
}

static void dot_pixels(const tq_mve_pixels *pixels, const tq_mve_block *block, const uint8_t *x,
                       uint8_t *output, int has_nudge) {
    const uint32_t elements = pixels->vectors * LANES;
    for (uint32_t p = 0; p < pixels->count; p++) {
        for (uint32_t c = 0; c < block->count; c++) {
            uint32_t sum = (uint32_t)block->bias[c];
            for (uint32_t i = 0; i < elements; i++) {
                sum +=
                    (uint32_t)(tq_mve_read(x[i], 0) * tq_mve_weight_int8(block->codes, NULL, i, c));
            }
            const int32_t nudge = has_nudge ? block->nudge[c] : 0;
            output[c] = (uint8_t)tq_mve_requantize((int32_t)sum, block->shift[c], nudge, pixels->lo,
                                                   pixels->hi);
        }
        x += pixels->step;
        output += pixels->channels;
    }
}

#define DEFINE_DOT(name, has_nudge)                                                                \
    void name(const tq_mve_pixels *pixels, const tq_mve_block *block, const uint8_t *x,            \
              uint8_t *output) {                                                                   \
        dot_pixels(pixels, block, x, output, has_nudge);                                           \
    }
DEFINE_DOT(tq_mve_dot_any, 0)
DEFINE_DOT(tq_mve_dot_nudge, 1)
DEFINE_DOT(tq_mve_dot_short, 0)

#else

typedef int tq_conv2d_mve_parts_are_assembly; /* a translation unit must declare something */

#endif
