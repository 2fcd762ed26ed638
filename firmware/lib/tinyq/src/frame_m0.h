/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/* Private to src/: how every function in assembly for ARMv6-M begins and ends. */

    .syntax unified
    .cpu cortex-m0
    .thumb

/* Each in its own section, so that the linker drops what no layer uses. */
.macro FUNCTION name
    .section .text.\name, "ax", %progbits
    .balign 4
    .global \name
    .type \name, %function
    .thumb_func
\name:
.endm

.macro END name
    .size \name, . - \name
.endm

/* Keeps all registers that a callee must preserve; below them `frame` bytes of its own. */
.macro ENTER frame
    push {r4-r7, lr}
    mov r4, r8
    mov r5, r9
    mov r6, r10
    mov r7, r11
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
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
    pop {r4-r7, pc}
.endm
