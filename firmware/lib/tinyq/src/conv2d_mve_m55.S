/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inner routines of conv2d_mve.c for Helium vectors; their meaning is conv2d_mve_parts.c.
 */
#include "mve_m55.h"

#if TQ_HAS_MVE

/* --- dot products: four channels of two pixels ---------------------------------------------------
 *
 * VMLADAVA multiplies sixteen pairs and adds all of them to a core register, an even one: eight
 * sums take all of these, so that loops count in an odd one and lr holds a sum.
 */
#define A0 r0 /* sums of the first pixel, channels 0..3 */
#define A1 r2
#define A2 r4
#define A3 r6
#define B0 r8 /* sums of the second pixel */
#define B1 r10
#define B2 r12
#define B3 lr
#define XA r1 /* the pixels' windows */
#define XB r3
#define W r5     /* weights */
#define OUT r7   /* the first pixel's output */
#define TURNS r9 /* of the inner loop, four vectors each */
#define ENTRY r11 /* where the first turn starts, so that the turns end at the last vector */
#define xa q0 /* sixteen elements of the windows */
#define xb q1
#define wa q2 /* sixteen weights of a channel; two take turns */
#define wb q3
#define BIAS q4
#define SHIFT q5
#define LOWEST q6
#define HIGHEST q7

/* The frame below the saved registers. */
#define FRAME_CHANNELS 0 /* bytes from an output pixel to the next */
#define FRAME_END 4      /* output after the last pixel */
#define FRAME_SKIP 8     /* from the end of a window to the next pixel's window */
#define FRAME_STEP 12    /* from a window to the next pixel's */
#define FRAME_WEIGHTS 16
#define FRAME_TURNS 20
#define FRAME_NUDGE 32  /* vector: of the channels */
#define FRAME_NEGATED 48 /* vector: -nudge */
#define FRAME_BYTES 68   /* 8-aligned with the nine words pushed above it */

/* Sixteen products of each sum; its instructions are four bytes each. */
.equ MULTIPLY_SIZE, 14 * 4
.macro MULTIPLY
    vldrb.u8    xa, [XA], #16
    vldrb.u8    wa, [W], #16
    vmladava.s8 A0, xa, wa
    vldrb.u8    xb, [XB], #16
    vmladava.s8 B0, xb, wa
    vldrb.u8    wb, [W], #16
    vmladava.s8 A1, xa, wb
    vldrb.u8    wa, [W], #16
    vmladava.s8 B1, xb, wb
    vldrb.u8    wb, [W], #16
    vmladava.s8 A2, xa, wa
    vmladava.s8 B2, xb, wa
    vmladava.s8 A3, xa, wb
    vmladava.s8 B3, xb, wb
.endm

