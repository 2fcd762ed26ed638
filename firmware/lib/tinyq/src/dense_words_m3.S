/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tq_sum_dense_* for ARMv7-M without the DSP extension. An unrolled round holds eight pairs of
 * elements; the first round of a block or segment is a partial one, entered through a table.
 */
#if defined(__ARM_ARCH_7M__)

#include "frame_thumb2.h"

#define X     r0 /* next pair of activations */
#define CODES r1
#define X0    r2 /* the pair */
#define X1    r3

/* Offsets in tq_word_sums. */
#define DENSE_X        0
#define DENSE_PAIRS    4
#define DENSE_CODES    8
#define DENSE_SUMS     12
#define DENSE_BLOCKS   16
#define DENSE_START    20
#define DENSE_TABLE    24
#define DENSE_SEGMENTS 28
#define DENSE_SEGMENTS_END 32
#define DENSE_OFFSETS  36

/* The stack: a copy of the descriptor but for DENSE_OFFSETS, then what the loops need. */
#define END    36 /* X at the block's end */
#define NEXT_OFFSETS 36 /* nibbles: offsets of the next segment */
#define OFFSETS 40 /* nibbles: DENSE_OFFSETS */
#define TOTALS 44 /* nibbles: {t, h} of the four words */
#define FRAME  76

/* Pairs of an unrolled round, a power of two. */
#define ROUND 8

