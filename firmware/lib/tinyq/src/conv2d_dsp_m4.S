/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner loop of convolutions for cores with the DSP extension: the assembly twin of
 * conv2d_dsp_blocks.c, with the same functions. It keeps all eight sums, three pointers and three
 * words in registers, and groups loads so that they pipeline.
 *
 * A segment of `words` words goes in rounds of ROUND words. The first round enters the unrolled
 * code in its middle, so that words need not be a multiple of anything. Pointers point at the last
 * word of a round; that word's loads move them on.
 */
#include "dsp_assembly.h"

#if TQ_DSP_ASSEMBLY

#include "frame_thumb2.h"

#define ROUND 16       /* words */
#define TAPS_BYTES 56  /* code for one word: 14 instructions of 4 bytes */

/* Fields of tq_dsp_blocks, checked in conv2d_dsp_blocks.c. */
#define WORK_WEIGHTS  0
#define WORK_STARTS   4
#define WORK_BLOCKS   8
#define WORK_SEGMENTS 12
#define WORK_WORDS    16
#define WORK_PITCH    20
#define WORK_OWN      24 /* eight words, from tq_dsp_prepare: */
/* pitch
 * x_back   from the end of a segment to the start of the next one, bytes of a window
 * w_back   the same for weights
 * entry    where the first round enters TAPS
 * skip     from a window to where its pointer starts
 * span     what the rounds of a segment move that pointer
 * tail     from the first segment to the last one
 * begin    where a block begins: tq_dsp_segments, or the entry where there is one segment */
#define WORK_FACTORS 56

/* The frame. */
#define PITCH   0
#define X_BACK  4
#define W_BACK  8
#define ENTRY   12
#define LIMIT   16 /* where X is at the end of the segment */
#define FIRST   20 /* of the first segment */
#define LAST    24 /* of the last segment */
#define WINDOWS 28 /* X and Y at a block's start */
#define STARTS  36 /* of the next block, and the end of all */
#define PIXELS  44 /* two outputs, two others */
#define OUTPUTS PIXELS
#define OTHERS  (PIXELS + 8)
#define FACTORS 60 /* two */
#define SHIFTS  68 /* of this block */
#define FINISH  72 /* the code after the sums */
#define BEGIN   76 /* the code before the taps */
#define SAVED_W 80
#define FRAME   84 /* with nine saved registers a multiple of 8 */

/* Registers. */
#define X   r0 /* first window */
#define W   r1 /* weights */
#define Y   lr /* second window */
#define XX  r2 /* two elements of the first window */
#define YY  r3 /* of the second one */
#define WW  r12 /* two taps of two channels */
#define a0  r4 /* sums of the first window */
#define a1  r5
#define a2  r6
#define a3  r7
#define b0  r8 /* of the second one */
#define b1  r9
#define b2  r10
#define b3  r11

/* 16 products. XX, YY and WW are loaded. Channels 1 and 3 collect 256 times their sum and, on top,
 * that of channels 0 and 2. */
.macro MULTIPLY next_w:vararg
    smlad   a1, XX, WW, a1
    smlad   b1, YY, WW, b1
    sxtb16  WW, WW
    smlad   a0, XX, WW, a0
    smlad   b0, YY, WW, b0
    ldr.w   WW, \next_w
    smlad   a3, XX, WW, a3
    smlad   b3, YY, WW, b3
    sxtb16  WW, WW
    smlad   a2, XX, WW, a2
    smlad   b2, YY, WW, b2
.endm