/* sums += clamp(sums, -nudge, nudge); wa and wb are free by now. */
.macro ADD_NUDGE sums
    vldrw.u32   wa, [sp, #FRAME_NEGATED]
    vldrw.u32   wb, [sp, #FRAME_NUDGE]
    vmax.s32    wa, wa, \sums
    vmin.s32    wa, wa, wb
    vadd.i32    \sums, \sums, wa
.endm

/* r0 = tq_mve_pixels: vectors, step, channels, count, lo, hi; r1 = tq_mve_block: codes, bias,
 * shift, nudge, count; r2 = first window; r3 = first output. */
.macro DOT_FUNCTION name, has_nudge
FUNCTION \name
    ENTER       FRAME_BYTES
    mov         OUT, r3
    ldrd        r5, r12, [r0]               /* vectors, step */
    ldrd        r4, r6, [r0, #8]            /* r4 = channels, r6 = count */
    mla         r6, r4, r6, OUT
    strd        r4, r6, [sp, #FRAME_CHANNELS]
    sub         r9, r12, r5, lsl #4
    strd        r9, r12, [sp, #FRAME_SKIP]
    adds        r6, r5, #3
    lsrs        r6, r6, #2
    str         r6, [sp, #FRAME_TURNS]
    rsb         r6, r5, r6, lsl #2          /* vectors that the first turn leaves out */
    movs        r4, #MULTIPLY_SIZE
    adr         ENTRY, 2f
    mla         ENTRY, r6, r4, ENTRY
    orr         ENTRY, ENTRY, #1            /* Thumb */
    ldrd        r4, r6, [r0, #16]           /* lo, hi */
    vdup.32     LOWEST, r4
    vdup.32     HIGHEST, r6
    ldrd        W, r4, [r1]                 /* codes, bias */
    vldrw.u32   BIAS, [r4]
    ldrd        r6, r3, [r1, #8]            /* shift, nudge */
    vldrb.s32   SHIFT, [r6]
.if \has_nudge
    vldrb.u32   q0, [r3]
    vstrw.32    q0, [sp, #FRAME_NUDGE]
    vneg.s32    q0, q0
    vstrw.32    q0, [sp, #FRAME_NEGATED]
.endif
    ldr         r6, [r1, #16]               /* channels to store, in the predicate from here on */
    vctp.32     r6
    str         W, [sp, #FRAME_WEIGHTS]
    mov         XA, r2
    add         XB, r2, r12
1:  /* two pixels */
    vmov        A0, A2, BIAS[2], BIAS[0]
    vmov        A1, A3, BIAS[3], BIAS[1]
    vmov        B0, B2, BIAS[2], BIAS[0]
    vmov        B1, B3, BIAS[3], BIAS[1]
    ldrd        W, TURNS, [sp, #FRAME_WEIGHTS]
    bx          ENTRY
    .balign 4
2:  MULTIPLY
    MULTIPLY
    MULTIPLY
    MULTIPLY
    subs        TURNS, TURNS, #1
    bne         2b

    vmov        q0[2], q0[0], A0, A2
    vmov        q0[3], q0[1], A1, A3
    vmov        q1[2], q1[0], B0, B2
    vmov        q1[3], q1[1], B1, B3
.if \has_nudge
    ADD_NUDGE   q0
    ADD_NUDGE   q1
.endif
    vrshl.s32   q0, q0, SHIFT
    vrshl.s32   q1, q1, SHIFT
    vmax.s32    q0, q0, LOWEST
    vmax.s32    q1, q1, LOWEST
    vmin.s32    q0, q0, HIGHEST
    vmin.s32    q1, q1, HIGHEST
    ldrd        r0, r2, [sp, #FRAME_CHANNELS] /* r2 = FRAME_END */
    add         r4, OUT, r0
    vpstt
    vstrbt.32   q0, [OUT]
    vstrbt.32   q1, [r4]
    add         OUT, r4, r0
    ldrd        r6, r8, [sp, #FRAME_SKIP]   /* r8 = FRAME_STEP */
    add         XA, XB, r6
    add         XB, XA, r8
    cmp         OUT, r2
    bne         1b

    LEAVE       FRAME_BYTES
END_FUNCTION \name
.endm

DOT_FUNCTION tq_mve_dot_any, 0
DOT_FUNCTION tq_mve_dot_nudge, 1

/* The same arguments. Four vectors of weights stay in q4..q7: one pixel a turn, lr counts. */
FUNCTION tq_mve_dot_short
    push        {r4-r10, lr}
    vpush       {d8-d15}
    ldrd        r5, r7, [r0, #4]            /* step, channels */
    ldr         r12, [r0, #12]              /* count */
    ldrd        r4, r6, [r1]                /* codes, bias */
    vldrb.u8    q4, [r4]
    vldrb.u8    q5, [r4, #16]
    vldrb.u8    q6, [r4, #32]
    vldrb.u8    q7, [r4, #48]
    vldrw.u32   q2, [r6]
    ldr         r4, [r1, #8]
    vldrb.s32   q3, [r4]                    /* shift */
    ldr         r4, [r1, #16]
    vctp.32     r4
    dls         lr, r12
1:  vldrb.u8    q0, [r2]
    vmladav.s8  r4, q0, q4
    add         r2, r2, r5
    vmladav.s8  r6, q0, q5
    vmladav.s8  r8, q0, q6
    vmladav.s8  r10, q0, q7
    vmov        q1[2], q1[0], r4, r8
    vmov        q1[3], q1[1], r6, r10
    vadd.i32    q1, q1, q2
    vrshl.s32   q1, q1, q3
    vqmovnb.s32 q1, q1                      /* saturates to 16 bits, then to 0..255 */
    vqmovunb.s16 q1, q1
    vpst
    vstrbt.32   q1, [r3]
    add         r3, r3, r7
    le          lr, 1b
    vpop        {d8-d15}
    pop         {r4-r10, pc}
END_FUNCTION tq_mve_dot_short

/* --- filling the scratch memory ------------------------------------------------------------------
 */

/* r0 = columns: to_step, from_step, bytes, flip, together, offsets; r1 = to; r2 = from;
 * r3 = count. */
FUNCTION tq_mve_copy_columns
    push        {r4-r8, lr}
    ldrd        r4, r5, [r0]                /* to_step, from_step */
    ldrd        r6, r7, [r0, #8]            /* bytes, flip */
    vdup.8      q1, r7
    ldr         r7, [r0, #16]               /* together */
    cbnz        r7, 4f
    cmp         r6, #16
    bhi         2f
    vctp.8      r6                          /* a column is one vector, or a part of one */
    dls         lr, r3
1:  vpsttt
    vldrbt.u8   q0, [r2]
    veort       q0, q0, q1
    vstrbt.8    q0, [r1]
    add         r2, r2, r5
    add         r1, r1, r4
    le          lr, 1b
    pop         {r4-r8, pc}
2:  /* a long column */
    mov         r0, r1
    mov         r8, r2
    dlstp.8     lr, r6
3:  vldrb.u8    q0, [r8], #16
    veor        q0, q0, q1
    vstrb.8     q0, [r0], #16
    letp        lr, 3b
    add         r2, r2, r5
    add         r1, r1, r4
    subs        r3, r3, #1
    bne         2b
    pop         {r4-r8, pc}
4:  /* several short columns */
    adds        r0, r0, #20
    vldrb.u8    q2, [r0]                    /* offsets */
    mul         r3, r3, r6                  /* bytes left */
    mul         r4, r4, r7
    mul         r5, r5, r7
5:  vctp.8      r3
    vpsttt
    vldrbt.u8   q0, [r2]
    veort       q0, q0, q1
    vstrbt.8    q0, [r1, q2]
    add         r2, r2, r5
    add         r1, r1, r4
    subs        r3, r3, r5
    bgt         5b
    pop         {r4-r8, pc}
END_FUNCTION tq_mve_copy_columns

/* r0 = to; r1 = value; r2 = count. */
FUNCTION tq_mve_fill
    push        {r4, lr}
    vdup.8      q0, r1
    dlstp.8     lr, r2
1:  vstrb.8     q0, [r0], #16
    letp        lr, 1b
    pop         {r4, pc}
END_FUNCTION tq_mve_fill

/* r0 = codes; r1 = table; r2 = weights; r3 = elements. Two channels of a vector at a time. */
.macro EXPAND_PAIR_table
    vldrb.u8    q0, [r0], #16
    vand        q1, q0, q3
    vldrb.u8    q2, [r1, q1]
    vshr.u8     q0, q0, #4
    vstrb.8     q2, [r2], #16
    vldrb.u8    q1, [r1, q0]
    vstrb.8     q1, [r2], #16
.endm
.macro EXPAND_PAIR_int4 /* a low nibble is shifted up, a high one is in place */
    vldrb.u8    q0, [r0], #16
    vshl.i8     q1, q0, #4
    vstrb.8     q1, [r2], #16
    vand        q0, q0, q3
    vstrb.8     q0, [r2], #16
.endm
.macro EXPAND_FUNCTION name, form, mask
FUNCTION \name
    push        {r4, lr}
    sub         r4, r3, #1                  /* the last vector of each channel starts as zeros */
    lsr         r4, r4, #4
    add         r4, r2, r4, lsl #6
    vmov.i32    q0, #0
    vstrb.8     q0, [r4]
    vstrb.8     q0, [r4, #16]
    vstrb.8     q0, [r4, #32]
    vstrb.8     q0, [r4, #48]
    vmov.i8     q3, #\mask
    dlstp.8     lr, r3
1:  EXPAND_PAIR_\form
    EXPAND_PAIR_\form
    letp        lr, 1b
    pop         {r4, pc}
END_FUNCTION \name
.endm

EXPAND_FUNCTION tq_mve_expand_table, table, 0x0F
EXPAND_FUNCTION tq_mve_expand_int4, int4, 0xF0

#endif
