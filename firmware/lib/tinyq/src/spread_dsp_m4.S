/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes [row][column][channel] to planes of 16-bit numbers for cores with the DSP extension: the
 * assembly twin of spread_dsp.c. Words are stored at any even address.
 */
#include "dsp_assembly.h"

#if TQ_DSP_ASSEMBLY

#include "frame_thumb2.h"

#define ROW 256 /* TQ_PLANE_ROW_BYTES */

/* Registers. The first seven are the fields of tq_spread. */
#define X         r0  /* row of the image */
#define TO        r1  /* row of the first plane */
#define STEP      r2
#define PLANE     r3
#define WIDTH     r4
#define ROWS      r5  /* left */
#define ROW_BYTES r6
#define x         r7  /* next pixel */
#define to        r8  /* its place in the first plane */
#define PLANE3    r9  /* three planes */
#define PAIRS     r10 /* left in the row */
#define a         r11
#define b         r12
#define c         lr

/* Two pixels of four channels. */
.macro TWO_PIXELS extend
    ldr     a, [x]
    ldr     b, [x, STEP]
    add     x, x, STEP, lsl #1
    pkhbt   c, a, b, lsl #16            /* channels 0 and 1 of both */
    pkhtb   a, b, a, asr #16            /* channels 2 and 3 */
    \extend b, c, ror #8
    str     b, [to, PLANE]
    \extend b, a
    str     b, [to, PLANE, lsl #1]
    \extend b, a, ror #8
    str     b, [to, PLANE3]
    \extend b, c
    str     b, [to], #4
.endm

/* The last pixel of an odd row. */
.macro ONE_PIXEL extend
    ldr     a, [x]
    \extend b, a
    \extend c, a, ror #8
    strh    b, [to]
    strh    c, [to, PLANE]
    lsr     b, b, #16
    lsr     c, c, #16
    strh    b, [to, PLANE, lsl #1]
    strh    c, [to, PLANE3]
.endm

/* The same of two channels, which are half a word. */
.macro TWO_PIXELS_OF_TWO extend
    ldrh    a, [x]
    ldrh    b, [x, STEP]
    add     x, x, STEP, lsl #1
    orr     a, a, b, lsl #16
    \extend b, a, ror #8
    str     b, [to, PLANE]
    \extend b, a
    str     b, [to], #4
.endm
.macro ONE_PIXEL_OF_TWO extend
    ldrh    a, [x]
    \extend b, a
    \extend c, a, ror #8
    strh    b, [to]
    strh    c, [to, PLANE]
.endm

/* void name(const tq_spread *job) */
.macro SPREAD name, extend, two_pixels=TWO_PIXELS, one_pixel=ONE_PIXEL
    FUNCTION \name
    ENTER   0
    ldm     r0, {r0-r6}
    add     PLANE3, PLANE, PLANE, lsl #1
1:
    mov     x, X
    mov     to, TO
    lsrs    PAIRS, WIDTH, #1
    beq     3f
2:
    \two_pixels \extend
    subs    PAIRS, #1
    bne     2b
    tst     WIDTH, #1
    beq     4f
3:
    \one_pixel \extend
4:
    add     TO, #ROW
    add     X, ROW_BYTES
    subs    ROWS, #1
    bne     1b
    LEAVE   0
    END_FUNCTION \name
.endm

    SPREAD  tq_spread_four_s8, sxtb16
    SPREAD  tq_spread_four_u8, uxtb16
    SPREAD  tq_spread_two_s8, sxtb16, TWO_PIXELS_OF_TWO, ONE_PIXEL_OF_TWO
    SPREAD  tq_spread_two_u8, uxtb16, TWO_PIXELS_OF_TWO, ONE_PIXEL_OF_TWO

#endif
