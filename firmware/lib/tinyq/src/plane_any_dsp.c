/* SPDX-License-Identifier: Apache-2.0 */
#include "plane_dsp.h"

/* One window; words: of a row of the kernel. */
static uint32_t sum_window(const tq_plane_rows *rows, const int16_t *x, uint32_t words) {
    const uint32_t *w = rows->weights;
    uint32_t sum = (uint32_t)rows->bias;
    for (uint32_t row = rows->kernel->height; row > 0; row--, x += PLANE_ROW) {
        const int16_t *p = x;
        for (uint32_t i = words; i > 0; i--, p += 2) {
            sum = tq_smlad(tq_load32(p), *w++, sum);
        }
    }
    return sum;
}

void tq_run_plane_any(const tq_plane_rows *rows) {
    const tq_kernel *const kernel = rows->kernel;
    const uint32_t words = (kernel->width + 1U) / 2;
    const int16_t *row = rows->x;
    uint8_t *out = rows->output;
    for (uint32_t y = rows->height; y > 0; y--, row += kernel->row_stride * PLANE_ROW) {
        const int16_t *x = row;
        for (uint32_t i = rows->width; i > 0; i--, x += kernel->col_stride) {
            *out = finish(rows, sum_window(rows, x, words));
            out += rows->output_step;
        }
    }
}
