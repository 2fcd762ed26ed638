/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/* Private to src/: the products of a run's windows (tq_run_m0) in assembly for ARMv6-M.
 *
 * 16 taps are unrolled; a row whose length is no multiple of 16 enters in their middle, so that no
 * tap is ever multiplied for nothing.
 */
#ifndef TINYQ_WINDOWS_M0_H
#define TINYQ_WINDOWS_M0_H

#include "frame_m0.h"

#define x r0       /* element of the window's row; signed: end of the row */
#define words r1   /* next tap */
#define value r2   /* an activation */
#define index r3   /* unsigned: end of the row; signed: minus the elements left of it */
                   /* r4-r7: a tap; r8-r11: sums */
#define entry r12  /* first tap of a row among the unrolled ones */
#define rows lr    /* rows left */

/* The frame: the run, as the loops want it. */
#define AT_X 0
#define AT_WORDS 4
#define AT_SUMS 8
#define AT_START 12
#define AT_PIXELS 16
#define AT_X_STEP 20
#define AT_ROWS 24
#define AT_LENGTH 28    /* unsigned: length + taps left out; signed: -length */
#define AT_X_SKIP 32    /* unsigned: to the next row, less the taps left out; signed: a row */
#define AT_WORD_SKIP 36 /* bytes */
#define FRAME 40

.macro MULTIPLY_TAP
    ldm words!, {r4-r7}
    muls r4, value, r4
    add r8, r4
    muls r5, value, r5
    add r9, r5
    muls r6, value, r6
    add r10, r6
    muls r7, value, r7
    add r11, r7
.endm

/* Code of a tap. */
#define TAP_BYTES_U8 20
#define TAP_BYTES_S8 22

.macro TAP_U8 offset
    ldrb value, [x, #\offset]
    MULTIPLY_TAP
.endm

.macro TAP_S8
    ldrsb value, [x, index]
    MULTIPLY_TAP
    adds index, #1
.endm

/* Copies the run into the frame and finds the entry. r0: the run. */
.macro PREPARE is_signed
    ldm r0!, {r1-r7}
    mov r8, r1
    add r1, sp, #AT_WORDS
    stm r1!, {r2-r7}
    ldm r0!, {r1-r3}            /* length, x_skip, word_skip */
    lsls r3, r3, #2
    str r3, [sp, #AT_WORD_SKIP]
    rsbs r4, r1, #0
    movs r5, #15
    ands r4, r5                 /* taps left out: -length mod 16 */
    mov r6, r8
.if \is_signed
    adds r6, r6, r1             /* the end of the first row */
    adds r2, r2, r1
    rsbs r1, r1, #0
    movs r5, #TAP_BYTES_S8
.else
    subs r6, r6, r4
    adds r1, r1, r4
    subs r2, r2, r4
    movs r5, #TAP_BYTES_U8
.endif
    str r6, [sp, #AT_X]
    str r1, [sp, #AT_LENGTH]
    str r2, [sp, #AT_X_SKIP]
    muls r4, r5, r4
    adr r5, 3f
    adds r4, r4, r5
    adds r4, #1
    mov entry, r4
.endm

/* The four sums of a window start as the words that the frame holds the address of. Uses r4-r7. */
.macro START_SUMS at
    ldr r0, [sp, #\at]
    ldm r0!, {r4-r7}
    LOW_TO_HIGH
.endm

/* All rows of a window: adds its products to r8-r11. */
.macro ROWS is_signed
    ldr x, [sp, #AT_X]
    ldr words, [sp, #AT_WORDS]
    ldr index, [sp, #AT_ROWS]
    mov rows, index
2:  ldr index, [sp, #AT_LENGTH]
.if \is_signed
    bx entry
    .balign 4
3:  .rept 16
    TAP_S8
    .endr
    beq 4f
    b 3b
4:
.else
    adds index, index, x
    bx entry
    .balign 4
3:  .set offset, 0
    .rept 16
    TAP_U8 offset
    .set offset, offset + 1
    .endr
    adds x, #16
    cmp x, index
    beq 4f
    b 3b
4:
.endif
    mov index, rows
    subs index, #1
    beq 5f
    mov rows, index
    ldr index, [sp, #AT_X_SKIP]
    adds x, x, index
    ldr index, [sp, #AT_WORD_SKIP]
    adds words, words, index
    b 2b
5:
.endm

/* The next window, or the end of the function. */
.macro NEXT_WINDOW frame
    ldr r3, [sp, #AT_PIXELS]
    subs r3, #1
    beq 6f
    str r3, [sp, #AT_PIXELS]
    ldr r0, [sp, #AT_X]
    ldr r3, [sp, #AT_X_STEP]
    adds r0, r0, r3
    str r0, [sp, #AT_X]
    b 1b
6:  LEAVE \frame
.endm

#endif
