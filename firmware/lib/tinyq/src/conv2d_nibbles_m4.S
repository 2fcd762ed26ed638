/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tq_sum_packed for cores with the DSP extension (its twin in C is in conv2d_nibbles.c):
 * void tq_sum_packed(const uint32_t *x, const uint32_t *w, uint32_t *sums, const tq_sum_plan *plan);
 *
 * 11 instructions a step, 8 SMLAD of four products each; four steps and 3 for the loop. All
 * fourteen registers are taken by x, w and the accumulators; everything else lives on the stack.
 */
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

    .syntax unified
    .thumb
    .section .text.tq_sum_packed, "ax", %progbits

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
#define X_PLACE 52     /* first word of x of this place; from here on as pushed: r0, r1, r3 */
#define W_FIRST 56
#define PLAN 60

/* The lower pixel's sum starts here: see conv2d_nibbles.c. */
#define CENTER 2048

    .balign 8
    .global tq_sum_packed
    .type tq_sum_packed, %function
    .thumb_func
tq_sum_packed:
    push {r0, r1, r3, r4-r11, lr}
    sub sp, #52
    str r2, [sp, #SUMS]
    ldr r2, [r3, #PLAN_PLACES]
    str r2, [sp, #PLACES]
    ldrd r2, r3, [r3, #PLAN_SEGMENTS]
    add r3, r2, r3, lsl #1
    str r3, [sp, #SEGMENTS_END]

next_place:
    mov r4, #0
    mov r5, #0
    add r2, sp, #LOWER
    strd r4, r5, [r2]
    strd r4, r5, [r2, #8]
    strd r4, r5, [r2, #16]
    strd r4, r5, [r2, #24]
    mov S00, #CENTER
    mov S01, #CENTER
    mov S02, #CENTER
    mov S03, #CENTER
    mov S10, #CENTER
    mov S11, #CENTER
    mov S12, #CENTER
    mov S13, #CENTER
    ldrd XS, WS, [sp, #X_PLACE]
    ldr r3, [sp, #PLAN]
    ldr r2, [r3, #PLAN_SEGMENTS]

next_segment: /* r2: its entry */
    ldrh r3, [r2], #2
    str r2, [sp, #SEGMENT]
    add r3, XS, r3, lsl #3
    str r3, [sp, #X_END]

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
next_steps:
    step
    step
    step
    step
    ldr W0, [sp, #X_END]
    cmp XS, W0
    bne next_steps

    /* The lower pixels of two accumulators: onto the stack. */
.macro empty_lower s, t, slot
    ubfx r2, \s, #0, #12
    ubfx r3, \t, #0, #12
    ldrd r12, lr, [sp, #LOWER + 8 * \slot]
    add r2, r12
    add r3, lr
    strd r2, r3, [sp, #LOWER + 8 * \slot]
.endm
.macro center s
    bfc \s, #0, #12
    add \s, \s, #CENTER
.endm

    empty_lower S00, S01, 0
    empty_lower S02, S03, 1
    empty_lower S10, S11, 2
    empty_lower S12, S13, 3
    ldrd r2, r3, [sp, #SEGMENT] /* and SEGMENTS_END */
    cmp r2, r3
    beq end_place
    center S00
    center S01
    center S02
    center S03
    center S10
    center S11
    center S12
    center S13
    b next_segment

    /* The sums of pixels 0 to 3; the upper ones are 1 and 3. */
.macro store_pixels s0, s1, s2, s3, slot
    ldrd r2, r3, [sp, #LOWER + 16 * \slot]
    ldrd r12, lr, [sp, #LOWER + 16 * \slot + 8]
    stmia r0!, {r2, r3, r12, lr}
    asr \s0, \s0, #12
    asr \s1, \s1, #12
    asr \s2, \s2, #12
    asr \s3, \s3, #12
    stmia r0!, {\s0, \s1, \s2, \s3}
.endm

end_place:
    ldr r0, [sp, #SUMS]
    store_pixels S00, S01, S02, S03, 0
    store_pixels S10, S11, S12, S13, 1
    str r0, [sp, #SUMS]
    ldr r2, [sp, #PLAN]
    ldr r2, [r2, #PLAN_X_BYTES]
    ldr r3, [sp, #X_PLACE]
    add r3, r2
    str r3, [sp, #X_PLACE]
    ldr r2, [sp, #PLACES]
    subs r2, #1
    str r2, [sp, #PLACES]
    bne next_place

    add sp, #64
    pop {r4-r11, pc}
    .size tq_sum_packed, . - tq_sum_packed

#endif

#if defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
