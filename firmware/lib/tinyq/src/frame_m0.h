/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/* Private to src/: the frame of functions in assembly for ARMv6-M, and the way to the registers
 * that few of its instructions reach. */
#ifndef TINYQ_FRAME_M0_H
#define TINYQ_FRAME_M0_H

    .cpu cortex-m0

#include "function_thumb.h"

/* r8-r11 = r4-r7 */
.macro LOW_TO_HIGH
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
.endm

/* r4-r7 = r8-r11 */
.macro HIGH_TO_LOW
    mov r4, r8
    mov r5, r9
    mov r6, r10
    mov r7, r11
.endm

/* Keeps all registers that a callee must preserve; below them `frame` bytes of its own. */
.macro ENTER frame
    push {r4-r7, lr}
    HIGH_TO_LOW
    push {r4-r7}
.if \frame
    sub sp, #\frame
.endif
.endm

.macro LEAVE frame
.if \frame
    add sp, #\frame
.endif
    pop {r4-r7}
    LOW_TO_HIGH
    pop {r4-r7, pc}
.endm

#endif