/* A function that copies the descriptor at r0. */
.macro begin name
    FUNCTION \name
    ENTER   FRAME
    ldr     r1, [r0, #DENSE_OFFSETS]
    ldm     r0, {r4-r12}
    stm     sp, {r4-r12}
    str     r1, [sp, #OFFSETS]
    ldr     CODES, [sp, #DENSE_CODES]
.endm

/* Branches to the label for the next block, or returns. */
.macro next_block label, name
    ldr     X0, [sp, #DENSE_BLOCKS]
    subs    X0, X0, #1
    str     X0, [sp, #DENSE_BLOCKS]
    bne.w   \label
    LEAVE   FRAME
    END_FUNCTION \name
.endm

/* A round of `pair`; temp: pairs of the whole, destroyed. Ends where X meets what END holds. */
.macro rounds pair, temp
    and     \temp, \temp, #(ROUND - 1)
    tbh     [pc, \temp, lsl #1]
10: .hword  (20f - 10b) / 2, (27f - 10b) / 2, (26f - 10b) / 2, (25f - 10b) / 2
    .hword  (24f - 10b) / 2, (23f - 10b) / 2, (22f - 10b) / 2, (21f - 10b) / 2
20: \pair
21: \pair
22: \pair
23: \pair
24: \pair
25: \pair
26: \pair
27: \pair
.endm

/* X at the block's first activation, END behind its last; temp: the number of pairs. */
.macro begin_block temp
    ldr     X, [sp, #DENSE_X]
    ldr     \temp, [sp, #DENSE_PAIRS]
    add     X0, X, \temp, lsl #3
    str     X0, [sp, #END]
.endm

.macro next_round temp
    ldr     \temp, [sp, #END]
    cmp     X, \temp
    bne.w   20b
.endm

/* Eight sums from start, and to sums. */
.macro load_sums
    ldr     X0, [sp, #DENSE_START]
    ldm     X0!, {r4-r11}
    str     X0, [sp, #DENSE_START]
.endm
.macro store_sums
    ldr     X0, [sp, #DENSE_SUMS]
    stm     X0!, {r4-r11}
    str     X0, [sp, #DENSE_SUMS]
.endm

/* --- bytes: r4-r11 are the sums of the block's channels ------------------------------------------ */

#define T0 r12
#define T1 lr

/* Two codes at `at` and the next address times an activation. */
.macro two_bytes at, x, a, b
    ldrsb.w T0, [CODES, #(\at)]
    ldrsb.w T1, [CODES, #(\at + 1)]
    mla     \a, \x, T0, \a
    mla     \b, \x, T1, \b
.endm

/* Two elements of eight channels; the first code comes last, with the step to the next pair. */
.macro pair_bytes
    ldmia.w X!, {X0, X1}
    two_bytes 2, X0, r6, r7
    two_bytes 4, X0, r8, r9
    two_bytes 6, X0, r10, r11
    two_bytes 8, X1, r4, r5
    two_bytes 10, X1, r6, r7
    two_bytes 12, X1, r8, r9
    two_bytes 14, X1, r10, r11
    ldrsb.w T1, [CODES, #1]
    ldrsb.w T0, [CODES], #16
    mla     r5, X0, T1, r5
    mla     r4, X0, T0, r4
.endm

    begin   tq_sum_dense_bytes
1:  load_sums
    begin_block T0
    rounds  pair_bytes, T0
    next_round T0
    store_sums
    next_block 1b, tq_sum_dense_bytes

/* --- table: r4-r7 are sums of pairs, r8-r11 of the first of each --------------------------------- */

#define T     r12
#define TABLE lr

/* Two channels at address `at` times an activation; step: to the next pair of elements, if given. */
.macro two_entries at, x, pair, first, step
    .ifb \step
    ldrb.w  T, [CODES, #(\at)]
    .else
    ldrb.w  T, [CODES], #\step
    .endif
    ldrsh.w T, [TABLE, T, lsl #1]
    mla     \pair, \x, T, \pair
    sxtb.w  T, T
    mla     \first, \x, T, \first
.endm

.macro pair_table
    ldmia.w X!, {X0, X1}
    two_entries 1, X0, r5, r9
    two_entries 2, X0, r6, r10
    two_entries 3, X0, r7, r11
    two_entries 4, X1, r4, r8
    two_entries 5, X1, r5, r9
    two_entries 6, X1, r6, r10
    two_entries 7, X1, r7, r11
    two_entries 0, X0, r4, r8, 8
.endm

/* Channels 2i and 2i + 1: the first, and (pair - first) / 256. */
.macro two_sums pair, first
    sub     X1, \pair, \first
    asr     X1, X1, #8
    strd    \first, X1, [X0], #8
.endm

    begin   tq_sum_dense_table
    ldr     TABLE, [sp, #DENSE_TABLE]
1:  load_sums
    begin_block T
    rounds  pair_table, T
    next_round T
    ldr     X0, [sp, #DENSE_SUMS]
    two_sums r4, r8
    two_sums r5, r9
    two_sums r6, r10
    two_sums r7, r11
    str     X0, [sp, #DENSE_SUMS]
    next_block 1b, tq_sum_dense_table

/* --- nibbles: r4 is the sum of whole words, r5-r7 of lanes 1..3 ---------------------------------- */

#undef T
#define C0   r8 /* the pair's codes */
#define C1   r9
#define T    r10
#define MASK r11 /* 0x000F000F */
#define STOP r12 /* X at the segment's end */
#define NEXT lr  /* next segment */

.macro eight_nibbles x, c
    mla     r4, \x, \c, r4
    and     T, MASK, \c, lsr #4
    mla     r5, \x, T, r5
    and     T, MASK, \c, lsr #8
    mla     r6, \x, T, r6
    and     T, MASK, \c, lsr #12
    mla     r7, \x, T, r7
.endm

.macro pair_nibbles
    ldmia.w X!, {X0, X1}
    ldmia.w CODES!, {C0, C1}
    eight_nibbles X0, C0
    eight_nibbles X1, C1
.endm

/* t += lanes plus 2^15, h += the high lane. */
.macro flush sum, index
    ldrd    C0, C1, [sp, #(TOTALS + 8 * \index)]
    add     C0, C0, \sum
    add     C1, C1, \sum, asr #16
    strd    C0, C1, [sp, #(TOTALS + 8 * \index)]
.endm

/* Two channels' sums: t - h * 2^16 and h. */
.macro two_totals index
    ldrd    C0, C1, [sp, #(TOTALS + 8 * \index)]
    sub     C0, C0, C1, lsl #16
    strd    C0, C1, [X0], #8
.endm

    begin   tq_sum_dense_nibbles
    mov     MASK, #0x000F000F
1:  ldr     X0, [sp, #DENSE_START]
    ldm     X0!, {r4-r10, r12}
    str     X0, [sp, #DENSE_START]
    add     X1, sp, #TOTALS
    stm     X1, {r4-r10, r12}
    ldr     X, [sp, #DENSE_X]
    ldr     NEXT, [sp, #DENSE_SEGMENTS]
    ldr     T, [sp, #OFFSETS]
    /* A segment. */
2:  ldrh    X0, [NEXT], #2
    ldrd    r4, r5, [T], #8
    str     T, [sp, #NEXT_OFFSETS]
    mov     r6, r5
    mov     r7, r5
    add     STOP, X, X0, lsl #3
    rounds  pair_nibbles, X0
    cmp     X, STOP
    bne.w   20b
    /* p0 = c - 16 p1 - 256 p2 - 4096 p3. */
    sub     r4, r4, r5, lsl #4
    sub     r4, r4, r6, lsl #8
    sub     r4, r4, r7, lsl #12
    flush   r4, 0
    flush   r5, 1
    flush   r6, 2
    flush   r7, 3
    ldr     X0, [sp, #DENSE_SEGMENTS_END]
    ldr     T, [sp, #NEXT_OFFSETS]
    cmp     NEXT, X0
    bne.w   2b
    ldr     X0, [sp, #DENSE_SUMS]
    two_totals 0
    two_totals 1
    two_totals 2
    two_totals 3
    str     X0, [sp, #DENSE_SUMS]
    next_block 1b, tq_sum_dense_nibbles

#endif
