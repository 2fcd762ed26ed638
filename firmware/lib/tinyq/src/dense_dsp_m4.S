/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of eight channels of a fully connected layer for cores with the DSP extension: the assembly
 * twins of the functions in dense_blocks.h, one for each layout of weights and type of input. The
 * eight sums stay in registers; a word of the input is loaded once for each of its pairs of lanes.
 *
 * Groups of four inputs go in rounds of several; the first round enters the unrolled code where as
 * many groups follow as are left over.
 */
#include "dsp_assembly.h"

#if TQ_DSP_ASSEMBLY

/* Registers. */
#define W      r0  /* weights */
#define X      r1  /* inputs */
#define COUNT  r2  /* rounds left */
#define TABLE  r2  /* or: lanes by code byte */
#define LANES  r3  /* two inputs */
#define u      r12 /* weights */
#define v      lr
#define s0     r4  /* sums */
#define s1     r5
#define s2     r6
#define s3     r7
#define s4     r8
#define s5     r9
#define s6     r10
#define s7     r11

    .syntax unified
    .thumb

/* Lanes (0, 2), then (1, 3) of the next four inputs. */
.macro EVEN_LANES extend
    ldr.w   LANES, [X]
    \extend LANES, LANES
.endm
.macro ODD_LANES extend
    ldr.w   LANES, [X], #4
    \extend LANES, LANES, ror #8
.endm

/* A word of two int8 channels: sum of the low bytes, sum of the whole lanes. */
.macro ADD_INT8 w, low, raw
    smlad   \raw, LANES, \w, \raw
    sxtb16  \w, \w
    smlad   \low, LANES, \w, \low
.endm
.macro LANES_INT8
    ldrd    u, v, [W], #8
    ADD_INT8 u, s0, s1
    ADD_INT8 v, s2, s3
    ldrd    u, v, [W], #8
    ADD_INT8 u, s4, s5
    ADD_INT8 v, s6, s7
.endm

/* A word of four int4 channels: sums of what one, two, three, four nibbles hold. */
.macro ADD_INT4 w, one, two, three, all
    smlad   \all, LANES, \w, \all
    bic     \w, \w, #0xF000F000
    smlad   \three, LANES, \w, \three
    uxtb16  \w, \w
    smlad   \two, LANES, \w, \two
    bic     \w, \w, #0x00F000F0
    smlad   \one, LANES, \w, \one
.endm
.macro LANES_INT4
    ldrd    u, v, [W], #8
    ADD_INT4 u, s0, s1, s2, s3
    ADD_INT4 v, s4, s5, s6, s7
.endm

/* Two code bytes: the word in the table holds both weights. */
.macro ADD_LUT at, sum_u, sum_v
    ldrb    u, [W, #\at]
    ldrb    v, [W, #\at + 1]
    ldr     u, [TABLE, u, lsl #1]
    ldr     v, [TABLE, v, lsl #1]
    smlad   \sum_u, LANES, u, \sum_u
    smlad   \sum_v, LANES, v, \sum_v
.endm
.macro LANES_LUT
    ADD_LUT 2, s2, s3
    ADD_LUT 4, s4, s5
    ADD_LUT 6, s6, s7
    ldrb    v, [W, #1]
    ldrb    u, [W], #8
    ldr     v, [TABLE, v, lsl #1]
    ldr     u, [TABLE, u, lsl #1]
    smlad   s1, LANES, v, s1
    smlad   s0, LANES, u, s0
.endm

.macro GROUP layout, extend
    EVEN_LANES \extend
    LANES_\layout
    ODD_LANES \extend
    LANES_\layout
.endm

/* const uint32_t *name(weights, x, groups, sums): adds the products of `groups` >= 1 times four
 * inputs to eight sums; returns the weights that follow. */
.macro WORDS name, layout, extend
    .section .text.\name, "ax", %progbits
    .balign 4
    .global \name
    .type   \name, %function
    .thumb_func
\name:
    push    {r3-r11, lr}
    ldm     r3, {s0-s7}
    lsrs    COUNT, COUNT, #1            /* rounds of two; carry: one is left over */
    bcc     1f
    add     COUNT, #1
    b       2f
    .balign 4
1:
    GROUP   \layout, \extend
2:
    GROUP   \layout, \extend
    subs    COUNT, #1
    bne     1b
    pop     {r3}
    stm     r3, {s0-s7}
    pop     {r4-r11, pc}
    .size   \name, . - \name
.endm

    WORDS   tq_add_dense_int8_s8, INT8, sxtb16
    WORDS   tq_add_dense_int8_u8, INT8, uxtb16
    WORDS   tq_add_dense_int4_s8, INT4, sxtb16
    WORDS   tq_add_dense_int4_u8, INT4, uxtb16

#define LUT_ROUND 4 /* groups */

/* const uint8_t *name(codes, x, groups, lanes, sums): the same for codes and a table of lanes. */
.macro CODES name, extend
    .section .text.\name, "ax", %progbits
    .balign 4
    .global \name
    .type   \name, %function
    .thumb_func
\name:
    push    {r4-r11, lr}
    sub     sp, #4
    ldr     u, [sp, #40]                /* sums */
    ldm     u, {s0-s7}
    add     u, X, r2, lsl #2
    str     u, [sp]                     /* end of the inputs */
    and     v, r2, #LUT_ROUND - 1
    mov     TABLE, r3
    cmp     v, #2
    beq     2f
    bhi     3f
    cmp     v, #1
    beq     1f
    .balign 4
4:
    GROUP   LUT, \extend
3:
    GROUP   LUT, \extend
2:
    GROUP   LUT, \extend
1:
    GROUP   LUT, \extend
    ldr     u, [sp]
    cmp     X, u
    bne     4b
    ldr     u, [sp, #40]
    stm     u, {s0-s7}
    add     sp, #4
    pop     {r4-r11, pc}
    .size   \name, . - \name
.endm

    CODES   tq_add_dense_lut_s8, sxtb16
    CODES   tq_add_dense_lut_u8, uxtb16

#endif
