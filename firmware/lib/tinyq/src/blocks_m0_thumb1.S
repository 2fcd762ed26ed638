/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of tinyq/blocks_m0.h for ARMv6-M; their C twins are in blocks_m0.c. */
#if defined(__ARM_ARCH_6M__)

#include "frame_m0.h"

/* Offsets in tq_run_m0. */
#define RUN_X 0
#define RUN_WORDS 4
#define RUN_SUMS 8
#define RUN_START 12
#define RUN_PIXELS 16
#define RUN_X_STEP 20
#define RUN_ROWS 24
#define RUN_LENGTH 28
#define RUN_X_SKIP 32
#define RUN_WORD_SKIP 36

/* ---- dot products ----------------------------------------------------------------------------
 *
 * 16 taps are unrolled; a row whose length is no multiple of 16 enters in their middle, so that no
 * tap is ever multiplied for nothing.
 */
#define x r0       /* element of the window's row; signed: end of the row */
#define words r1   /* next tap */
#define value r2   /* an activation */
#define index r3   /* unsigned: end of the row; signed: minus the elements left of it */
                   /* r4-r7: a tap; r8-r11: sums */
#define entry r12  /* first tap of a row among the unrolled ones */
#define rows lr    /* rows left */

/* The frame: the run, as the loops want it. */
#define AT_X 0
#define AT_WORDS 4
#define AT_SUMS 8
#define AT_START 12
#define AT_PIXELS 16
#define AT_X_STEP 20
#define AT_ROWS 24
#define AT_LENGTH 28    /* unsigned: length + taps left out; signed: -length */
#define AT_X_SKIP 32    /* unsigned: to the next row's start, less the taps left out; signed: a row */
#define AT_WORD_SKIP 36 /* bytes */
#define FRAME 40
/* Whole windows only: what follows in the run, as it is. */
#define AT_OUTPUTS 40
#define AT_OUTPUT_STEP 44
#define AT_BASE 48
#define AT_SHIFT 52
#define AT_SPAN 56
#define AT_LO 60
#define WHOLE_FRAME 64

.macro MULTIPLY_TAP
    ldm words!, {r4-r7}
    muls r4, value, r4
    add r8, r4
    muls r5, value, r5
    add r9, r5
    muls r6, value, r6
    add r10, r6
    muls r7, value, r7
    add r11, r7
.endm

#define TAP_BYTES_U8 20
#define TAP_BYTES_S8 22

