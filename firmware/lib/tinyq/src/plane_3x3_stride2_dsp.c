/* SPDX-License-Identifier: Apache-2.0 */
#include "plane_dsp.h"

/* One row of the kernel; w[0] = (w0, w1), w[1] = (w1, w2). */
TQ_INLINE uint32_t add_row(uint32_t sum, const int16_t *x, const uint32_t *w) {
    sum = tq_smlad(tq_load32(x), w[0], sum);
    return tq_smlabt(tq_load32(x + 2), w[1], sum);
}

static void run_rows(const tq_plane_rows *rows) {
    const uint32_t *const w = rows->weights;
    const int16_t *row = rows->x;
    uint8_t *out = rows->output;
    for (uint32_t y = rows->height; y > 0; y--, row += 2 * PLANE_ROW) {
        const int16_t *x = row;
        for (uint32_t i = rows->width; i > 0; i--, x += 2) {
            uint32_t sum = add_row((uint32_t)rows->bias, x, w);
            sum = add_row(sum, x + PLANE_ROW, w + 2);
            sum = add_row(sum, x + 2 * PLANE_ROW, w + 4);
            *out = finish(rows, sum);
            out += rows->output_step;
        }
    }
}

#if !TQ_DSP_ASSEMBLY
void tq_plane_3x3_stride2_folded(const tq_plane_rows *rows) {
    run_rows(rows);
}
#endif

void tq_run_plane_3x3_stride2(const tq_plane_rows *rows) {
    if (is_folded(rows)) {
        tq_plane_3x3_stride2_folded(rows);
    } else {
        run_rows(rows);
    }
}
