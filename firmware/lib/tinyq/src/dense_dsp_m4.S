/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of eight channels of a fully connected layer for cores with the DSP extension: the
 * assembly twins of the tq_run_dense_* in C, one for each layout of weights and type of input. The
 * eight sums stay in registers from their start to the output bytes.
 *
 * Groups of four inputs go in rounds of several; the first round enters the unrolled code where as
 * many groups follow as are left over.
 */
#include "dsp_assembly.h"

#if TQ_DSP_ASSEMBLY

#include "frame_thumb2.h"

/* Fields of tq_dense_dsp_blocks. */
#define BLOCKS_WEIGHTS 0
#define BLOCKS_X       4
#define BLOCKS_GROUPS  8
#define BLOCKS_BIAS    12 /* followed by shift and outputs */
#define BLOCKS_LEFT    24
#define BLOCKS_LINEAR  28
#define BLOCKS_EIGHT   32
#define BLOCKS_LANES   36

/* The frame. */
#define JOB   0  /* tq_dense_dsp_blocks */
#define END   4  /* of the inputs */
#define FRAME 12 /* with nine saved registers a multiple of 8 */

/* Registers. */
#define W      r0  /* weights */
#define X      r1  /* inputs */
#define COUNT  r2  /* rounds left */
#define TABLE  r2  /* or: lanes by code byte */
#define LANES  r3  /* two inputs */
#define u      r12 /* weights */
#define v      lr
#define BIAS   r1 /* at the end of a block */
#define SHIFT  r2
#define OUT    r3
#define s0     r4  /* sums */
#define s1     r5
#define s2     r6
#define s3     r7
#define s4     r8
#define s5     r9
#define s6     r10
#define s7     r11

/* Lanes (0, 2), then (1, 3) of the next four inputs; `ready`: the inputs are lanes already. */
.macro EVEN_LANES extend
  .ifc \extend, ready
    ldr     LANES, [X], #4
  .else
    ldr.w   LANES, [X]
    \extend LANES, LANES
  .endif
.endm
.macro ODD_LANES extend
    ldr.w   LANES, [X], #4
  .ifnc \extend, ready
    \extend LANES, LANES, ror #8
  .endif
.endm

/* A word of two int8 channels: sum of the low bytes, sum of the whole lanes. */
.macro ADD_INT8 w, low, raw
    smlad   \raw, LANES, \w, \raw
    sxtb16  \w, \w
    smlad   \low, LANES, \w, \low
.endm
.macro LANES_INT8
    ldrd    u, v, [W], #8
    ADD_INT8 u, s0, s1
    ADD_INT8 v, s2, s3
    ldrd    u, v, [W], #8
    ADD_INT8 u, s4, s5
    ADD_INT8 v, s6, s7
.endm

/* A word of four int4 channels: sums of what one, two, three, four nibbles hold. */
.macro ADD_INT4 w, one, two, three, all
    smlad   \all, LANES, \w, \all
    bic     \w, \w, #0xF000F000
    smlad   \three, LANES, \w, \three
    uxtb16  \w, \w
    smlad   \two, LANES, \w, \two
    bic     \w, \w, #0x00F000F0
    smlad   \one, LANES, \w, \one
.endm
.macro LANES_INT4
    ldrd    u, v, [W], #8
    ADD_INT4 u, s0, s1, s2, s3
    ADD_INT4 v, s4, s5, s6, s7
.endm

