/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tq_sum_plane_* for ARMv7-M without the DSP extension: the nine weights stay in registers, windows
 * of two neighbours share what they have in common: 32 instructions for two that are one column apart.
 */
#if defined(__ARM_ARCH_7M__)

#include "frame_thumb2.h"

#define X    r0 /* top left of the first of two windows */
#define SUMS r1
#define SUM0 r2
#define SUM1 r3
#define W0   r4
#define W1   r5
#define W2   r6
#define W3   r7
#define W4   r8
#define W5   r9
#define W6   r10
#define W7   r11
#define W8   r12
#define V    lr /* an activation; free between windows */

/* tq_plane begins with x, sums, rows, row_step, columns, start[2]; behind these are the weights. */

/* The stack. */
#define ROW       0 /* X at the begin of the row, ROW_STEP behind it for a double load */
#define ROW_STEP  4
#define SUMS_END  8
#define COLUMNS   12
#define START     16
#define FOURS     24 /* bytes of x under all whole fours of a row */
#define FOURS_END 28 /* X behind them */
#define FRAME     36

/* Column `column` of rows 0..2: times first, second and third weight of one window, and of the next
 * where one is given. */
.macro column pitch, column, a0, a1, a2, b0, b1, b2
    ldr     V, [X, #(4 * (\column))]
    .ifnb \a0
    mla     SUM0, V, \a0, SUM0
    .endif
    .ifnb \b0
    mla     SUM1, V, \b0, SUM1
    .endif
    ldr     V, [X, #(4 * (\column + \pitch))]
    .ifnb \a1
    mla     SUM0, V, \a1, SUM0
    .endif
    .ifnb \b1
    mla     SUM1, V, \b1, SUM1
    .endif
    ldr     V, [X, #(4 * (\column + 2 * \pitch))]
    .ifnb \a2
    mla     SUM0, V, \a2, SUM0
    .endif
    .ifnb \b2
    mla     SUM1, V, \b2, SUM1
    .endif
.endm

/* Two windows whose first column is `at`. */
.macro two_windows pitch, stride, at
    ldrd    SUM0, SUM1, [sp, #START]
    column  \pitch, (\at), W0, W3, W6
    .if \stride == 1
    column  \pitch, (\at + 1), W1, W4, W7, W0, W3, W6
    column  \pitch, (\at + 2), W2, W5, W8, W1, W4, W7
    column  \pitch, (\at + 3), , , , W2, W5, W8
    .else
    column  \pitch, (\at + 1), W1, W4, W7
    column  \pitch, (\at + 2), W2, W5, W8, W0, W3, W6
    column  \pitch, (\at + 3), , , , W1, W4, W7
    column  \pitch, (\at + 4), , , , W2, W5, W8
    .endif
    strd    SUM0, SUM1, [SUMS], #8
.endm

.macro define_sum_plane pitch, stride
    FUNCTION tq_sum_plane_\pitch\()_\stride
    ENTER   FRAME
    ldm     r0!, {r4-r10}
    str     r4, [sp, #ROW]
    str     r7, [sp, #ROW_STEP]
    mul     r6, r6, r8
    add     r6, r5, r6, lsl #2
    strd    r6, r8, [sp, #SUMS_END]
    strd    r9, r10, [sp, #START]
    bic     r8, r8, #3
    lsl     r8, r8, #(1 + \stride)
    str     r8, [sp, #FOURS]
    mov     SUMS, r5
    mov     lr, r4
    ldm     r0, {W0, W1, W2, W3, W4, W5, W6, W7, W8}
    mov     X, lr
    /* A row: fours of windows, then two, then one. */
1:  ldr     V, [sp, #FOURS]
    cmp     V, #0
    beq     3f
    add     V, V, X
    str     V, [sp, #FOURS_END]
2:  two_windows \pitch, \stride, 0
    two_windows \pitch, \stride, (2 * \stride)
    ldr     V, [sp, #FOURS_END]
    add     X, X, #(16 * \stride)
    cmp     X, V
    bne.w   2b
3:  ldr     V, [sp, #COLUMNS]
    lsls    V, V, #31 /* carry: bit 1, negative: bit 0; nothing up to the branches changes them */
    bcc     4f
    two_windows \pitch, \stride, 0
    add     X, X, #(8 * \stride)
4:  bpl     5f
    ldr     SUM0, [sp, #START]
    column  \pitch, 0, W0, W3, W6
    column  \pitch, 1, W1, W4, W7
    column  \pitch, 2, W2, W5, W8
    str     SUM0, [SUMS], #4
5:  ldrd    X, V, [sp, #ROW]
    add     X, X, V
    str     X, [sp, #ROW]
    ldr     V, [sp, #SUMS_END]
    cmp     SUMS, V
    bne.w   1b
    LEAVE   FRAME
    END_FUNCTION tq_sum_plane_\pitch\()_\stride
.endm

    .irp    pitch, 8, 16, 32, 64, 128
    define_sum_plane \pitch, 1
    define_sum_plane \pitch, 2
    .endr

#endif
