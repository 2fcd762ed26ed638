/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of tq_sum_taps_*, private to src/sum_taps_<type>.c, which defines ELEMENT, the type of
 * an activation, first.
 */
#ifndef TINYQ_SUM_TAPS_IMPL_H
#define TINYQ_SUM_TAPS_IMPL_H

#include <tinyq/depthwise_conv2d.h>

#include "inline.h"

/* One tap of channels that read neighbouring input channels. */
ALWAYS_INLINE void add_tap(const uint8_t *x, const int8_t *images, uint32_t count, int32_t *sums) {
    for (uint32_t i = 0; i < count; i++) {
        sums[i] += (ELEMENT)x[i] * images[i];
    }
}

/* Three taps of a row of the kernel at once: three products for one load and one store of a sum. */
ALWAYS_INLINE void add_three_taps(const tq_taps *taps, const uint8_t *x, const int8_t *images,
                                  uint32_t count, int32_t *sums) {
    const uint8_t *const x1 = x + taps->x_col_step;
    const uint8_t *const x2 = x1 + taps->x_col_step;
    const int8_t *const images1 = images + taps->col_step;
    const int8_t *const images2 = images1 + taps->col_step;
    for (uint32_t i = 0; i < count; i++) {
        sums[i] +=
            (ELEMENT)x[i] * images[i] + (ELEMENT)x1[i] * images1[i] + (ELEMENT)x2[i] * images2[i];
    }
}

/* One tap of channels of which `multiplier` in a row read the same input channel. */
ALWAYS_INLINE void add_shared_tap(const tq_taps *taps, const uint8_t *x, const int8_t *images,
                                  uint32_t count, int32_t *sums) {
    uint32_t phase = taps->phase;
    for (uint32_t i = 0; i < count; i++) {
        sums[i] += (ELEMENT)*x * images[i];
        if (++phase == taps->multiplier) {
            phase = 0;
            x++;
        }
    }
}

ALWAYS_INLINE void sum_row(const tq_taps *taps, const uint8_t *x, const int8_t *images,
                           uint32_t count, int32_t *sums) {
    uint32_t cols = taps->cols;
    if (taps->multiplier == 1) {
        for (; cols >= 3; cols -= 3) {
            add_three_taps(taps, x, images, count, sums);
            x += 3 * taps->x_col_step;
            images += 3 * taps->col_step;
        }
    }
    for (; cols > 0; cols--) {
        if (taps->multiplier == 1) {
            add_tap(x, images, count, sums);
        } else {
            add_shared_tap(taps, x, images, count, sums);
        }
        x += taps->x_col_step;
        images += taps->col_step;
    }
}

/* A tq_sum_taps. */
ALWAYS_INLINE void sum_taps(const tq_taps *taps, uint32_t count, int32_t *sums) {
    const uint8_t *x = taps->x;
    const int8_t *images = taps->images;
    for (uint32_t row = taps->rows; row > 0; row--) {
        sum_row(taps, x, images, count, sums);
        x += taps->x_row_step;
        images += taps->row_step;
    }
}

#endif
