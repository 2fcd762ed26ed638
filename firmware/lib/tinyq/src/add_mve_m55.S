/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of two tensors, eight elements at a time in 16-bit lanes; their meaning is add_mve_parts.c.
 */
#include "mve_m55.h"

#if TQ_HAS_MVE

#define COUNT r0
#define A r1
#define B r2
#define OUT r3
#define A_FACTOR r4
#define B_FACTOR r5
#define SHIFT r6
#define acc q0
#define sign q2
#define AWAY q3
#define LOWEST q4
#define HIGHEST q5

/* tq_add_mve */
#define ADD_A_FACTOR 4 /* and b_factor */
#define ADD_SHIFT 12 /* and away */
#define ADD_LIMITS 20

/* r0 = add; r1 = a; r2 = b; r3 = output. */
.macro ADD_FUNCTION name, a_type, b_type
FUNCTION \name
    push        {r4-r7, lr}
    vpush       {d8-d11}
    ldrd        A_FACTOR, B_FACTOR, [r0, #ADD_A_FACTOR]
    ldrd        r6, r7, [r0, #ADD_LIMITS]
    vdup.16     LOWEST, r6
    vdup.16     HIGHEST, r7
    ldrd        SHIFT, r7, [r0, #ADD_SHIFT]
    vdup.16     AWAY, r7
    ldr         COUNT, [r0]
    dlstp.16    lr, COUNT
1:  vldrb.\a_type acc, [A], #8
    vmul.i16    acc, acc, A_FACTOR
    vldrb.\b_type q1, [B], #8
    vmla.s16    acc, q1, B_FACTOR
    vshr.s16    sign, acc, #15              /* -1 for a negative sum: its half goes down */
    vand        sign, sign, AWAY
    vadd.i16    acc, acc, sign
    vrshl.s16   acc, SHIFT
    vmax.s16    acc, acc, LOWEST
    vmin.s16    acc, acc, HIGHEST
    vstrb.16    acc, [OUT], #8
    letp        lr, 1b
    vpop        {d8-d11}
    pop         {r4-r7, pc}
END_FUNCTION \name
.endm

ADD_FUNCTION tq_mve_add_u8_u8, u16, u16
ADD_FUNCTION tq_mve_add_u8_s8, u16, s16
ADD_FUNCTION tq_mve_add_s8_u8, s16, u16
ADD_FUNCTION tq_mve_add_s8_s8, s16, s16

#endif
