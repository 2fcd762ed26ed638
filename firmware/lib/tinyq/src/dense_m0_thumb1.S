/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of tinyq/dense_m0.h for ARMv6-M; their C twins are in dense_m0.c. */
#if defined(__ARM_ARCH_6M__)

#include "frame_m0.h"
#include "pairs_m0.h"

/* Offsets in tq_row_m0. */
#define ROW_X 0
#define ROW_CODES 4
#define ROW_PAIRS 8
#define ROW_COUNT 12
#define ROW_SUMS 16
#define ROW_START 20
#define ROW_TOTAL 24

/* Eight inputs are unrolled; the loop is entered in their middle where the count is no multiple. */
#define x r0
#define codes r1
#define value r2 /* of an input */
                 /* r8-r11: sums */
#define end r12  /* behind the last input */
#define entry r7 /* the first of the unrolled inputs; free from there on */

#define FRAME 4 /* the row */

/* x, codes, the end, and the entry to the unrolled inputs, which begin at label 1. bytes: code of
 * an input; code_bytes: of an input's codes, 0 where they are loaded with LDM. Uses r2, r3. */
.macro ENTER_LOOP bytes, code_bytes
    ldr r3, [r0, #ROW_COUNT]
    ldr codes, [r0, #ROW_CODES]
    ldr x, [r0, #ROW_X]
    adds r2, x, r3
    mov end, r2
    rsbs r2, r3, #0
    movs r3, #7
    ands r2, r3
    subs x, x, r2
.if \code_bytes
    lsls r3, r2, #1
    subs codes, codes, r3
.endif
    movs r3, #\bytes
    muls r2, r3, r2
    adr r3, 1f
    adds r3, r3, r2
    adds r3, #1
    mov entry, r3
.endm

.macro ZERO_SUMS
    movs r4, #0
    mov r8, r4
    mov r9, r4
    mov r10, r4
    mov r11, r4
.endm

/* Adds r4-r7 to four sums in memory. Uses r0-r3. */
.macro ADD_TO_SUMS
    ldr r0, [sp]
    ldr r0, [r0, #ROW_SUMS]
    ldr r1, [r0, #0]
    ldr r2, [r0, #4]
    adds r4, r4, r1
    adds r5, r5, r2
    ldr r1, [r0, #8]
    ldr r2, [r0, #12]
    adds r6, r6, r1
    adds r7, r7, r2
    stm r0!, {r4-r7}
.endm

/* ---- int8 ---- r4: w0 w1 w2 w3, then w2; r5: w0; r6: w0 + 256 w1; r7: w2 + 256 w3 */

.macro INPUT_8 offset
    ldrb value, [x, #\offset]
    ldm codes!, {r4}
    sxtb r5, r4
    sxth r6, r4
    asrs r7, r4, #16
    sxtb r4, r7
    muls r5, value, r5
    add r8, r5
    muls r6, value, r6
    add r9, r6
    muls r4, value, r4
    add r10, r4
    muls r7, value, r7
    add r11, r7
.endm

FUNCTION tq_dot_row_m0_8
    ENTER FRAME
    str r0, [sp]
    ENTER_LOOP 28, 0
    ZERO_SUMS
    bx entry
    .balign 4
1:  .set offset, 0
    .rept 8
    INPUT_8 offset
    .set offset, offset + 1
    .endr
    adds x, #8
    cmp x, end
    bne 1b
    HIGH_TO_LOW
    subs r5, r5, r4     /* 256 S1 */
    asrs r5, r5, #8
    subs r7, r7, r6     /* 256 S3 */
    asrs r7, r7, #8
    ADD_TO_SUMS
    LEAVE FRAME
    END_FUNCTION tq_dot_row_m0_8

/* ---- 4-bit codes through the table of pairs ---- */
#define low_images r3
#define high_images r4
#define code r5

.macro INPUT_4 offset
    ldrb value, [x, #\offset]
    ldrb code, [codes, #(2 * \offset)]
    ldrsb r6, [low_images, code]
    ldrsb r7, [high_images, code]
    muls r6, value, r6
    add r8, r6
    muls r7, value, r7
    add r9, r7
    ldrb code, [codes, #(2 * \offset + 1)]
    ldrsb r6, [low_images, code]
    ldrsb r7, [high_images, code]
    muls r6, value, r6
    add r10, r6
    muls r7, value, r7
    add r11, r7
.endm

FUNCTION tq_dot_row_m0_4
    ENTER FRAME
    str r0, [sp]
    ldr r6, [r0, #ROW_PAIRS]
    ENTER_LOOP 30, 1
    ZERO_SUMS
    mov low_images, r6
    FIND_HIGH_IMAGES high_images, low_images
    bx entry
    .balign 4
1:  .set offset, 0
    .rept 8
    INPUT_4 offset
    .set offset, offset + 1
    .endr
    adds x, #8
    adds codes, #16
    cmp x, end
    bne 1b
    HIGH_TO_LOW
    ADD_TO_SUMS
    LEAVE FRAME
    END_FUNCTION tq_dot_row_m0_4

#undef low_images
#undef high_images
#undef code

/* ---- int4 in lanes ---- */
#define mask r3 /* 0x000F000F */
#define raw r4  /* eight nibbles */
#define pair r5 /* two of them, 16 bits apart */

.macro INPUT_LANES offset
    ldrb value, [x, #\offset]
    ldm codes!, {raw}
    lsrs pair, raw, #4
    ands pair, mask
    muls pair, value, pair
    add r9, pair
    lsrs pair, raw, #8
    ands pair, mask
    muls pair, value, pair
    add r10, pair
    lsrs pair, raw, #12
    ands pair, mask
    muls pair, value, pair
    add r11, pair
    ands raw, mask
    muls raw, value, raw
    add r8, raw
.endm

/* Adds both halves of a word of lanes to their sums, 16 bytes apart at r0. */
.macro SPLIT lanes
    mov r4, \lanes
    sxth r5, r4
    subs r4, r4, r5
    asrs r4, r4, #16
    ldr r6, [r0, #0]
    ldr r7, [r0, #16]
    adds r6, r6, r5
    adds r7, r7, r4
    str r7, [r0, #16]
    stm r0!, {r6}
.endm

FUNCTION tq_dot_row_m0_lanes
    ENTER FRAME
    str r0, [sp]
    ldr r7, [r0, #ROW_START]
    ldr r2, [r0, #ROW_TOTAL]
    ldr r3, 3f
    muls r2, r3, r2             /* 8 * total in both lanes: the nibbles are 8 too large */
    ldm r7!, {r3-r6}
    subs r3, r3, r2
    subs r4, r4, r2
    subs r5, r5, r2
    subs r6, r6, r2
    mov r8, r3
    mov r9, r4
    mov r10, r5
    mov r11, r6
    ENTER_LOOP 34, 0
    ldr mask, 4f
    bx entry
    .balign 4
3:  .word 0x00080008
4:  .word 0x000F000F
1:  .set offset, 0
    .rept 8
    INPUT_LANES offset
    .set offset, offset + 1
    .endr
    adds x, #8
    cmp x, end
    beq 2f
    b 1b
2:  ldr r0, [sp]
    ldr r0, [r0, #ROW_SUMS]
    SPLIT r8
    SPLIT r9
    SPLIT r10
    SPLIT r11
    LEAVE FRAME
    END_FUNCTION tq_dot_row_m0_lanes

#endif
