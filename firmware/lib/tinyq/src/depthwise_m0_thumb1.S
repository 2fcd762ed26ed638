/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of tinyq/depthwise_m0.h for ARMv6-M; their C twins are in depthwise_m0.c. */
#if defined(__ARM_ARCH_6M__)

#include "frame_m0.h"
#include "requantize_m0.h"

/* ---- a channel into a plane ---- */

/* Offsets in tq_copy_m0. */
#define COPY_X 0
#define COPY_X_STEP 4
#define COPY_X_ROW_STEP 8
#define COPY_ROWS 12
#define COPY_COUNT 16
#define COPY_TO 20
#define COPY_TO_ROW_STEP 24
#define COPY_FLIP 28

#define x r0
#define to r1
#define x_step r2
#define flip r3
#define left r4
#define element r5
#define before r6
#define row_x r8
#define row_to r9
#define rows r10
#define x_row_step r11
#define to_row_step r12
#define count lr

.macro PREPARE_COPY
    ldr r1, [r0, #COPY_X]
    mov row_x, r1
    ldr r1, [r0, #COPY_X_ROW_STEP]
    mov x_row_step, r1
    ldr r1, [r0, #COPY_ROWS]
    mov rows, r1
    ldr r1, [r0, #COPY_COUNT]
    mov count, r1
    ldr r1, [r0, #COPY_TO]
    mov row_to, r1
    ldr r1, [r0, #COPY_TO_ROW_STEP]
    mov to_row_step, r1
    ldr x_step, [r0, #COPY_X_STEP]
    ldr flip, [r0, #COPY_FLIP]
.endm

/* Ends a row; label: start of a row. */
.macro NEXT_ROW label
    add row_x, x_row_step
    add row_to, to_row_step
    mov r4, rows
    subs r4, #1
    mov rows, r4
    bne \label
.endm

.macro LOAD_ELEMENT to
    ldrb \to, [x]
    adds x, x, x_step
    eors \to, flip
.endm

FUNCTION tq_copy_m0_bytes
    ENTER 0
    PREPARE_COPY
1:  mov x, row_x
    mov to, row_to
    mov left, count
    subs left, #4
    bmi 3f
2:  .set offset, 0
    .rept 4
    LOAD_ELEMENT element
    strb element, [to, #offset]
    .set offset, offset + 1
    .endr
    adds to, #4
    subs left, #4
    bpl 2b
3:  adds left, #4
    beq 5f
4:  LOAD_ELEMENT element
    strb element, [to]
    adds to, #1
    subs left, #1
    bne 4b
5:  NEXT_ROW 1b
    LEAVE 0
    END_FUNCTION tq_copy_m0_bytes

/* r7 = before + element * 2^16, stored; the element is the next one's before. */
.macro STORE_PAIR before, element
    lsls r7, \element, #16
    adds r7, r7, \before
    stm to!, {r7}
.endm

FUNCTION tq_copy_m0_lanes
    ENTER 0
    PREPARE_COPY
1:  mov x, row_x
    mov to, row_to
    mov before, flip
    mov left, count
    subs left, #2
    bmi 3f
2:  LOAD_ELEMENT element
    STORE_PAIR before, element
    LOAD_ELEMENT before
    STORE_PAIR element, before
    subs left, #2
    bpl 2b
3:  adds left, #2
    beq 4f
    LOAD_ELEMENT element
    STORE_PAIR before, element
    mov before, element
4:  STORE_PAIR before, flip
    NEXT_ROW 1b
    LEAVE 0
    END_FUNCTION tq_copy_m0_lanes

#undef x
#undef to
#undef x_step
#undef flip
#undef left
#undef element
#undef before
#undef row_x
#undef row_to
#undef rows
#undef x_row_step
#undef to_row_step
#undef count

/* ---- a plane's windows ---- */

/* The frame: a tq_plane_m0, whose plane and height count on, and two words more. */
#define PLANE 0
#define PITCH 4
#define WEIGHTS 8
#define START 12
#define OUTPUTS 16
#define OUTPUT_STEP 20
#define WIDTH 24
#define HEIGHT 28
#define ROW_STEP 32
#define SHIFT 36
#define SPAN 40
#define LO 44
#define ROUND 48
#define LANES 52
#define LEFT 56 /* pixels of the row */
#define AT 60   /* first element of the window */
#define FRAME 64

#define x r0
#define weights r1
#define outputs r2
#define product r7   /* r4-r6: weights of a row; r8-r11: sums of four pixels */
#define pitch r12
#define output_step lr

.macro ENTER_PLANE
    ENTER FRAME
    mov r1, sp
    ldm r0!, {r2-r7}
    stm r1!, {r2-r7}
    ldm r0!, {r2-r7}
    stm r1!, {r2-r7}
    ldm r0!, {r2-r3}
    stm r1!, {r2-r3}
    ldr r3, [sp, #PITCH]
    mov pitch, r3
    ldr r3, [sp, #OUTPUT_STEP]
    mov output_step, r3
    ldr outputs, [sp, #OUTPUTS]
.endm

/* On by some pixels, whose windows are `step` bytes of the plane; r3: those left, with flags. */
.macro NEXT_WINDOWS pixels, step
    ldr x, [sp, #AT]
    adds x, #\step
    str x, [sp, #AT]
    ldr r3, [sp, #LEFT]
    subs r3, #\pixels
.endm

/* The next row of windows or the end; label: start of a row. */
.macro NEXT_ROW_OF_WINDOWS label
    ldr r0, [sp, #PLANE]
    ldr r3, [sp, #ROW_STEP]
    adds r0, r0, r3
    str r0, [sp, #PLANE]
    ldr r3, [sp, #HEIGHT]
    subs r3, #1
    str r3, [sp, #HEIGHT]
    beq 99f
    b \label
99: LEAVE FRAME
.endm

/* What FINISH needs: r1: rounding; r3: shift; r5: lo; r6: span. */
.macro LOAD_REQUANT is_tflite
    ldr r3, [sp, #SHIFT]
    ldr r5, [sp, #LO]
    ldr r6, [sp, #SPAN]
.if \is_tflite
    ldr r1, [sp, #ROUND]
.endif
.endm

/* Requantizes r4 and stores it. Uses r7. */
.macro FINISH is_tflite
.if \is_tflite
    ROUND_TFLITE r4, r7
    adds r4, r4, r1
.endif
    asrs r4, r3
    CLAMP r4, r7, r6
    adds r4, r4, r5
    strb r4, [outputs]
    add outputs, output_step
.endm

/* One row of a window: three products to a sum. */
.macro ROW_OF_TAPS sum, offset
    ldrb product, [x, #(\offset)]
    muls product, r4, product
    add \sum, product
    ldrb product, [x, #(\offset + 1)]
    muls product, r5, product
    add \sum, product
    ldrb product, [x, #(\offset + 2)]
    muls product, r6, product
    add \sum, product
.endm

.macro FOUR_WINDOWS stride
    ldm weights!, {r4-r6}
    ROW_OF_TAPS r8, 0
    ROW_OF_TAPS r9, \stride
    ROW_OF_TAPS r10, (2 * \stride)
    ROW_OF_TAPS r11, (3 * \stride)
.endm

.macro PLANE_BYTES name, stride, is_tflite
    FUNCTION \name
    ENTER_PLANE
1:  ldr x, [sp, #PLANE]
    str x, [sp, #AT]
    ldr r3, [sp, #WIDTH]
    subs r3, #4
    bpl 2f
    b 3f
2:  str r3, [sp, #LEFT]         /* four pixels */
    ldr weights, [sp, #WEIGHTS]
    ldr r3, [sp, #START]
    mov r8, r3
    mov r9, r3
    mov r10, r3
    mov r11, r3
    FOUR_WINDOWS \stride
    add x, pitch
    FOUR_WINDOWS \stride
    add x, pitch
    FOUR_WINDOWS \stride
    LOAD_REQUANT \is_tflite
    mov r4, r8
    FINISH \is_tflite
    mov r4, r9
    FINISH \is_tflite
    mov r4, r10
    FINISH \is_tflite
    mov r4, r11
    FINISH \is_tflite
    NEXT_WINDOWS 4, (4 * \stride)
    bmi 3f
    b 2b
3:  adds r3, #4
    beq 5f
4:  str r3, [sp, #LEFT]         /* one pixel */
    ldr weights, [sp, #WEIGHTS]
    ldr r3, [sp, #START]
    ldm weights!, {r4-r6}
    mov r8, r3
    ROW_OF_TAPS r8, 0
    ldm weights!, {r4-r6}
    add x, pitch
    ROW_OF_TAPS r8, 0
    ldm weights!, {r4-r6}
    add x, pitch
    ROW_OF_TAPS r8, 0
    LOAD_REQUANT \is_tflite
    mov r4, r8
    FINISH \is_tflite
    NEXT_WINDOWS 1, \stride
    bne 4b
5:  NEXT_ROW_OF_WINDOWS 1b
    END_FUNCTION \name
.endm

    PLANE_BYTES tq_plane_m0_1, 1, 0
    PLANE_BYTES tq_plane_m0_1_tflite, 1, 1
    PLANE_BYTES tq_plane_m0_2, 2, 0
    PLANE_BYTES tq_plane_m0_2_tflite, 2, 1

/* Lanes: r2-r4: elements; r5-r7: weights of a row; r8, r9: sums of two pixels each; r10: outputs;
 * r11: what goes back from the last row to the first. */

/* One row of a pair of windows. */
.macro ROW_OF_LANES sum
    ldm x!, {r2-r4}
    muls r2, r5, r2
    add \sum, r2
    muls r3, r6, r3
    add \sum, r3
    muls r4, r7, r4
    add \sum, r4
.endm

.macro TWO_PAIRS
    ldm weights!, {r5-r7}
    ROW_OF_LANES r8
    subs x, #4              /* the second pair begins at the third element */
    ROW_OF_LANES r9
.endm

.macro ONE_PAIR
    ldm weights!, {r5-r7}
    ROW_OF_LANES r8
.endm

/* Both pixels of a pair. Uses r0, r4, r7. */
.macro FINISH_PAIR sum, is_tflite
    mov r4, \sum
    sxth r7, r4
    subs r0, r4, r7
    asrs r0, r0, #16
    ldr r4, [sp, #START]
    adds r0, r0, r4
    adds r4, r4, r7
    FINISH \is_tflite
    mov r4, r0
    FINISH \is_tflite
.endm

/* r11: from behind the elements read of a row, `words` of them, to the next row. */
.macro SET_SKIP words
    ldr r3, [sp, #PITCH]
    subs r3, #(4 * \words)
    mov r11, r3
.endm

.macro PLANE_LANES name, is_tflite
    FUNCTION \name
    ENTER_PLANE
    mov r10, outputs
1:  ldr x, [sp, #PLANE]
    str x, [sp, #AT]
    ldr r3, [sp, #WIDTH]
    subs r3, #4
    bpl 2f
    b 3f
2:  str r3, [sp, #LEFT]         /* four pixels */
    SET_SKIP 5
    ldr weights, [sp, #WEIGHTS]
    ldr r3, [sp, #LANES]
    mov r8, r3
    mov r9, r3
    TWO_PAIRS
    add x, r11
    TWO_PAIRS
    add x, r11
    TWO_PAIRS
    mov outputs, r10
    LOAD_REQUANT \is_tflite
    FINISH_PAIR r8, \is_tflite
    FINISH_PAIR r9, \is_tflite
    mov r10, outputs
    NEXT_WINDOWS 4, 16
    bmi 3f
    b 2b
3:  adds r3, #4
    bne 4f
    b 6f
4:  str r3, [sp, #LEFT]         /* two pixels, or one */
    SET_SKIP 3
    ldr weights, [sp, #WEIGHTS]
    ldr r3, [sp, #LANES]
    mov r8, r3
    ONE_PAIR
    add x, r11
    ONE_PAIR
    add x, r11
    ONE_PAIR
    mov outputs, r10
    LOAD_REQUANT \is_tflite
    mov r4, r8
    sxth r4, r4
    ldr r7, [sp, #START]
    adds r4, r4, r7
    FINISH \is_tflite
    ldr r4, [sp, #LEFT]
    subs r4, #1
    beq 5f
    mov r4, r8
    sxth r7, r4
    subs r4, r4, r7
    asrs r4, r4, #16
    ldr r7, [sp, #START]
    adds r4, r4, r7
    FINISH \is_tflite
5:  mov r10, outputs
    NEXT_WINDOWS 2, 8
    ble 6f
    b 4b
6:  NEXT_ROW_OF_WINDOWS 1b
    END_FUNCTION \name
.endm

    PLANE_LANES tq_plane_m0_lanes, 0
    PLANE_LANES tq_plane_m0_lanes_tflite, 1

#endif
