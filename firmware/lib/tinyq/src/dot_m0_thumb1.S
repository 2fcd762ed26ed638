/* SPDX-License-Identifier: Apache-2.0 */
/* Dot products of tinyq/blocks_m0.h for ARMv6-M: tq_dot_m0_*, whose C twins are in blocks_m0.c. */
#if defined(__ARM_ARCH_6M__)

#include "windows_m0.h"

/* r8-r11: the sums of four channels, from memory and back. */
.macro DOT name, is_signed
    FUNCTION \name
    ENTER FRAME
    PREPARE \is_signed
1:  START_SUMS AT_SUMS
    ROWS \is_signed
    ldr r0, [sp, #AT_SUMS]
    HIGH_TO_LOW
    stm r0!, {r4-r7}
    str r0, [sp, #AT_SUMS]
    NEXT_WINDOW FRAME
    END_FUNCTION \name
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

/* r8-r11: the sums of two channels each, from their start, and added to those in memory. */
.macro DOT_LANES name, is_signed
    FUNCTION \name
    ENTER FRAME
    PREPARE \is_signed
1:  START_SUMS AT_START
    ROWS \is_signed
    ldr r0, [sp, #AT_SUMS]
    SPLIT r8
    SPLIT r9
    SPLIT r10
    SPLIT r11
    str r0, [sp, #AT_SUMS]
    NEXT_WINDOW FRAME
    END_FUNCTION \name
.endm

    DOT_LANES tq_dot_m0_lanes_u8, 0
    DOT_LANES tq_dot_m0_lanes_s8, 1

#endif
