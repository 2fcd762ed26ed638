/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fully connected layers in Helium vectors; their meaning is dense_mve_parts.c. A block of four
 * channels keeps its sums in core registers (VMLADAVA adds sixteen products to an even one); the
 * loop over the inputs predicates its tail, so that nothing beyond the inputs is read.
 */
#include "mve_m55.h"

#if TQ_HAS_MVE

#define LAYER r0
#define TABLE r0
#define X r1
#define NUDGE r2
#define W r3  /* codes */
#define A0 r4 /* sums of channels 0..3 */
#define OUT r5
#define A1 r6
#define SHIFT r7
#define A2 r8
#define BIAS r9
#define A3 r10
#define INPUTS r11
#define LEFT r12 /* outputs */
#define x q0     /* sixteen inputs */
#define LOWEST q5
#define HIGHEST q6
#define FLIP q7

/* tq_dense_mve */
#define LAYER_CODES 0 /* and table */
#define LAYER_BIAS 8 /* and shift */
#define LAYER_NUDGE 16
#define LAYER_LIMITS 20
#define LAYER_INPUTS 28 /* and outputs */
#define LAYER_FLIP 36

/* The frame below the saved registers. */
#define FRAME_X 0
#define FRAME_BYTES 12 /* 8-aligned with the nine words pushed above it */

.macro PREPARE_int8
.endm
.macro MULTIPLY_int8
    vldrb.u8    q1, [W], #16
    vmladava.s8 A0, x, q1
    vldrb.u8    q2, [W], #16
    vmladava.s8 A1, x, q2
    vldrb.u8    q1, [W], #16
    vmladava.s8 A2, x, q1
    vldrb.u8    q2, [W], #16
    vmladava.s8 A3, x, q2
.endm

/* 16 times the image of each nibble: a low one is shifted up, a high one is in place. */
#define NIBBLES q3
.macro PREPARE_int4
    vmov.i8     NIBBLES, #0xF0
.endm
.macro MULTIPLY_int4
    vldrb.u8    q1, [W], #16
    vshl.i8     q2, q1, #4
    vmladava.s8 A0, x, q2
    vand        q1, q1, NIBBLES
    vmladava.s8 A1, x, q1
    vldrb.u8    q1, [W], #16
    vshl.i8     q2, q1, #4
    vmladava.s8 A2, x, q2
    vand        q1, q1, NIBBLES
    vmladava.s8 A3, x, q1
.endm

/* Images are gathered from the table. */
.macro PREPARE_table
    vmov.i8     NIBBLES, #0x0F
.endm
.macro MULTIPLY_table
    vldrb.u8    q1, [W], #16
    vand        q2, q1, NIBBLES
    vldrb.u8    q4, [TABLE, q2]
    vmladava.s8 A0, x, q4
    vshr.u8     q1, q1, #4
    vldrb.u8    q2, [TABLE, q1]
    vmladava.s8 A1, x, q2
    vldrb.u8    q1, [W], #16
    vand        q2, q1, NIBBLES
    vldrb.u8    q4, [TABLE, q2]
    vmladava.s8 A2, x, q4
    vshr.u8     q1, q1, #4
    vldrb.u8    q2, [TABLE, q1]
    vmladava.s8 A3, x, q2
.endm

/* r0 = layer; r1 = x; r2 = output. */
.macro DENSE_FUNCTION name, form, has_nudge
FUNCTION \name
    ENTER       FRAME_BYTES
    str         X, [sp, #FRAME_X]
    mov         OUT, r2
    ldrd        BIAS, SHIFT, [LAYER, #LAYER_BIAS]
    ldr         NUDGE, [LAYER, #LAYER_NUDGE]
    ldrd        r4, r6, [LAYER, #LAYER_LIMITS]
    vdup.32     LOWEST, r4
    vdup.32     HIGHEST, r6
    ldr         r4, [LAYER, #LAYER_FLIP]
    vdup.8      FLIP, r4
    ldrd        INPUTS, LEFT, [LAYER, #LAYER_INPUTS]
    ldrd        W, TABLE, [LAYER, #LAYER_CODES]
    PREPARE_\form
1:  /* four channels */
    vldrw.u32   q0, [BIAS], #16
    vmov        A0, A2, q0[2], q0[0]
    vmov        A1, A3, q0[3], q0[1]
    ldr         X, [sp, #FRAME_X]
    dlstp.8     lr, INPUTS
2:  vldrb.u8    x, [X], #16
    veor        x, x, FLIP
    MULTIPLY_\form
    letp        lr, 2b

    vmov        q0[2], q0[0], A0, A2
    vmov        q0[3], q0[1], A1, A3
.if \has_nudge
    vldrb.u32   q1, [NUDGE], #4
    vneg.s32    q2, q1
    vmax.s32    q2, q2, q0
    vmin.s32    q2, q2, q1
    vadd.i32    q0, q0, q2
.endif
    vldrb.s32   q1, [SHIFT], #4
    vrshl.s32   q0, q0, q1
    vmax.s32    q0, q0, LOWEST
    vmin.s32    q0, q0, HIGHEST
    vctp.32     LEFT
    vpst
    vstrbt.32   q0, [OUT], #4
    subs        LEFT, LEFT, #4
    bgt         1b

    LEAVE       FRAME_BYTES
END_FUNCTION \name
.endm

DENSE_FUNCTION tq_mve_dense_int8, int8, 0
DENSE_FUNCTION tq_mve_dense_int8_nudge, int8, 1
DENSE_FUNCTION tq_mve_dense_int4, int4, 0
DENSE_FUNCTION tq_mve_dense_int4_nudge, int4, 1
DENSE_FUNCTION tq_mve_dense_table, table, 0
DENSE_FUNCTION tq_mve_dense_table_nudge, table, 1

#endif
