/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tq_sum_triples for cores with the DSP extension (its twin in C is in conv2d_smlal.c):
 * void tq_sum_triples(const uint32_t *x, const uint32_t *w, uint32_t *sums,
 *                     const tq_sum_plan *plan);
 *
 * 38 instructions for 6 steps, 24 SMLAL of nine products each, and 3 for the loop. All fourteen
 * registers are taken by x, w and the accumulators; everything else lives on the stack.
 */
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

    .syntax unified
    .thumb
    .section .text.tq_sum_triples, "ax", %progbits

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
#define SUMS 12
#define PLACES 16      /* still to do */
#define X_PLACE 20     /* first word of x of this place; from here on as pushed: r0, r1, r3 */
#define W_FIRST 24
#define PLAN 28

/* Lanes start at 4096, the topmost at 2048: see conv2d_smlal.c. */
#define START_LOW 0x02001000
#define START_HIGH 0x80080040

    .balign 8
    .global tq_sum_triples
    .type tq_sum_triples, %function
    .thumb_func
tq_sum_triples:
    push {r0, r1, r3, r4-r11, lr}
    sub sp, #20
    str r2, [sp, #SUMS]
    ldr r2, [r3, #PLAN_PLACES]
    str r2, [sp, #PLACES]
    ldrd r2, r3, [r3, #PLAN_SEGMENTS]
    add r3, r2, r3, lsl #1
    str r3, [sp, #SEGMENTS_END]

next_place:
    ldrd XS, WS, [sp, #X_PLACE]
    ldr r3, [sp, #PLAN]
    ldr r2, [r3, #PLAN_SEGMENTS]

next_segment: /* r2: its entry */
    ldrh r3, [r2], #2
    str r2, [sp, #SEGMENT]
    add r3, XS, r3, lsl #2
    str r3, [sp, #X_END]
    movw LOW0, #:lower16:START_LOW
    movt LOW0, #:upper16:START_LOW
    movw HIGH0, #:lower16:START_HIGH
    movt HIGH0, #:upper16:START_HIGH
    mov LOW1, LOW0
    mov HIGH1, HIGH0
    mov LOW2, LOW0
    mov HIGH2, HIGH0
    mov LOW3, LOW0
    mov HIGH3, HIGH0

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
next_steps:
    three_steps
    three_steps
    ldr W0, [sp, #X_END]
    cmp XS, W0
    bne next_steps

    ldr r2, [sp, #SUMS]
    stmia r2!, {r4-r11}
    str r2, [sp, #SUMS]
    ldrd r2, r3, [sp, #SEGMENT] /* and SEGMENTS_END */
    cmp r2, r3
    bne next_segment

    ldr r2, [sp, #PLAN]
    ldr r2, [r2, #PLAN_X_BYTES]
    ldr r3, [sp, #X_PLACE]
    add r3, r2
    str r3, [sp, #X_PLACE]
    ldr r2, [sp, #PLACES]
    subs r2, #1
    str r2, [sp, #PLACES]
    bne next_place

    add sp, #32
    pop {r4-r11, pc}
    .size tq_sum_triples, . - tq_sum_triples

#endif

#if defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
