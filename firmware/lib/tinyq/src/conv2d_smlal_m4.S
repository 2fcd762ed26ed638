/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tq_sum_triples for cores with the DSP extension (its twin in C is in conv2d_smlal.c):
 * void tq_sum_triples(const uint32_t *x, const uint32_t *w, uint32_t *sums,
 *                     const tq_sum_plan *plan, uint32_t *carries);
 *
 * 19 instructions for 3 steps, 12 SMLAL of nine products each, and 3 for each turn of 12 steps. All fourteen
 * registers are taken by x, w and the accumulators; everything else lives on the stack.
 */
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include "function_thumb.h"

/* Registers of the inner loop. */
#define XS r0 /* reads x, a word a step */
#define WS r1 /* reads w, four words a step */
#define W0 r2 /* three words of w at a time */
#define W1 r3
#define W2 r12
#define X lr
#define LOW0 r4 /* accumulators of the four channels */
#define HIGH0 r5
#define LOW1 r6
#define HIGH1 r7
#define LOW2 r8
#define HIGH2 r9
#define LOW3 r10
#define HIGH3 r11

/* tq_sum_plan */
#define PLAN_SEGMENTS 0
#define PLAN_SEGMENT_COUNT 4
#define PLAN_PLACES 8
#define PLAN_X_BYTES 12

/* Stack. */
#define X_END 0        /* of the segment */
#define SEGMENT 4      /* the next entry of segments */
#define SEGMENTS_END 8
#define CARRY 12       /* the next entry of carries */
#define SUMS 16        /* of this place */
#define PLACES 20      /* still to do */
#define SEGMENTS 24    /* the first entry of segments */
#define X_BYTES 28     /* from one place to the next */
#define X_PLACE 32     /* first word of x of this place; from here on as pushed: r0, r1 */
#define W_FIRST 36
#define CARRIES 80     /* argument, above what is pushed */

/*
 * Lanes start at 4096, the topmost at 2048. In bits 0 to 25 are the two that carry over from the
 * place before, where they were the upper two: 2048 is missing in the second.
 */
