/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 3x3 windows over the plane of one channel for cores with the DSP extension: the assembly twins of
 * the loops in plane_3x3_dsp.c and plane_3x3_stride2_dsp.c. All weights, two sums and the pointers
 * stay in registers; outputs are made two at a time, an odd last one alone.
 *
 * A row goes in rounds of two pairs. With an odd number of pairs the first round enters in the
 * middle, with none at all the row starts behind the rounds.
 */
#include "dsp_assembly.h"

#if TQ_DSP_ASSEMBLY

#include "frame_thumb2.h"

/* Fields of tq_plane_rows. */
#define ROWS_STEP    8
#define ROWS_WIDTH   12
#define ROWS_HEIGHT  16
#define ROWS_WEIGHTS 20
#define ROWS_BIAS    24

#define ROW   256 /* TQ_PLANE_ROW_BYTES */
#define SHIFT 12  /* TQ_PLANE_SHIFT */

/* The frame. */
#define START  0  /* two words: where the sums start */
#define ROUNDS 8  /* of a row */
#define ENTRY  12 /* where the first one starts */
#define SKIP   16 /* bytes from the end of a row of windows to the next one's start */
#define END    20 /* where the window is after the last row */
#define REST   24 /* the code behind the rounds */
#define FRAME  28 /* with nine saved registers a multiple of 8 */

/* Registers. */
#define X      r0  /* element under the kernel's first one; then rows are ROW bytes apart */
#define OUT    r1  /* next output */
#define STEP   r2  /* from output to output */
#define w0_01  r3  /* weights: first row of the kernel, columns 0 and 1 */
#define w0_12  r4
#define w1_01  r5
#define w1_12  r6
#define w2_01  r7
#define w2_12  r8
#define a      r9  /* sum of the left window */
#define b      r10 /* of the right one */
#define u      r11 /* two elements of a row */
#define v      r12 /* the two behind them */
#define COUNT  lr  /* rounds left */

/* One row of the kernel: u, v hold elements 0..3 under windows that begin at 0 and 1. */
.macro TWO_WINDOWS w_01, w_12
    smlad   a, u, \w_01, a
    smlatb  b, u, \w_01, b
    smlabt  a, v, \w_12, a
    smlad   b, v, \w_12, b
.endm

/* One row of the kernel: u, v hold elements 0..3 under one window. */
.macro ONE_WINDOW sum, w_01, w_12
    smlad   \sum, u, \w_01, \sum
    smlabt  \sum, v, \w_12, \sum
.endm

.macro PUT_TWO
    usat    a, #8, a, asr #SHIFT
    usat    b, #8, b, asr #SHIFT
    strb    a, [OUT]
    strb    b, [OUT, STEP]
    add     OUT, OUT, STEP, lsl #1
.endm

/* Two outputs, stride 1. */
.macro PAIR1
    ldrd    a, b, [sp, #START]
    ldrd    u, v, [X, #ROW]
    TWO_WINDOWS w1_01, w1_12
    ldrd    u, v, [X, #2 * ROW]
    TWO_WINDOWS w2_01, w2_12
    ldrd    u, v, [X], #4
    TWO_WINDOWS w0_01, w0_12
    PUT_TWO
.endm

/* Two outputs, stride 2. */
.macro PAIR2
    ldrd    a, b, [sp, #START]
    ldrd    u, v, [X, #ROW]
    ONE_WINDOW a, w1_01, w1_12
    ldrd    u, v, [X, #2 * ROW]
    ONE_WINDOW a, w2_01, w2_12
    ldrd    u, v, [X], #4
    ONE_WINDOW a, w0_01, w0_12
    ldrd    u, v, [X, #ROW]
    ONE_WINDOW b, w1_01, w1_12
    ldrd    u, v, [X, #2 * ROW]
    ONE_WINDOW b, w2_01, w2_12
    ldrd    u, v, [X], #4
    ONE_WINDOW b, w0_01, w0_12
    PUT_TWO
.endm

/* The last output of an odd row, any stride. */
.macro SINGLE
    ldr     a, [sp, #START]
    ldrd    u, v, [X]
    ONE_WINDOW a, w0_01, w0_12
    ldrd    u, v, [X, #ROW]
    ONE_WINDOW a, w1_01, w1_12
    ldrd    u, v, [X, #2 * ROW]
    ONE_WINDOW a, w2_01, w2_12
    usat    a, #8, a, asr #SHIFT
    strb    a, [OUT]
    add     OUT, OUT, STEP
.endm

/* void name(const tq_plane_rows *rows); stride: 1 or 2 */
.macro PLANE name, pair, stride
    FUNCTION \name
    ENTER   FRAME
    mov     lr, r0
    ldm     lr, {X, OUT, STEP}
    ldr     u, [lr, #ROWS_WIDTH]
    ldr     v, [lr, #ROWS_HEIGHT]
    ldr     a, [lr, #ROWS_BIAS]
    ldr     lr, [lr, #ROWS_WEIGHTS]
    ldm     lr, {w0_01, w0_12, w1_01, w1_12, w2_01, w2_12}
    mov     b, a
    strd    a, b, [sp, #START]
    mov     a, #ROW * \stride
    mla     v, v, a, X
    str     v, [sp, #END]
    lsr     b, u, #1                    /* pairs */
    sub     a, a, b, lsl #(\stride + 1)
    str     a, [sp, #SKIP]
    adr.w   a, 3f
    adr.w   v, 4f
    tst     u, #1
    it      eq
    moveq   a, v
    orr     a, a, #1                    /* an address of Thumb code is odd */
    str     a, [sp, #REST]
    adr.w   u, 1f
    adr.w   v, 2f
    tst     b, #1
    it      ne
    movne   u, v
    orr     u, u, #1
    adds    b, b, #1
    lsrs    b, b, #1                    /* rounds */
    it      eq
    moveq   u, a
    str     b, [sp, #ROUNDS]
    str     u, [sp, #ENTRY]
5:
    ldr     COUNT, [sp, #ROUNDS]
    ldr     pc, [sp, #ENTRY]
    .balign 4
1:
    \pair
    .balign 4
2:
    \pair
    subs    COUNT, #1
    bne     1b
    ldr     pc, [sp, #REST]
    .balign 4
3:
    SINGLE
    .balign 4
4:
    ldrd    u, v, [sp, #SKIP]
    add     X, u
    cmp     X, v
    bne     5b
    LEAVE   FRAME
    END_FUNCTION \name
.endm

    PLANE   tq_plane_3x3_folded, PAIR1, 1
    PLANE   tq_plane_3x3_stride2_folded, PAIR2, 2

#endif
