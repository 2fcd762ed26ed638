/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tq_sum_packed for cores with the DSP extension (its twin in C is in conv2d_nibbles.c):
 * void tq_sum_packed(const uint32_t *x, const uint32_t *w, uint32_t *sums, const tq_sum_plan *plan);
 *
 * 11 instructions a step, 8 SMLAD of four products each, and 3 for each turn of 8 steps. All
 * fourteen registers are taken by x, w and the accumulators; everything else lives on the stack.
 */
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include "function_thumb.h"

/* Registers of the inner loop. */
#define XS r0 /* reads x, two words a step */
#define WS r1 /* reads w, four words a step */
#define X0 r2 /* pixels 0 and 1 */
#define X1 r3 /* pixels 2 and 3 */
#define W0 r12
#define W1 lr
/* Accumulators: sum <pixels><channel>. */
#define S00 r4
#define S01 r5
#define S02 r6
#define S03 r7
#define S10 r8
#define S11 r9
#define S12 r10
#define S13 r11

/* tq_sum_plan */
#define PLAN_SEGMENTS 0
#define PLAN_SEGMENT_COUNT 4
#define PLAN_PLACES 8
#define PLAN_X_BYTES 12

/* Stack. */
#define X_END 0        /* of the segment */
#define SEGMENT 4      /* the next entry of segments */
#define SEGMENTS_END 8
#define SUMS 12        /* of this place */
#define PLACES 16      /* still to do */
#define LOWER 20       /* sums of the lower pixels so far, in the order of the accumulators */
#define SEGMENTS 52    /* the first entry of segments */
#define X_BYTES 56     /* from one place to the next */
#define X_PLACE 60     /* first word of x of this place; from here on as pushed: r0, r1 */
#define W_FIRST 64

/* The lower pixel's sum starts here: see conv2d_nibbles.c. */
#define CENTER 2048

    FUNCTION tq_sum_packed, align=8
    push {r0, r1, r3, r4-r11, lr}
    sub sp, #60
    ldrd r4, r5, [r3, #PLAN_PLACES] /* and PLAN_X_BYTES */
    strd r2, r4, [sp, #SUMS] /* and PLACES */
    ldrd r2, r3, [r3, #PLAN_SEGMENTS] /* and PLAN_SEGMENT_COUNT */
    strd r2, r5, [sp, #SEGMENTS] /* and X_BYTES */
    add r12, r2, r3, lsl #1
    str r12, [sp, #SEGMENTS_END]

next_place:
    mov S00, #CENTER
    mov S01, #CENTER
    mov S02, #CENTER
    mov S03, #CENTER
    mov S10, #CENTER
    mov S11, #CENTER
    mov S12, #CENTER
    mov S13, #CENTER
    ldrd XS, WS, [sp, #X_PLACE]
    ldr r2, [sp, #SEGMENTS]

next_segment: /* r2: its entry */
    ldrh r3, [r2], #2
    str r2, [sp, #SEGMENT]
    lsl r3, r3, #3
    add r12, XS, r3
    str r12, [sp, #X_END]
    tst r3, #32 /* bytes of an odd number of four steps */
    bne last_four

/* Two elements of four pixels and four channels. */
.macro step
    ldrd X0, X1, [XS], #8
    ldrd W0, W1, [WS], #8
    smlad S00, X0, W0, S00
    smlad S10, X1, W0, S10
    smlad S01, X0, W1, S01
    smlad S11, X1, W1, S11
    ldrd W0, W1, [WS], #8
    smlad S02, X0, W0, S02
    smlad S12, X1, W0, S12
    smlad S03, X0, W1, S03
    smlad S13, X1, W1, S13
.endm

    .balign 4
next_eight:
    step
    step
    step
    step
last_four:
    step
    step
    step
    step
    ldr W0, [sp, #X_END]
    cmp XS, W0
    bne next_eight

    ldrd r2, r3, [sp, #SEGMENT] /* and SEGMENTS_END */
    cmp r2, r3
    beq last_segment

/* The lower pixels of two accumulators: onto the stack, or onto what is there. */
.macro take_lower s, t
    ubfx r2, \s, #0, #12
    ubfx r3, \t, #0, #12
    bfi \s, r12, #0, #12
    bfi \t, r12, #0, #12
.endm
.macro first_lower s, t, slot
    take_lower \s, \t
    strd r2, r3, [sp, #LOWER + 8 * \slot]
.endm
.macro more_lower s, t, slot
    take_lower \s, \t
    ldr lr, [sp, #LOWER + 8 * \slot]
    add r2, lr
    ldr lr, [sp, #LOWER + 8 * \slot + 4]
    add r3, lr
    strd r2, r3, [sp, #LOWER + 8 * \slot]
.endm

    ldr r3, [sp, #SEGMENTS]
    subs r12, r2, #2
    cmp r12, r3
    mov r12, #CENTER
    bne middle_segment
    first_lower S00, S01, 0
    first_lower S02, S03, 1
    first_lower S10, S11, 2
    first_lower S12, S13, 3
    ldr r2, [sp, #SEGMENT]
    b next_segment
middle_segment:
    more_lower S00, S01, 0
    more_lower S02, S03, 1
    more_lower S10, S11, 2
    more_lower S12, S13, 3
    ldr r2, [sp, #SEGMENT]
    b next_segment

/* The sums of two pixels: the lower and the upper ones of four accumulators. */
.macro lower_of s0, s1, s2, s3
    ubfx r2, \s0, #0, #12
    ubfx r3, \s1, #0, #12
    ubfx r12, \s2, #0, #12
    ubfx lr, \s3, #0, #12
.endm
.macro add_lower slot /* of the segments before */
    ldr r1, [sp, #LOWER + 16 * \slot]
    add r2, r1
    ldr r1, [sp, #LOWER + 16 * \slot + 4]
    add r3, r1
    ldr r1, [sp, #LOWER + 16 * \slot + 8]
    add r12, r1
    ldr r1, [sp, #LOWER + 16 * \slot + 12]
    add lr, r1
.endm
.macro store_pixels s0, s1, s2, s3
    stmia r0!, {r2, r3, r12, lr}
    asr \s0, \s0, #12
    asr \s1, \s1, #12
    asr \s2, \s2, #12
    asr \s3, \s3, #12
    stmia r0!, {\s0, \s1, \s2, \s3}
.endm

last_segment:
    ldr r3, [sp, #SEGMENTS]
    ldr r0, [sp, #SUMS]
    subs r2, #2
    cmp r2, r3
    bne last_of_several
    lower_of S00, S01, S02, S03
    store_pixels S00, S01, S02, S03
    lower_of S10, S11, S12, S13
    store_pixels S10, S11, S12, S13

end_place:
    ldrd r2, r3, [sp, #X_BYTES] /* and X_PLACE */
    add r3, r2
    str r3, [sp, #X_PLACE]
    ldr r2, [sp, #PLACES]
    subs r2, #1
    strd r0, r2, [sp, #SUMS] /* and PLACES */
    bne next_place

    add sp, #72
    pop {r4-r11, pc}

last_of_several:
    lower_of S00, S01, S02, S03
    add_lower 0
    store_pixels S00, S01, S02, S03
    lower_of S10, S11, S12, S13
    add_lower 1
    store_pixels S10, S11, S12, S13
    b end_place
    END_FUNCTION tq_sum_packed

#endif

#if defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