/* Two code bytes: the word in the table holds both weights. */
.macro ADD_LUT at, sum_u, sum_v
    ldrb    u, [W, #\at]
    ldrb    v, [W, #\at + 1]
    ldr     u, [TABLE, u, lsl #1]
    ldr     v, [TABLE, v, lsl #1]
    smlad   \sum_u, LANES, u, \sum_u
    smlad   \sum_v, LANES, v, \sum_v
.endm
.macro LANES_LUT
    ADD_LUT 2, s2, s3
    ADD_LUT 4, s4, s5
    ADD_LUT 6, s6, s7
    ldrb    v, [W, #1]
    ldrb    u, [W], #8
    ldr     v, [TABLE, v, lsl #1]
    ldr     u, [TABLE, u, lsl #1]
    smlad   s1, LANES, v, s1
    smlad   s0, LANES, u, s0
.endm

.macro GROUP layout, extend
    EVEN_LANES \extend
    LANES_\layout
    ODD_LANES \extend
    LANES_\layout
.endm

/* From what was summed to the sums of eight channels. */
.macro SEPARATE_TWO low, raw
    sub     \raw, \raw, \low
    asr     \raw, \raw, #8
.endm
.macro SEPARATE_INT8
    SEPARATE_TWO s0, s1
    SEPARATE_TWO s2, s3
    SEPARATE_TWO s4, s5
    SEPARATE_TWO s6, s7
.endm

/* u: eight times the total of the inputs, the offset of the three lower nibbles. */
.macro SEPARATE_FOUR one, two, three, all
    sub     \all, \all, \three
    sub     \three, \three, \two
    sub     \two, \two, \one
    sub     \one, \one, u
    sub     \two, \two, u, lsl #4
    sub     \three, \three, u, lsl #8
    asr     \two, \two, #4
    asr     \three, \three, #8
    asr     \all, \all, #12
.endm
.macro SEPARATE_INT4
    ldr     u, [sp, #JOB]
    ldr     u, [u, #BLOCKS_EIGHT]
    SEPARATE_FOUR s0, s1, s2, s3
    SEPARATE_FOUR s4, s5, s6, s7
.endm

.macro CLEAR_SUMS
    mov     s0, #0
    mov     s1, #0
    mov     s2, #0
    mov     s3, #0
    mov     s4, #0
    mov     s5, #0
    mov     s6, #0
    mov     s7, #0
.endm

/* One output: bias, shift, clamp to a byte. */
.macro FINISH_RELU sum
    ldr     u, [BIAS], #4
    ldrb    v, [SHIFT], #1
    add     \sum, \sum, u
    asr     \sum, \sum, v
    usat    \sum, #8, \sum
    strb    \sum, [OUT], #1
.endm

/* The same with TQ_ROUND_TFLITE, shifts >= 2: sum + its sign + half. */
.macro FINISH_LINEAR sum
    ldr     u, [BIAS], #4
    ldrb    v, [SHIFT], #1
    add     \sum, \sum, u
    rsb     u, \sum, #0
    add     \sum, \sum, \sum, asr #31
    add     \sum, \sum, u, lsr #31
    mov     u, #1
    lsl     u, u, v
    add     \sum, \sum, u, lsr #1
    asr     \sum, \sum, v
    ssat    \sum, #8, \sum
    strb    \sum, [OUT], #1
.endm

.macro FINISH_EIGHT how
    FINISH_\how s0
    FINISH_\how s1
    FINISH_\how s2
    FINISH_\how s3
    FINISH_\how s4
    FINISH_\how s5
    FINISH_\how s6
    FINISH_\how s7
.endm

/* The end of every block: outputs from sums, then on to the next block, whose code u holds. */
    .section .text.tq_dense_finish, "ax", %progbits
    .balign 4
    .type   tq_dense_finish, %function
    .thumb_func
tq_dense_finish:
    str     u, [sp, #END]
    ldr     v, [sp, #JOB]
    ldr     u, [v, #BLOCKS_LINEAR]
    add     v, v, #BLOCKS_BIAS
    ldm     v, {BIAS, SHIFT, OUT}
    cmp     u, #0
    bne     1f
    FINISH_EIGHT RELU
    b       2f
1:
    FINISH_EIGHT LINEAR
2:
    ldr     v, [sp, #JOB]
    add     u, v, #BLOCKS_BIAS
    stm     u, {BIAS, SHIFT, OUT}
    ldr     u, [v, #BLOCKS_LEFT]
    subs    u, #1
    str     u, [v, #BLOCKS_LEFT]
    beq     3f
    ldr     pc, [sp, #END]
3:
    str     W, [v, #BLOCKS_WEIGHTS]
    LEAVE   FRAME
    .size   tq_dense_finish, . - tq_dense_finish

/* void name(tq_dense_dsp_blocks *job) */
.macro BLOCKS name
    FUNCTION \name
    ENTER   FRAME
    str     r0, [sp, #JOB]
    ldr     W, [r0, #BLOCKS_WEIGHTS]
    .balign 4
9:
    ldr     v, [sp, #JOB]
    CLEAR_SUMS
.endm

.macro FINISH_BLOCKS name
    adr.w   u, 9b
    orr     u, u, #1                    /* Thumb */
    b       tq_dense_finish
    END_FUNCTION \name
.endm

.macro WORDS name, layout, extend
    BLOCKS  \name
    ldrd    X, COUNT, [v, #BLOCKS_X]
    lsrs    COUNT, COUNT, #1            /* rounds of two; carry: one is left over */
    bcc     1f
    add     COUNT, #1
    b       2f
    .balign 4
1:
    GROUP   \layout, \extend
2:
    GROUP   \layout, \extend
    subs    COUNT, #1
    bne     1b
    SEPARATE_\layout
    FINISH_BLOCKS \name
.endm

    WORDS   tq_run_dense_int8_s8, INT8, sxtb16
    WORDS   tq_run_dense_int8_u8, INT8, uxtb16
    WORDS   tq_run_dense_int4_s8, INT4, sxtb16
    WORDS   tq_run_dense_int4_u8, INT4, uxtb16

/* Rounds of four groups; an input group is 2^log_bytes bytes. */
.macro CODES name, extend, log_bytes
    BLOCKS  \name
    ldrd    X, u, [v, #BLOCKS_X]
    ldr     TABLE, [v, #BLOCKS_LANES]
    add     v, X, u, lsl #\log_bytes
    str     v, [sp, #END]
    and     u, u, #3
    cmp     u, #2
    beq     2f
    bhi     3f
    cmp     u, #1
    beq     1f
    .balign 4
4:
    GROUP   LUT, \extend
3:
    GROUP   LUT, \extend
2:
    GROUP   LUT, \extend
1:
    GROUP   LUT, \extend
    ldr     u, [sp, #END]
    cmp     X, u
    bne     4b
    FINISH_BLOCKS \name
.endm

    CODES   tq_run_dense_lut_s8, sxtb16, 2
    CODES   tq_run_dense_lut_u8, uxtb16, 2
    CODES   tq_run_dense_lut_lanes, ready, 3

#endif