#define START_LOW 0x02001000
#define START_HIGH 0x80080040
#define CARRY_MORE 0x01000000

    FUNCTION tq_sum_triples, align=8
    push {r0, r1, r3, r4-r11, lr} /* r3 to keep the stack aligned */
    sub sp, #32
    ldrd r4, r5, [r3, #PLAN_PLACES] /* and PLAN_X_BYTES */
    strd r2, r4, [sp, #SUMS] /* and PLACES */
    str r5, [sp, #X_BYTES]
    ldrd r2, r3, [r3, #PLAN_SEGMENTS] /* and PLAN_SEGMENT_COUNT */
    str r2, [sp, #SEGMENTS]
    add r12, r2, r3, lsl #1
    str r12, [sp, #SEGMENTS_END]

    ldr r0, [sp, #CARRIES]
    movw r4, #:lower16:START_LOW
    movt r4, #:upper16:START_LOW
    mov r5, r4
    mov r6, r4
    mov r7, r4
first_carry:
    stmia r0!, {r4-r7}
    subs r3, #1
    bne first_carry

next_place:
    ldrd XS, WS, [sp, #X_PLACE]
    ldr r3, [sp, #CARRIES]
    ldr r2, [sp, #SEGMENTS]

next_segment: /* r2: its entry; r3: its carries */
    ldmia r3, {LOW0, LOW1, LOW2, LOW3}
    str r3, [sp, #CARRY]
    ldrh r3, [r2], #2
    str r2, [sp, #SEGMENT]
    lsl r3, r3, #2
    add r12, XS, r3
    str r12, [sp, #X_END]
    movw HIGH0, #:lower16:START_HIGH
    movt HIGH0, #:upper16:START_HIGH
    mov HIGH1, HIGH0
    mov HIGH2, HIGH0
    mov HIGH3, HIGH0
    tst r3, #8 /* bytes of an odd number of six steps */
    bne last_six

/* Three steps: twelve words of w in four loads of three. */
.macro three_steps
    ldr X, [XS], #4
    ldmia WS!, {W0, W1, W2}
    smlal LOW0, HIGH0, X, W0
    smlal LOW1, HIGH1, X, W1
    smlal LOW2, HIGH2, X, W2
    ldmia WS!, {W0, W1, W2}
    smlal LOW3, HIGH3, X, W0
    ldr X, [XS], #4
    smlal LOW0, HIGH0, X, W1
    smlal LOW1, HIGH1, X, W2
    ldmia WS!, {W0, W1, W2}
    smlal LOW2, HIGH2, X, W0
    smlal LOW3, HIGH3, X, W1
    ldr X, [XS], #4
    smlal LOW0, HIGH0, X, W2
    ldmia WS!, {W0, W1, W2}
    smlal LOW1, HIGH1, X, W0
    smlal LOW2, HIGH2, X, W1
    smlal LOW3, HIGH3, X, W2
.endm

    .balign 4
next_twelve:
    three_steps
    three_steps
last_six:
    three_steps
    three_steps
    ldr W0, [sp, #X_END]
    cmp XS, W0
    bne next_twelve

/* The lower three lanes into r2, r3, r12, lr or, the last, the LOW registers themselves. */
.macro lane_at bit
    ubfx r2, LOW0, #\bit, #13
    ubfx r3, LOW1, #\bit, #13
    ubfx r12, LOW2, #\bit, #13
    ubfx lr, LOW3, #\bit, #13
.endm
.macro lane_across low, high /* bits 26 to 31 of the one, 0 to 6 of the other */
    lsr \low, \low, #26
    bfi \low, \high, #6, #7
.endm
.macro lanes_across
    lane_across LOW0, HIGH0
    lane_across LOW1, HIGH1
    lane_across LOW2, HIGH2
    lane_across LOW3, HIGH3
.endm

    /* XS is at X_END; r0 is free for the sums. */
    ldr r2, [sp, #CARRY]
    ldr r3, [sp, #CARRIES]
    ldr r0, [sp, #SUMS]
    cmp r2, r3
    bne add_segment

    /* The first segment: its lanes are the sums so far. */
    lane_at 0
    stmia r0!, {r2, r3, r12, lr}
    lane_at 13
    stmia r0!, {r2, r3, r12, lr}
    lanes_across
    stmia r0!, {LOW0, LOW1, LOW2, LOW3}

carry_over:
    ldr r3, [sp, #CARRY]
    mov r2, #CARRY_MORE
    add LOW0, r2, HIGH0, lsr #7
    add LOW1, r2, HIGH1, lsr #7
    add LOW2, r2, HIGH2, lsr #7
    add LOW3, r2, HIGH3, lsr #7
    stmia r3!, {LOW0, LOW1, LOW2, LOW3}
    ldr XS, [sp, #X_END]
    ldrd r2, r12, [sp, #SEGMENT] /* and SEGMENTS_END */
    cmp r2, r12
    bne next_segment

    ldrd r2, r3, [sp, #X_BYTES] /* and X_PLACE */
    add r3, r2
    str r3, [sp, #X_PLACE]
    ldrd r2, r3, [sp, #SUMS] /* and PLACES */
    adds r2, #48
    subs r3, #1
    strd r2, r3, [sp, #SUMS]
    bne next_place

    add sp, #44
    pop {r4-r11, pc}

/* Another segment: its lanes are added to the sums, two channels at a time. */
.macro add_sums a, b, c, d
    ldrd HIGH0, HIGH1, [r0]
    add HIGH0, \a
    add HIGH1, \b
    strd HIGH0, HIGH1, [r0], #8
    ldrd HIGH0, HIGH1, [r0]
    add HIGH0, \c
    add HIGH1, \d
    strd HIGH0, HIGH1, [r0], #8
.endm

add_segment:
    push {HIGH0, HIGH1}
    lane_at 0
    add_sums r2, r3, r12, lr
    lane_at 13
    add_sums r2, r3, r12, lr
    pop {HIGH0, HIGH1}
    lanes_across
    push {HIGH0, HIGH1}
    add_sums LOW0, LOW1, LOW2, LOW3
    pop {HIGH0, HIGH1}
    b carry_over
    END_FUNCTION tq_sum_triples

#endif

#if defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
