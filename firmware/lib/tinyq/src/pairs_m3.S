/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tq_sum_pairs and tq_sum_pairs_flushed for ARMv7-M without the DSP extension: 12 instructions for
 * an element of two pixels and four words. All fourteen registers are at work; what changes once a
 * run or once a pair lives on the stack.
 */
#if defined(__ARM_ARCH_7M__)

#include "frame_thumb2.h"

/* Accumulators: word 0..3 of the first and of the second pixel. */
#define A0 r4
#define A1 r5
#define A2 r6
#define A3 r7
#define B0 r8
#define B1 r9
#define B2 r10
#define B3 r11
/* Pointers that advance with the elements. */
#define X     r0
#define WORDS r1
/* An element of the two pixels, two of its words; free between runs. */
#define XA r2
#define XB r3
#define W0 r12
#define W1 lr

/* Offsets in tq_pairs. */
#define PAIRS_X        0
#define PAIRS_X_STEP   4
#define PAIRS_SUMS     8
#define PAIRS_COUNT    12
#define PAIRS_WORDS    16
#define PAIRS_RUNS     20
#define PAIRS_RUNS_END 24
#define PAIRS_START    28

/* The stack: a copy of the descriptor without start, then what the loops need. */
#define RUN       28 /* next run; END follows it for a double load */
#define END       32 /* X at the end of this run */
#define START     36 /* address of start */
#define TOTALS    40 /* flushed: {t, h} of every accumulator */
#define FRAME     40
#define FLUSHED   (FRAME + 64)

/* Elements of an unrolled round; a power of two. */
#define ROUND 16

/* One element: 12 instructions of four bytes, so that a run may enter a round anywhere. */
#define ELEMENT_BYTES 48
.macro element
    ldrsb.w XB, [X, #1]
    ldrsb.w XA, [X], #2
    ldmia.w WORDS!, {W0, W1}
    mla     A0, XA, W0, A0
    mla     B0, XB, W0, B0
    mla     A1, XA, W1, A1
    mla     B1, XB, W1, B1
    ldmia.w WORDS!, {W0, W1}
    mla     A2, XA, W0, A2
    mla     B2, XB, W0, B2
    mla     A3, XA, W1, A3
    mla     B3, XB, W1, B3
.endm

/* A function that copies the descriptor at r0; frame: bytes on the stack. */
.macro begin name, frame
    FUNCTION \name
    ENTER   \frame
    add     r1, r0, #PAIRS_START
    str     r1, [sp, #START]
    ldm     r0, {r4-r10}
    stm     sp, {r4-r10}
.endm

/* X and WORDS at the pair's first element, XB at its first run. */
.macro begin_pair
    ldr     X, [sp, #PAIRS_X]
    ldr     WORDS, [sp, #PAIRS_WORDS]
    ldr     XB, [sp, #PAIRS_RUNS]
.endm

/* One run: XB points at it and is stored behind it. mask: 1 where its first number is marked. */
.macro sum_run mask
    ldrh    W0, [XB], #2 /* elements */
    ldrh    W1, [XB], #2 /* bytes to skip */
    .if \mask
    bic     W0, W0, #0x8000
    .endif
    add     X, X, W1
    add     W1, X, W0, lsl #1
    strd    XB, W1, [sp, #RUN]
    /* The first round is a partial one: elements modulo ROUND, 0 for a whole one. */
    and     W0, W0, #(ROUND - 1)
    tbh     [pc, W0, lsl #1]
10: .hword  (20f - 10b) / 2
    .set    left, 1
    .rept   ROUND - 1
    .hword  (20f - 10b) / 2 + (ROUND - left) * ELEMENT_BYTES / 2
    .set    left, left + 1
    .endr
20:
    .rept   ROUND
    element
    .endr
    ldrd    XB, W1, [sp, #RUN]
    cmp     X, W1
    bne.w   20b
.endm

/* Branches to the label for the next run, if there is one. XB: behind the run. */
.macro next_run label
    ldr     W0, [sp, #PAIRS_RUNS_END]
    cmp     XB, W0
    bne.w   \label
.endm

/* Branches to the label for the next pair, or ends the function. */
.macro next_pair label, name, frame
    ldr     r0, [sp, #PAIRS_X]
    ldr     r1, [sp, #PAIRS_X_STEP]
    ldr     r2, [sp, #PAIRS_COUNT]
    add     r0, r0, r1
    str     r0, [sp, #PAIRS_X]
    subs    r2, r2, #1
    str     r2, [sp, #PAIRS_COUNT]
    bne.w   \label
    LEAVE   \frame
    END_FUNCTION \name
.endm

    begin   tq_sum_pairs, FRAME
1:  ldr     r12, [sp, #START]
    ldm     r12, {A0, A1, A2, A3, B0, B1, B2, B3}
    begin_pair
2:  sum_run 0
    next_run 2b
    ldr     r2, [sp, #PAIRS_SUMS]
    stm     r2!, {A0, A1, A2, A3, B0, B1, B2, B3}
    str     r2, [sp, #PAIRS_SUMS]
    next_pair 1b, tq_sum_pairs, FRAME

/* Every accumulator starts at 2^15: then its high half is the high lane itself. */
.macro start_segment
    .irp    sum, A0, A1, A2, A3, B0, B1, B2, B3
    mov     \sum, #0x8000
    .endr
.endm

/* t += accumulator, h += its high lane. */
.macro flush sum, index
    ldrd    r2, r12, [sp, #(TOTALS + 8 * \index)]
    add     r2, r2, \sum
    add     r12, r12, \sum, asr #16
    strd    r2, r12, [sp, #(TOTALS + 8 * \index)]
.endm

    begin   tq_sum_pairs_flushed, FLUSHED
1:  ldr     r12, [sp, #START]
    ldm     r12, {r4-r11}
    add     r12, sp, #TOTALS
    stm     r12!, {r4-r11}
    stm     r12, {r4-r11}
    start_segment
    begin_pair
2:  sum_run 1
    /* A marked run ends a segment. */
    ldrsh   W0, [XB, #-4]
    cmp     W0, #0
    bge     3f
    flush   A0, 0
    flush   A1, 1
    flush   A2, 2
    flush   A3, 3
    flush   B0, 4
    flush   B1, 5
    flush   B2, 6
    flush   B3, 7
    start_segment
3:  next_run 2b
    /* The totals of the pair. */
    ldr     r2, [sp, #PAIRS_SUMS]
    add     r12, sp, #TOTALS
    ldm     r12!, {r4-r11}
    stm     r2!, {r4-r11}
    ldm     r12, {r4-r11}
    stm     r2!, {r4-r11}
    str     r2, [sp, #PAIRS_SUMS]
    next_pair 1b, tq_sum_pairs_flushed, FLUSHED

#endif
