/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inner routines of depthwise_conv2d_mve.c for Helium vectors; their meaning is
 * depthwise_conv2d_mve_parts.c.
 */
#include "mve_m55.h"

#if TQ_HAS_MVE

/* r0 = rows3: from, step, channels, flip; r1 = to; r2 = count. VST4 interleaves three rows, and a
 * fourth that is never multiplied, to words. */
FUNCTION tq_mve_stack_rows
    push        {r4-r8, lr}
    vpush       {d8-d9}
    ldrd        r3, r4, [r0]                /* from */
    ldr         r5, [r0, #8]
    ldrd        r6, r7, [r0, #12]           /* step */
    ldrd        r8, r12, [r0, #20]          /* the last step, channels */
    ldr         r0, [r0, #28]
    vdup.8      q4, r0
    vmov        q3, q4
    vctp.8      r12
    dls         lr, r2
1:  vpsttt
    vldrbt.u8   q0, [r3]
    vldrbt.u8   q1, [r4]
    vldrbt.u8   q2, [r5]
    veor        q0, q0, q4
    veor        q1, q1, q4
    veor        q2, q2, q4
    add         r3, r3, r6
    add         r4, r4, r7
    add         r5, r5, r8
    vst40.8     {q0, q1, q2, q3}, [r1]
    vst41.8     {q0, q1, q2, q3}, [r1]
    vst42.8     {q0, q1, q2, q3}, [r1]
    vst43.8     {q0, q1, q2, q3}, [r1]!
    le          lr, 1b
    vpop        {d8-d9}
    pop         {r4-r8, pc}
END_FUNCTION tq_mve_stack_rows

/* --- four channels of a tile ---------------------------------------------------------------------
 *
 * The weights of the four channels stay in q4..q7. A window of a channel is four words, gathered
 * from the addresses in a vector; the channels are side by side in memory.
 */
#define WINDOWS r0
#define BLOCK r1
#define OUT_SKIP r2
#define OUT r3
#define A0 r4 /* sums of channels 0..3 */
#define COLS r5
#define A1 r6
#define STEP r7
#define A2 r8
#define CHANNELS r9
#define A3 r10
#define ROWS r11
#define SKIP r12
#define ADDRESS q0 /* of the window's four columns */
#define x q1       /* a window, then the four results */
#define BIAS q2    /* for outputs of 0..255; else these two are free for the rounding */
#define SHIFT q3

/* tq_mve_windows */
#define WINDOWS_ROWS 0 /* and cols */
#define WINDOWS_STEP 8 /* and skip */
#define WINDOWS_CHANNELS 16 /* and out_skip */
#define WINDOWS_LIMITS 24
#define WINDOWS_TABLE 32 /* and taps */
#define WINDOWS_MASK 40
#define WINDOWS_OFFSETS 44

/* The frame below the saved registers: vectors. */
#define FRAME_BIAS 0
#define FRAME_SHIFT 16
#define FRAME_NUDGE 32
#define FRAME_NEGATED 48 /* -nudge */
#define FRAME_LOWEST 64
#define FRAME_HIGHEST 80
#define FRAME_BYTES 100 /* 8-aligned with the nine words pushed above it */

/* q4..q7 = weights, zero where a window has none; q0 = offsets; the predicate is the mask. */
.macro LOAD_WEIGHTS_int8
    ldr         r4, [BLOCK]
    ldr         r6, [WINDOWS, #WINDOWS_TABLE + 4]
    .irp q, q4, q5, q6, q7
    vpst
    vldrbt.u8   \q, [r4, q0]
    add         r4, r4, r6
    .endr
.endm

.macro LOAD_PAIR a, b
    vpst
    vldrbt.u8   q1, [r4, q0]
    vand        q2, q1, q3
    vshr.u8     q1, q1, #4
    vpstt
    vldrbt.u8   \a, [r5, q2]
    vldrbt.u8   \b, [r5, q1]
.endm
.macro LOAD_WEIGHTS_table
    ldr         r4, [BLOCK]
    ldrd        r5, r6, [WINDOWS, #WINDOWS_TABLE]
    vmov.i8     q3, #15
    LOAD_PAIR   q4, q5
    add         r4, r4, r6
    LOAD_PAIR   q6, q7
.endm

/* What requantization needs. r4 = bias, r5 = shift, r6 = nudge. */
.macro PREPARE_u8
    vldrw.u32   BIAS, [r4]
    vldrb.s32   SHIFT, [r5]
.endm
.macro PREPARE_any
    vldrw.u32   q1, [r4]
    vstrw.32    q1, [sp, #FRAME_BIAS]
    vldrb.s32   q1, [r5]
    vstrw.32    q1, [sp, #FRAME_SHIFT]
    vmov.i32    q1, #0
    cbz         r6, 9f
    vldrb.u32   q1, [r6]
9:  vstrw.32    q1, [sp, #FRAME_NUDGE]
    vneg.s32    q1, q1
    vstrw.32    q1, [sp, #FRAME_NEGATED]
    ldrd        r4, r6, [WINDOWS, #WINDOWS_LIMITS]
    vdup.32     q1, r4
    vstrw.32    q1, [sp, #FRAME_LOWEST]
    vdup.32     q1, r6
    vstrw.32    q1, [sp, #FRAME_HIGHEST]
.endm

/* x: from sums to outputs. */
.macro REQUANTIZE_u8
    vadd.i32    x, x, BIAS
    vrshl.s32   x, x, SHIFT
    vqmovnb.s32 x, x                        /* saturates to 16 bits, then to 0..255 */
    vqmovunb.s16 x, x
.endm
.macro REQUANTIZE_any
    vldrw.u32   q2, [sp, #FRAME_BIAS]
    vadd.i32    x, x, q2
    vldrw.u32   q2, [sp, #FRAME_NEGATED]
    vmax.s32    q2, q2, x
    vldrw.u32   q3, [sp, #FRAME_NUDGE]
    vmin.s32    q2, q2, q3
    vadd.i32    x, x, q2
    vldrw.u32   q3, [sp, #FRAME_SHIFT]
    vrshl.s32   x, x, q3
    vldrw.u32   q2, [sp, #FRAME_LOWEST]
    vmax.s32    x, x, q2
    vldrw.u32   q3, [sp, #FRAME_HIGHEST]
    vmin.s32    x, x, q3
.endm

/* r0 = windows; r1 = block: codes, bias, shift, nudge, count; r2 = first window; r3 = output. */
.macro DEPTHWISE_FUNCTION name, form, limits
FUNCTION \name
    ENTER       FRAME_BYTES
    ldr         r4, [WINDOWS, #WINDOWS_MASK]
    vmsr        p0, r4
    add         r4, WINDOWS, #WINDOWS_OFFSETS
    vldrb.u8    q0, [r4]
    LOAD_WEIGHTS_\form
    ldrd        r4, r5, [BLOCK, #4]         /* bias, shift */
    ldrd        r6, r8, [BLOCK, #12]        /* nudge, count */
    vctp.32     r8                          /* the predicate of all stores */
    PREPARE_\limits
    movs        r4, #0
    vidup.u32   ADDRESS, r4, #8
    vshl.i32    ADDRESS, ADDRESS, #3        /* columns are 64 bytes */
    vadd.i32    ADDRESS, ADDRESS, r2
    ldrd        ROWS, COLS, [WINDOWS, #WINDOWS_ROWS]
    ldrd        STEP, SKIP, [WINDOWS, #WINDOWS_STEP]
    ldrd        CHANNELS, OUT_SKIP, [WINDOWS, #WINDOWS_CHANNELS]
1:  /* a row */
    dls         lr, COLS
2:  vldrw.u32   x, [ADDRESS]
    vmladav.s8  A0, x, q4
    vldrw.u32   x, [ADDRESS, #4]
    vmladav.s8  A1, x, q5
    vldrw.u32   x, [ADDRESS, #8]
    vmladav.s8  A2, x, q6
    vldrw.u32   x, [ADDRESS, #12]
    vmladav.s8  A3, x, q7
    vadd.i32    ADDRESS, ADDRESS, STEP
    vmov        x[2], x[0], A0, A2
    vmov        x[3], x[1], A1, A3
    REQUANTIZE_\limits
    vpst
    vstrbt.32   x, [OUT]
    add         OUT, OUT, CHANNELS
    le          lr, 2b
    vadd.i32    ADDRESS, ADDRESS, SKIP
    add         OUT, OUT, OUT_SKIP
    subs        ROWS, ROWS, #1
    bne         1b

    LEAVE       FRAME_BYTES
END_FUNCTION \name
.endm

DEPTHWISE_FUNCTION tq_mve_depthwise_int8, int8, any
DEPTHWISE_FUNCTION tq_mve_depthwise_table, table, any
DEPTHWISE_FUNCTION tq_mve_depthwise_int8_u8, int8, u8
DEPTHWISE_FUNCTION tq_mve_depthwise_table_u8, table, u8

#endif