.macro TAP_U8 offset
    ldrb value, [x, #\offset]
    MULTIPLY_TAP
.endm

.macro TAP_S8
    ldrsb value, [x, index]
    MULTIPLY_TAP
    adds index, #1
.endm

/* Copies the run into the frame and finds the entry. r0: the run. */
.macro PREPARE is_signed
    ldm r0!, {r1-r7}
    mov r8, r1
    add r1, sp, #AT_WORDS
    stm r1!, {r2-r7}
    ldm r0!, {r1-r3}            /* length, x_skip, word_skip */
    lsls r3, r3, #2
    str r3, [sp, #AT_WORD_SKIP]
    rsbs r4, r1, #0
    movs r5, #15
    ands r4, r5                 /* taps left out: -length mod 16 */
    mov r6, r8
.if \is_signed
    adds r6, r6, r1             /* the end of the first row */
    adds r2, r2, r1
    rsbs r1, r1, #0
    movs r5, #TAP_BYTES_S8
.else
    subs r6, r6, r4
    adds r1, r1, r4
    subs r2, r2, r4
    movs r5, #TAP_BYTES_U8
.endif
    str r6, [sp, #AT_X]
    str r1, [sp, #AT_LENGTH]
    str r2, [sp, #AT_X_SKIP]
    muls r4, r5, r4
    adr r5, 3f
    adds r4, r4, r5
    adds r4, #1
    mov entry, r4
.endm

/* All rows of a window. */
.macro ROWS is_signed
    ldr x, [sp, #AT_X]
    ldr words, [sp, #AT_WORDS]
    ldr index, [sp, #AT_ROWS]
    mov rows, index
2:  ldr index, [sp, #AT_LENGTH]
.if \is_signed
    bx entry
    .balign 4
3:  .rept 16
    TAP_S8
    .endr
    beq 4f
    b 3b
4:
.else
    adds index, index, x
    bx entry
    .balign 4
3:  .set offset, 0
    .rept 16
    TAP_U8 offset
    .set offset, offset + 1
    .endr
    adds x, #16
    cmp x, index
    beq 4f
    b 3b
4:
.endif
    mov index, rows
    subs index, #1
    beq 5f
    mov rows, index
    ldr index, [sp, #AT_X_SKIP]
    adds x, x, index
    ldr index, [sp, #AT_WORD_SKIP]
    adds words, words, index
    b 2b
5:
.endm

/* The next window, or the end of the function. */
.macro NEXT_WINDOW frame
    ldr r3, [sp, #AT_PIXELS]
    subs r3, #1
    beq 6f
    str r3, [sp, #AT_PIXELS]
    ldr r0, [sp, #AT_X]
    ldr r3, [sp, #AT_X_STEP]
    adds r0, r0, r3
    str r0, [sp, #AT_X]
    b 1b
6:  LEAVE \frame
.endm

.macro DOT name, is_signed
    FUNCTION \name
    ENTER FRAME
    PREPARE \is_signed
1:  ldr r0, [sp, #AT_SUMS]
    ldm r0!, {r4-r7}
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
    ROWS \is_signed
    ldr r0, [sp, #AT_SUMS]
    mov r4, r8
    mov r5, r9
    mov r6, r10
    mov r7, r11
    stm r0!, {r4-r7}
    str r0, [sp, #AT_SUMS]
    NEXT_WINDOW FRAME
    END \name
.endm

    DOT tq_dot_m0_u8, 0
    DOT tq_dot_m0_s8, 1

/* Adds both halves of a word of lanes to their sums at r0. */
.macro SPLIT lanes
    mov r4, \lanes
    sxth r5, r4
    subs r4, r4, r5
    asrs r4, r4, #16
    ldr r6, [r0, #0]
    adds r6, r6, r5
    ldr r7, [r0, #4]
    adds r7, r7, r4
    stm r0!, {r6, r7}
.endm

.macro DOT_LANES name, is_signed
    FUNCTION \name
    ENTER FRAME
    PREPARE \is_signed
1:  ldr r0, [sp, #AT_START]
    ldm r0!, {r4-r7}
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
    ROWS \is_signed
    ldr r0, [sp, #AT_SUMS]
    SPLIT r8
    SPLIT r9
    SPLIT r10
    SPLIT r11
    str r0, [sp, #AT_SUMS]
    NEXT_WINDOW FRAME
    END \name
.endm

    DOT_LANES tq_dot_m0_lanes_u8, 0
    DOT_LANES tq_dot_m0_lanes_s8, 1

/* ---- whole windows ---- */

/* After PREPARE: r0 is behind what that has read. */
.macro PREPARE_WHOLE
    add r1, sp, #AT_OUTPUTS
    ldm r0!, {r2-r7}
    stm r1!, {r2-r7}
.endm

/* r0: shifts; r1: outputs; r5: lo; r6: span. */
.macro LOAD_REQUANT
    ldr r0, [sp, #AT_SHIFT]
    ldr r1, [sp, #AT_OUTPUTS]
    ldr r5, [sp, #AT_LO]
    ldr r6, [sp, #AT_SPAN]
.endm

/* Requantizes r4 and stores it. Uses r3, r7. */
.macro FINISH channel
    ldrb r3, [r0, #(\channel)]
    asrs r4, r3
    asrs r7, r4, #31
    ands r4, r7         /* at most 0: hi was subtracted */
    adds r4, r4, r6
    asrs r7, r4, #31
    bics r4, r7         /* at least 0 */
    adds r4, r4, r5
    strb r4, [r1, #(\channel)]
.endm

.macro NEXT_WHOLE_WINDOW
    ldr r3, [sp, #AT_OUTPUT_STEP]
    adds r1, r1, r3
    str r1, [sp, #AT_OUTPUTS]
    NEXT_WINDOW WHOLE_FRAME
.endm

.macro WHOLE name, is_signed
    FUNCTION \name
    ENTER WHOLE_FRAME
    PREPARE \is_signed
    PREPARE_WHOLE
1:  ldr r0, [sp, #AT_BASE]
    ldm r0!, {r4-r7}
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
    ROWS \is_signed
    LOAD_REQUANT
    mov r4, r8
    FINISH 0
    mov r4, r9
    FINISH 1
    mov r4, r10
    FINISH 2
    mov r4, r11
    FINISH 3
    NEXT_WHOLE_WINDOW
    END \name
.endm

    WHOLE tq_whole_m0_u8, 0
    WHOLE tq_whole_m0_s8, 1

/* Both channels of a word of lanes; r2: base. */
.macro FINISH_LANES lanes, channel
    mov r4, \lanes
    sxth r4, r4
    ldr r7, [r2, #(4 * \channel)]
    adds r4, r4, r7
    FINISH \channel
    mov r4, \lanes
    sxth r7, r4
    subs r4, r4, r7
    asrs r4, r4, #16
    ldr r7, [r2, #(4 * \channel + 4)]
    adds r4, r4, r7
    FINISH (\channel + 1)
.endm

.macro WHOLE_LANES name, is_signed
    FUNCTION \name
    ENTER WHOLE_FRAME
    PREPARE \is_signed
    PREPARE_WHOLE
1:  ldr r0, [sp, #AT_START]
    ldm r0!, {r4-r7}
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
    ROWS \is_signed
    LOAD_REQUANT
    ldr r2, [sp, #AT_BASE]
    FINISH_LANES r8, 0
    FINISH_LANES r9, 2
    FINISH_LANES r10, 4
    FINISH_LANES r11, 6
    NEXT_WHOLE_WINDOW
    END \name
.endm

    WHOLE_LANES tq_whole_m0_lanes_u8, 0
    WHOLE_LANES tq_whole_m0_lanes_s8, 1

#undef x
#undef words
#undef value
#undef index
#undef entry
#undef rows

/* ---- requantization --------------------------------------------------------------------------
 *
 * min and max by masks, so that every sum takes the same time.
 */
#define sums r0
#define outputs r1
#define output_step r2
#define shift r3
#define sum r4
#define mask r5
#define span r6
#define count r7
#define sum_step r8
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
    asrs mask, sum, #31
    adds sum, sum, mask
    adds sum, sum, mask
    add sum, round
.endif
    asrs sum, shift
    asrs mask, sum, #31
    ands sum, mask          /* at most 0: hi was subtracted */
    adds sum, sum, span
    asrs mask, sum, #31
    bics sum, mask          /* at least 0 */
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
    END \name
.endm

    REQUANTIZE tq_requantize_m0, 0
    REQUANTIZE tq_requantize_m0_tflite, 1

/* Neighbouring channels of one pixel: each has its own shift. r7: shifts; r2: their step. */
#define shifts r7
#define shift_step r2

/* Offsets in tq_requant_m0. */
#define REQUANT_SHIFT 4
#define REQUANT_SHIFT_STEP 8
#define REQUANT_ROUNDING 9
#define REQUANT_LO 10
#define REQUANT_HI 12

/* r0: requant, r1: first, r2: count, r3: sums; on the stack: outputs */
FUNCTION tq_requantize_m0_row
    ENTER 0
    mov r12, r2                  /* count */
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
2:  mov sum_step, r4             /* least shift that is rounded here */
    mov sums, r3
    ldr outputs, [sp, #36]
3:  ldm sums!, {sum}
    ldrb shift, [shifts]
    adds shifts, shifts, shift_step
    cmp shift, sum_step
    blo 4f
    asrs mask, sum, #31
    adds sum, sum, mask
    adds sum, sum, mask
    mov mask, round
    subs shift, #1
    lsls mask, shift
    adds shift, #1
    adds sum, #1
    adds sum, sum, mask
4:  asrs sum, shift
    asrs mask, sum, #31
    ands sum, mask
    adds sum, sum, span
    asrs mask, sum, #31
    bics sum, mask
    add sum, lo
    strb sum, [outputs]
    adds outputs, #1
    mov mask, r12
    subs mask, #1
    mov r12, mask
    bne 3b
    LEAVE 0
    END tq_requantize_m0_row

#undef shifts
#undef shift_step
#undef sums
#undef outputs
#undef output_step
#undef shift
#undef sum
#undef mask
#undef span
#undef count
#undef sum_step
#undef lo
#undef round

/* ---- expansion of codes -----------------------------------------------------------------------
 *
 * r0: codes; r1: table; r2: words left, a multiple of 4; r3: words.
 */
#define codes r0
#define low_images r1
#define left r2
#define high_images r3
#define to r7

/* r0: 16 images; r1: two tables of 256 bytes, aligned to 4. The first repeats the images, the second
 * repeats each of them. */
FUNCTION tq_pairs_m0
    push {r4-r7, lr}
    sub sp, #16
    movs r3, #16
    mov r5, sp
1:  subs r3, #1
    ldrb r4, [r0, r3]
    strb r4, [r5, r3]
    bne 1b
    mov r2, sp
    ldm r2!, {r4-r7}
    movs r3, #16
2:  stm r1!, {r4-r7}
    subs r3, #1
    bne 2b
    movs r3, #16
3:  ldrb r4, [r0]
    adds r0, #1
    lsls r5, r4, #8
    orrs r4, r5
    lsls r5, r4, #16
    orrs r4, r5
    mov r5, r4
    mov r6, r4
    mov r7, r4
    stm r1!, {r4-r7}
    subs r3, #1
    bne 3b
    add sp, #16
    pop {r4-r7, pc}
    END tq_pairs_m0

/* Four words from two bytes of 4-bit codes. */
.macro EXPAND_TAP_4
    ldrb r6, [codes, #0]
    ldrsb r4, [low_images, r6]
    ldrsb r5, [high_images, r6]
    stm to!, {r4, r5}
    ldrb r6, [codes, #1]
    ldrsb r4, [low_images, r6]
    ldrsb r5, [high_images, r6]
    stm to!, {r4, r5}
    adds codes, #2
.endm

FUNCTION tq_expand_m0_4
    push {r4-r7, lr}
    mov to, r3
    movs high_images, #255
    adds high_images, #1
    adds high_images, high_images, low_images
1:  EXPAND_TAP_4
    subs left, #4
    bne 1b
    pop {r4-r7, pc}
    END tq_expand_m0_4

/* One word from one byte. */
.macro EXPAND_LANES_4 offset
    ldrb r6, [codes, #\offset]
    ldrsb r4, [low_images, r6]
    ldrsb r5, [high_images, r6]
    lsls r5, r5, #16
    adds r4, r4, r5
    stm to!, {r4}
.endm

FUNCTION tq_expand_m0_lanes_4
    push {r4-r7, lr}
    mov to, r3
    movs high_images, #255
    adds high_images, #1
    adds high_images, high_images, low_images
1:  EXPAND_LANES_4 0
    EXPAND_LANES_4 1
    EXPAND_LANES_4 2
    EXPAND_LANES_4 3
    adds codes, #4
    subs left, #4
    bne 1b
    pop {r4-r7, pc}
    END tq_expand_m0_lanes_4

FUNCTION tq_expand_m0_8
    push {r4-r7, lr}
1:  ldm codes!, {r7}
    sxtb r4, r7
    lsls r5, r7, #16
    asrs r5, r5, #24
    lsls r6, r7, #8
    asrs r6, r6, #24
    asrs r7, r7, #24
    stm r3!, {r4-r7}
    subs left, #4
    bne 1b
    pop {r4-r7, pc}
    END tq_expand_m0_8

/* Two words from the four bytes in r7. */
.macro EXPAND_LANES_8
    ldm codes!, {r7}
    sxtb r4, r7
    lsls r5, r7, #16
    asrs r5, r5, #24
    lsls r5, r5, #16
    adds r4, r4, r5
    asrs r6, r7, #16
    sxtb r5, r6
    asrs r6, r6, #8
    lsls r6, r6, #16
    adds r5, r5, r6
    stm r3!, {r4, r5}
.endm

FUNCTION tq_expand_m0_lanes_8
    push {r4-r7, lr}
1:  EXPAND_LANES_8
    EXPAND_LANES_8
    subs left, #4
    bne 1b
    pop {r4-r7, pc}
    END tq_expand_m0_lanes_8

#endif
