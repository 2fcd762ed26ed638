/* SPDX-License-Identifier: Apache-2.0 */
/* What average_pool2d_mve_m55.S computes, for every other machine. */
#include "average_pool2d_mve_parts.h"

#if !TQ_HAS_MVE

void tq_mve_sum_window(const pool_window *window, const uint8_t *from, uint32_t channels,
                       uint16_t *sums) {
    for (uint32_t c = 0; c < channels; c++) {
        const uint8_t *x = from + c;
        uint32_t sum = 0;
        for (uint32_t i = 0; i < window->rows; i++) {
            for (uint32_t j = 0; j < window->cols; j++) {
                sum += *x ^ window->flip;
                x += window->col_step;
            }
            x += window->row_skip;
        }
        sums[c] = (uint16_t)sum;
    }
}

#else

typedef int tq_average_pool2d_mve_is_assembly; /* a translation unit must declare something */

#endif
