/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: what the functions that run a plane share. */
#ifndef TINYQ_PLANE_DSP_H
#define TINYQ_PLANE_DSP_H

#include <tinyq/depthwise_conv2d_dsp.h>

#include "dsp_assembly.h"
#include "lanes_dsp.h"

enum { PLANE_ROW = TQ_PLANE_ROW_BYTES / sizeof(int16_t) };

/* Whether rows need no more than a saturating shift by TQ_PLANE_SHIFT to a byte. */
TQ_INLINE int is_folded(const tq_plane_rows *rows) {
    const tq_requant *const limits = rows->limits;
    return rows->shift == TQ_PLANE_SHIFT && limits->rounding == TQ_ROUND_FOLDED &&
           limits->lo == 0 && limits->hi == UINT8_MAX;
}

/* Such rows, in assembly for cores with the DSP extension. */
void tq_plane_3x3_folded(const tq_plane_rows *rows);
void tq_plane_3x3_stride2_folded(const tq_plane_rows *rows);

/* One output from its accumulator, bias included. */
TQ_INLINE uint8_t finish(const tq_plane_rows *rows, uint32_t sum) {
    const tq_requant *const limits = rows->limits;
    const int32_t shifted = tq_round_shift((int32_t)sum, rows->shift, limits->rounding);
    return (uint8_t)tq_clamp(shifted, limits->lo, limits->hi);
}

#endif
