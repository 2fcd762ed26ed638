/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/* Private to src/: the frame of functions in assembly for Thumb-2 cores without vectors. */
#ifndef TINYQ_FRAME_THUMB2_H
#define TINYQ_FRAME_THUMB2_H

#include "function_thumb.h"

/* Keeps all registers that a callee must preserve; below them `frame` bytes of its own. */
.macro ENTER frame
    push    {r4-r11, lr}
.if \frame
    sub     sp, sp, #\frame
.endif
.endm

.macro LEAVE frame
.if \frame
    add     sp, sp, #\frame
.endif
    pop     {r4-r11, pc}
.endm

#endif
