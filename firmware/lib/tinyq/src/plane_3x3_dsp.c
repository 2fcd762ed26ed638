/* SPDX-License-Identifier: Apache-2.0 */
#include "plane_dsp.h"

/* Two neighbouring outputs of one row of the kernel. */
typedef struct twins {
    uint32_t left;
    uint32_t right;
} twins;

/* x: four elements; w[0] = (w0, w1), w[1] = (w1, w2). */
TQ_INLINE twins add_row(twins sum, const int16_t *x, const uint32_t *w) {
    const uint32_t x01 = tq_load32(x);
    const uint32_t x23 = tq_load32(x + 2);
    sum.left = tq_smlad(x01, w[0], sum.left);
    sum.left = tq_smlabt(x23, w[1], sum.left);
    sum.right = tq_smlatb(x01, w[0], sum.right);
    sum.right = tq_smlad(x23, w[1], sum.right);
    return sum;
}

static void run_row(const tq_plane_rows *rows, const int16_t *x, uint8_t *out) {
    const uint32_t *const w = rows->weights;
    const uint32_t step = rows->output_step;
    const twins start = {(uint32_t)rows->bias, (uint32_t)rows->bias};
    for (uint32_t left = rows->width; left > 0; x += 2) {
        twins sum = add_row(start, x, w);
        sum = add_row(sum, x + PLANE_ROW, w + 2);
        sum = add_row(sum, x + 2 * PLANE_ROW, w + 4);
        *out = finish(rows, sum.left);
        out += step;
        if (--left > 0) {
            *out = finish(rows, sum.right);
            out += step;
            left--;
        }
    }
}

static void run_rows(const tq_plane_rows *rows) {
    const int16_t *x = rows->x;
    uint8_t *out = rows->output;
    for (uint32_t y = rows->height; y > 0; y--) {
        run_row(rows, x, out);
        x += PLANE_ROW;
        out += rows->width * rows->output_step;
    }
}

#if !TQ_DSP_ASSEMBLY
void tq_plane_3x3_folded(const tq_plane_rows *rows) {
    run_rows(rows);
}
#endif

void tq_run_plane_3x3(const tq_plane_rows *rows) {
    if (is_folded(rows)) {
        tq_plane_3x3_folded(rows);
    } else {
        run_rows(rows);
    }
}
