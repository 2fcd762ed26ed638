/* SPDX-License-Identifier: Apache-2.0 */
/* From sums to outputs, of tinyq/blocks_m0.h for ARMv6-M: tq_requantize_m0*, whose C twins are in
 * blocks_m0.c. */
#if defined(__ARM_ARCH_6M__)

#include "frame_m0.h"
#include "requantize_m0.h"

/* Registers. */
#define sums r0 /* next sum */
#define outputs r1 /* next output */
#define output_step r2
#define shift r3
#define sum r4
#define mask r5
#define span r6
#define count r7 /* sums left */
#define sum_step r8 /* bytes */
#define lo r9
#define round r10

/* Offsets in tq_column_m0. */
#define COLUMN_SUMS 0
#define COLUMN_SUM_STEP 4
#define COLUMN_OUTPUTS 8
#define COLUMN_OUTPUT_STEP 12
#define COLUMN_COUNT 16
#define COLUMN_SHIFT 20
#define COLUMN_SPAN 24
#define COLUMN_LO 28
#define COLUMN_ROUND 32

.macro REQUANTIZE_ONE is_tflite
    ldr sum, [sums]
    add sums, sum_step
.if \is_tflite
    ROUND_TFLITE sum, mask
    add sum, round
.endif
    asrs sum, shift
    CLAMP sum, mask, span
    add sum, lo
    strb sum, [outputs]
    adds outputs, outputs, output_step
.endm

.macro REQUANTIZE name, is_tflite
    FUNCTION \name
    ENTER 0
    ldr r4, [r0, #COLUMN_SUM_STEP]
    lsls r4, r4, #2
    mov sum_step, r4
    ldr r4, [r0, #COLUMN_LO]
    mov lo, r4
    ldr r4, [r0, #COLUMN_ROUND]
    mov round, r4
    ldr outputs, [r0, #COLUMN_OUTPUTS]
    ldr output_step, [r0, #COLUMN_OUTPUT_STEP]
    ldr shift, [r0, #COLUMN_SHIFT]
    ldr span, [r0, #COLUMN_SPAN]
    ldr count, [r0, #COLUMN_COUNT]
    ldr sums, [r0, #COLUMN_SUMS]
    b 2f
1:  REQUANTIZE_ONE \is_tflite
    REQUANTIZE_ONE \is_tflite
    REQUANTIZE_ONE \is_tflite
    REQUANTIZE_ONE \is_tflite
2:  subs count, #4
    bpl 1b
    adds count, #4
    beq 4f
3:  REQUANTIZE_ONE \is_tflite
    subs count, #1
    bne 3b
4:  LEAVE 0
    END_FUNCTION \name
.endm

    REQUANTIZE tq_requantize_m0, 0
    REQUANTIZE tq_requantize_m0_tflite, 1

/* Neighbouring channels of one pixel: each has its own shift. */
#define shifts r7 /* next shift */
#define shift_step r2
#define least_rounded r8 /* shift that is rounded here; 32: none */
#define left r12 /* channels */

/* Offsets in tq_requant_m0. */
#define REQUANT_SHIFT 4
#define REQUANT_SHIFT_STEP 8
#define REQUANT_ROUNDING 9
#define REQUANT_LO 10
#define REQUANT_HI 12

/* r0: requant, r1: first, r2: count, r3: sums; on the stack: outputs */
FUNCTION tq_requantize_m0_row
    ENTER 0
    mov left, r2
    movs r4, #REQUANT_LO
    ldrsh r5, [r0, r4]
    mov lo, r5
    movs r4, #REQUANT_HI
    ldrsh r6, [r0, r4]
    lsls r4, r6, #1
    rsbs r4, r4, #0
    adds r4, #1
    mov round, r4                /* 1 - 2 hi: times 2^(n-1) */
    subs span, r6, r5
    ldrb shift_step, [r0, #REQUANT_SHIFT_STEP]
    ldr shifts, [r0, #REQUANT_SHIFT]
    muls r1, shift_step, r1
    adds shifts, shifts, r1
    ldrb r4, [r0, #REQUANT_ROUNDING]
    cmp r4, #0
    beq 1f
    movs r4, #2                  /* TFLite's rule: for shifts of 2 and more */
    b 2f
1:  movs r4, #32                 /* never */
2:  mov least_rounded, r4
    mov sums, r3
    ldr outputs, [sp, #36]
3:  ldm sums!, {sum}
    ldrb shift, [shifts]
    adds shifts, shifts, shift_step
    cmp shift, least_rounded
    blo 4f
    ROUND_TFLITE sum, mask
    mov mask, round
    subs shift, #1
    lsls mask, shift
    adds shift, #1
    adds sum, #1
    adds sum, sum, mask
4:  asrs sum, shift
    CLAMP sum, mask, span
    add sum, lo
    strb sum, [outputs]
    adds outputs, #1
    mov mask, left
    subs mask, #1
    mov left, mask
    bne 3b
    LEAVE 0
    END_FUNCTION tq_requantize_m0_row

#endif
