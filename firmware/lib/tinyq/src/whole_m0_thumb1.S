/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of tinyq/blocks_m0.h for ARMv6-M that one run completes, from activations to outputs:
 * tq_whole_m0_*, whose C twins are in blocks_m0.c. */
#if defined(__ARM_ARCH_6M__)

#include "requantize_m0.h"
#include "windows_m0.h"

/* The frame goes on with what follows in the run, as it is. */
#define AT_OUTPUTS 40
#define AT_OUTPUT_STEP 44
#define AT_BASE 48
#define AT_SHIFT 52
#define AT_SPAN 56
#define AT_LO 60
#define WHOLE_FRAME 64

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
    CLAMP r4, r7, r6
    adds r4, r4, r5
    strb r4, [r1, #(\channel)]
.endm

.macro NEXT_WHOLE_WINDOW
    ldr r3, [sp, #AT_OUTPUT_STEP]
    adds r1, r1, r3
    str r1, [sp, #AT_OUTPUTS]
    NEXT_WINDOW WHOLE_FRAME
.endm

/* r8-r11: the sums of four channels. */
.macro WHOLE name, is_signed
    FUNCTION \name
    ENTER WHOLE_FRAME
    PREPARE \is_signed
    PREPARE_WHOLE
1:  START_SUMS AT_BASE
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
    END_FUNCTION \name
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

/* r8-r11: the sums of two channels each. */
.macro WHOLE_LANES name, is_signed
    FUNCTION \name
    ENTER WHOLE_FRAME
    PREPARE \is_signed
    PREPARE_WHOLE
1:  START_SUMS AT_START
    ROWS \is_signed
    LOAD_REQUANT
    ldr r2, [sp, #AT_BASE]
    FINISH_LANES r8, 0
    FINISH_LANES r9, 2
    FINISH_LANES r10, 4
    FINISH_LANES r11, 6
    NEXT_WHOLE_WINDOW
    END_FUNCTION \name
.endm

    WHOLE_LANES tq_whole_m0_lanes_u8, 0
    WHOLE_LANES tq_whole_m0_lanes_s8, 1

#endif
