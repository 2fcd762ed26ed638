/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of tq_sum_taps_*, private to src/sum_taps_<type>.c, which defines ELEMENT, the type of
 * an activation, first.
 */
#ifndef TINYQ_SUM_TAPS_IMPL_H
#define TINYQ_SUM_TAPS_IMPL_H

#include <tinyq/depthwise_conv2d.h>

#include "inline.h"

/* Adds the products of two output channels, whose input channels are `second` elements apart. */
KEEP_APART void sum_pair(const tq_taps *taps, const uint8_t *x_row, uint32_t second,
                         const int8_t *image_row, int32_t *a_sum, int32_t *b_sum) {
    const uint32_t x_step = taps->x_col_step;
    int32_t a = *a_sum;
    int32_t b = *b_sum;
    for (uint32_t row = taps->rows; row > 0; row--) {
        const uint8_t *x = x_row;
        const int8_t *image = image_row;
        for (uint32_t col = taps->cols; col > 0; col--) {
            a += (ELEMENT)x[0] * image[0];
            b += (ELEMENT)x[second] * image[1];
            x += x_step;
            image += 2;
        }
        x_row += taps->x_row_step;
        image_row += taps->row_step;
    }
    *a_sum = a;
    *b_sum = b;
}

/* A tq_sum_taps. */
ALWAYS_INLINE void sum_taps(const tq_taps *taps, uint32_t count, int32_t *sums) {
    const uint32_t multiplier = taps->multiplier;
    const uint8_t *x = taps->x;
    const int8_t *images = taps->images;
    uint32_t phase = taps->phase;

    for (uint32_t i = 0; i < count; i += 2) {
        const uint8_t *const first = x;
        if (++phase == multiplier) {
            phase = 0;
            x++;
        }
        const uint32_t j = i + 1 < count ? i + 1 : i; /* an odd last channel pairs with itself */
        const uint32_t second = j > i ? (uint32_t)(x - first) : 0;
        if (++phase == multiplier) {
            phase = 0;
            x++;
        }
        sum_pair(taps, first, second, images, sums + i, sums + j);
        images += taps->pair_step;
    }
}

#endif