/* void tq_dsp_prepare(tq_dsp_blocks *work): fills in WORK_OWN. */
    FUNCTION tq_dsp_prepare
    push    {r4-r10, lr}
    ldr     r1, [r0, #WORK_PITCH]    /* pitch */
    ldr     r9, [r0, #WORK_WORDS]
    add     r10, r9, #(ROUND - 1)
    lsr     r10, r10, #4             /* rounds */
    sub     r9, r9, r10, lsl #4
    add     r9, r9, #ROUND           /* words of the first round */
    lsl     r6, r10, #6              /* span */
    sub     r2, r1, r6               /* x_back */
    lsl     r3, r9, #3
    sub     r3, r3, #(8 * ROUND)     /* w_back */
    rsb     r4, r9, #ROUND
    mov     r5, #TAPS_BYTES
    mul     r4, r4, r5
    ldr     r5, =tq_dsp_taps + 1
    add     r4, r4, r5               /* entry */
    sub     r5, r9, #1
    lsl     r5, r5, #2               /* skip */
    ldr     r10, [r0, #WORK_SEGMENTS]
    subs    r10, r10, #1
    mul     r7, r10, r1              /* tail */
    mov     r8, r4                   /* begin */
    beq     1f
    ldr     r8, =tq_dsp_segments + 1
1:  add     r0, r0, #WORK_OWN
    stm     r0, {r1-r8}
    pop     {r4-r10, pc}
    .ltorg
    END_FUNCTION tq_dsp_prepare

    .section .text.tq_dsp_taps, "ax", %progbits
    .balign 4
    .global tq_dsp_sums
    .type   tq_dsp_sums, %function
    .thumb_func
/* void tq_dsp_sums(work, first, second, sums) */
tq_dsp_sums:
    ENTER   FRAME
    str     r3, [sp, #OUTPUTS]
    adr     r12, finish_sums + 1
    b       start

.macro PASS kind
    .global tq_dsp_pass_\kind
    .type   tq_dsp_pass_\kind, %function
    .thumb_func
/* void tq_dsp_pass_...(work, first, second, pixels) */
tq_dsp_pass_\kind:
    ENTER   FRAME
    ldm     r3, {r4-r7}
    add     r12, sp, #PIXELS
    stm     r12, {r4-r7}
    adr     r12, finish_\kind + 1
    b       start
.endm
    PASS    u8
    PASS    s8
    PASS    tflite_s8
    PASS    add_u8
    PASS    add_s8

/* The frame, from the work (r0), the windows (r1, r2) and the finish (r12). */
start:
    str     r12, [sp, #FINISH]
    add     r12, r0, #WORK_OWN
    ldm     r12, {r4-r11}            /* pitch, x_back, w_back, entry, skip, span, tail, begin */
    str     r11, [sp, #BEGIN]
    ldr     r11, [r0, #WORK_WEIGHTS]
    add     r11, r11, r8, lsl #1     /* eight bytes of weights for four of a window, */
    add     r11, r11, #4             /* up to the second of two words */
    add     r1, r1, r8
    add     r2, r2, r8
    add     r8, r1, r9               /* limit */
    mov     r9, r8
    add     r10, r10, r8
    stm     sp, {r4-r10}
    strd    r1, r2, [sp, #WINDOWS]
    ldrd    r2, r3, [r0, #WORK_STARTS] /* and blocks */
    add     r3, r3, r3, lsl #2
    add     r3, r2, r3, lsl #2
    str     r3, [sp, #STARTS + 4]
    ldrd    r4, r5, [r0, #WORK_FACTORS]
    strd    r4, r5, [sp, #FACTORS]
    mov     W, r11

/* The next block; its starts at r2. */
next_block:
    ldm     r2, {a0, a1, a2, a3}
    ldm     r2!, {b0, b1, b2, b3, r12}
    str     r2, [sp, #STARTS]
    str     r12, [sp, #SHIFTS]
    ldrd    X, Y, [sp, #WINDOWS]
    ldr     pc, [sp, #BEGIN]

    .balign 4
    .global tq_dsp_segments
    .hidden tq_dsp_segments
tq_dsp_segments:
    ldr     WW, [sp, #FIRST]
    str     WW, [sp, #LIMIT]
    ldr     pc, [sp, #ENTRY]

    .balign 4
    .global tq_dsp_taps
    .hidden tq_dsp_taps
tq_dsp_taps:
    .set    left, ROUND - 1
    .rept   ROUND - 1
    ldr.w   XX, [X, #(-4 * left)]
    ldr.w   YY, [Y, #(-4 * left)]
    ldr.w   WW, [W, #(-8 * left - 4)]
    MULTIPLY [W, #(-8 * left)]
    .set    left, left - 1
    .endr
    ldr.w   XX, [X], #(4 * ROUND)
    ldr.w   YY, [Y], #(4 * ROUND)
    ldr.w   WW, [W, #-4]
    MULTIPLY [W], #(8 * ROUND)
    ldr     WW, [sp, #LIMIT]
    cmp     X, WW
    bne     tq_dsp_taps

/* A segment is done; WW holds its limit. */
    ldrd    XX, YY, [sp, #X_BACK]      /* and w_back */
    add     W, W, YY
    ldr     YY, [sp, #LAST]
    cmp     WW, YY
    beq     sums_done
    add     X, X, XX
    add     Y, Y, XX
    ldr     YY, [sp, #PITCH]
    add     WW, WW, YY
    str     WW, [sp, #LIMIT]
    ldr     pc, [sp, #ENTRY]

sums_done:
    sub     a1, a1, a0
    sub     a3, a3, a2
    sub     b1, b1, b0
    sub     b3, b3, b2
    ldr     pc, [sp, #FINISH]

/* The next block, if there is one, else back; r2 and r12 hold STARTS. */
.macro NEXT_OR_RETURN
    cmp     r2, r12
    bne.w   next_block
    LEAVE   FRAME
.endm

    .balign 4
finish_sums:
    ldr     r0, [sp, #OUTPUTS]
    stm     r0!, {a0, a1, a2, a3, b0, b1, b2, b3}
    str     r0, [sp, #OUTPUTS]
    ldrd    r2, r12, [sp, #STARTS]
    NEXT_OR_RETURN

/* acc + h + sgn(acc), where the sum holds acc + h - 1: plus 2 of the sum's unit, 2^unit, unless it
 * is negative. */
.macro ROUND_TFLITE sum, unit
    mvn     r2, \sum, asr #31
    sub     \sum, \sum, r2, lsl #(1 + \unit)
.endm

.macro ROUND_ALL_TFLITE
    ROUND_TFLITE a0, 0
    ROUND_TFLITE a1, 8
    ROUND_TFLITE a2, 0
    ROUND_TFLITE a3, 8
    ROUND_TFLITE b0, 0
    ROUND_TFLITE b1, 8
    ROUND_TFLITE b2, 0
    ROUND_TFLITE b3, 8
.endm

/* ASR takes the lowest byte of its operand: the four shifts of a word one after another. */
.macro SHIFT_ALL
    ldr     r12, [sp, #SHIFTS]
    asr     a0, a0, r12
    asr     b0, b0, r12
    lsr     r12, r12, #8
    asr     a1, a1, r12
    asr     b1, b1, r12
    lsr     r12, r12, #8
    asr     a2, a2, r12
    asr     b2, b2, r12
    lsr     r12, r12, #8
    asr     a3, a3, r12
    asr     b3, b3, r12
.endm

.macro SATURATE_ALL instruction:vararg
    \instruction a0, #8, a0
    \instruction a1, #8, a1
    \instruction a2, #8, a2
    \instruction a3, #8, a3
    \instruction b0, #8, b0
    \instruction b1, #8, b1
    \instruction b2, #8, b2
    \instruction b3, #8, b3
.endm

.macro STORE_ALL
    ldrd    r0, r3, [sp, #OUTPUTS]
    ldrd    r2, r12, [sp, #STARTS]
    strb    a0, [r0], #4
    strb    a1, [r0, #-3]
    strb    a2, [r0, #-2]
    strb    a3, [r0, #-1]
    strb    b0, [r3], #4
    strb    b1, [r3, #-3]
    strb    b2, [r3, #-2]
    strb    b3, [r3, #-1]
    strd    r0, r3, [sp, #OUTPUTS]
    NEXT_OR_RETURN
.endm

/* The shifted sums fit 16 bits here: two a word, then four bytes a word. */
.macro PACK_U8 s0, s1, s2, s3
    pkhbt   \s0, \s0, \s2, lsl #16
    pkhbt   \s1, \s1, \s3, lsl #16
    usat16  \s0, #8, \s0
    usat16  \s1, #8, \s1
    orr     \s0, \s0, \s1, lsl #8
.endm

    .balign 4
finish_u8:
    SHIFT_ALL
    ldrd    r0, r3, [sp, #OUTPUTS]
    ldrd    r2, r12, [sp, #STARTS]
    PACK_U8 a0, a1, a2, a3
    PACK_U8 b0, b1, b2, b3
    str     a0, [r0], #4
    str     b0, [r3], #4
    strd    r0, r3, [sp, #OUTPUTS]
    NEXT_OR_RETURN

    .balign 4
finish_s8:
    SHIFT_ALL
    SATURATE_ALL ssat
    STORE_ALL

    .balign 4
finish_tflite_s8:
    ROUND_ALL_TFLITE
    SHIFT_ALL
    SATURATE_ALL ssat
    STORE_ALL

/* One sum, an int8 by now: sum * r12 + other * lr + 2^15, to be shifted right by 16. r3 = 2^15. */
.macro ADD_OTHER load, sum, from:vararg
    \load   r2, \from
    mla     r2, r2, lr, r3
    mla     \sum, \sum, r12, r2
    usat    \sum, #8, \sum, asr #16
.endm

.macro ADD_ALL load
    str     W, [sp, #SAVED_W]
    ROUND_ALL_TFLITE
    SHIFT_ALL
    SATURATE_ALL ssat
    ldrd    r0, r1, [sp, #OTHERS]
    ldrd    r12, lr, [sp, #FACTORS]
    mov     r3, #0x8000
    ADD_OTHER \load, a0, [r0], #4
    ADD_OTHER \load, a1, [r0, #-3]
    ADD_OTHER \load, a2, [r0, #-2]
    ADD_OTHER \load, a3, [r0, #-1]
    ADD_OTHER \load, b0, [r1], #4
    ADD_OTHER \load, b1, [r1, #-3]
    ADD_OTHER \load, b2, [r1, #-2]
    ADD_OTHER \load, b3, [r1, #-1]
    strd    r0, r1, [sp, #OTHERS]
    ldr     W, [sp, #SAVED_W]
    STORE_ALL
.endm

    .balign 4
finish_add_u8:
    ADD_ALL ldrb

    .balign 4
finish_add_s8:
    ADD_ALL ldrsb
    END_FUNCTION tq_dsp_sums
#endif
