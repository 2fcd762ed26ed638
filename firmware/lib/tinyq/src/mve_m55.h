/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/* Private to src/: the frame of assembly files for Helium vectors (Cortex-M55). */
#ifndef TINYQ_MVE_M55_H
#define TINYQ_MVE_M55_H

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define TQ_HAS_MVE 1

#include "function_thumb.h"

/* Keeps all registers that a callee must preserve; below them `frame` bytes of its own. */
.macro ENTER frame
    push        {r4-r11, lr}
    vpush       {d8-d15}
    sub         sp, sp, #\frame
.endm

.macro LEAVE frame
    add         sp, sp, #\frame
    vpop        {d8-d15}
    pop         {r4-r11, pc}
.endm

#else
#define TQ_HAS_MVE 0
#endif

#endif
