/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/* Private to src/: how every function in assembly for Thumb cores begins and ends. */
#ifndef TINYQ_FUNCTION_THUMB_H
#define TINYQ_FUNCTION_THUMB_H

    .syntax unified
    .thumb

/* A global function in a section of its own, so that the linker drops what no layer uses. */
.macro FUNCTION name, align=4
    .section .text.\name, "ax", %progbits
    .balign \align
    .global \name
    .type   \name, %function
    .thumb_func
\name:
.endm

.macro END_FUNCTION name
    .size   \name, . - \name
.endm

#endif
