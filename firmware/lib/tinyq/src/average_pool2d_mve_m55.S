/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums over a window, eight channels at a time in 16-bit lanes; the meaning is
 * average_pool2d_mve_parts.c.
 */
#include "mve_m55.h"

#if TQ_HAS_MVE

#define ROWS r4
#define COLS r5
#define STEP r6
#define SKIP r7
#define sum q0
#define FLIP q2

/* r0 = window: rows, cols, col_step, row_skip, flip; r1 = from; r2 = channels; r3 = sums. */
FUNCTION tq_mve_sum_window
    push        {r4-r7, lr}
    ldrd        ROWS, COLS, [r0]
    ldrd        STEP, SKIP, [r0, #8]
    ldr         r0, [r0, #16]
    vdup.16     FLIP, r0
    vmov.i32    sum, #0
    vctp.16     r2
1:  dls         lr, COLS
2:  vpst
    vldrbt.u16  q1, [r1]
    veor        q1, q1, FLIP
    vadd.i16    sum, sum, q1
    add         r1, r1, STEP
    le          lr, 2b
    add         r1, r1, SKIP
    subs        ROWS, ROWS, #1
    bne         1b
    vstrh.16    sum, [r3]
    pop         {r4-r7, pc}
END_FUNCTION tq_mve_sum_window

#endif
