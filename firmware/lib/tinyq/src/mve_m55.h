/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/* Private to src/: the frame of assembly files for Helium vectors (Cortex-M55). */
#ifndef TINYQ_MVE_M55_H
#define TINYQ_MVE_M55_H

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define TQ_HAS_MVE 1

.syntax unified
.thumb

/* A global function in a section of its own: the linker drops those that nobody calls. */
.macro FUNCTION name
    .section .text.\name, "ax", %progbits
    .balign 4
    .global \name
    .type \name, %function
    .thumb_func
\name:
.endm

.macro END_FUNCTION name
    .size \name, . - \name
.endm

#else
#define TQ_HAS_MVE 0
#endif

#endif
