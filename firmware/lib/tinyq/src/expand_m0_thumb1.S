/* SPDX-License-Identifier: Apache-2.0 */
/* Expansion of codes, of tinyq/blocks_m0.h for ARMv6-M: tq_expand_m0_* of 4-bit and int8 codes and
 * tq_pairs_m0, whose C twins are in blocks_m0.c. */
#if defined(__ARM_ARCH_6M__)

#include "frame_m0.h"
#include "pairs_m0.h"

/* Registers; r4-r6 are free. */
#define codes r0
#define low_images r1
#define left r2 /* words, a multiple of 4 */
#define high_images r3
#define to r7 /* words */

/* r0: 16 images; r1: two tables of 256 bytes, aligned to 4. The first repeats the images, the
 * second repeats each of them. */
FUNCTION tq_pairs_m0
    push {r4-r7, lr}
    sub sp, #16
    movs r3, #16
    mov r5, sp
1:  subs r3, #1
    ldrb r4, [r0, r3]
    strb r4, [r5, r3]
    bne 1b
    mov r2, sp
    ldm r2!, {r4-r7}
    movs r3, #16
2:  stm r1!, {r4-r7}
    subs r3, #1
    bne 2b
    movs r3, #16
3:  ldrb r4, [r0]
    adds r0, #1
    lsls r5, r4, #8
    orrs r4, r5
    lsls r5, r4, #16
    orrs r4, r5
    mov r5, r4
    mov r6, r4
    mov r7, r4
    stm r1!, {r4-r7}
    subs r3, #1
    bne 3b
    add sp, #16
    pop {r4-r7, pc}
    END_FUNCTION tq_pairs_m0

/* Four words from two bytes of 4-bit codes. */
.macro EXPAND_TAP_4
    ldrb r6, [codes, #0]
    ldrsb r4, [low_images, r6]
    ldrsb r5, [high_images, r6]
    stm to!, {r4, r5}
    ldrb r6, [codes, #1]
    ldrsb r4, [low_images, r6]
    ldrsb r5, [high_images, r6]
    stm to!, {r4, r5}
    adds codes, #2
.endm

/* r0: codes; r1: table; r2: words left; r3: words; so are the arguments of all that follow. */
FUNCTION tq_expand_m0_4
    push {r4-r7, lr}
    mov to, r3
    FIND_HIGH_IMAGES high_images, low_images
1:  EXPAND_TAP_4
    subs left, #4
    bne 1b
    pop {r4-r7, pc}
    END_FUNCTION tq_expand_m0_4

/* One word from one byte. */
.macro EXPAND_LANES_4 offset
    ldrb r6, [codes, #\offset]
    ldrsb r4, [low_images, r6]
    ldrsb r5, [high_images, r6]
    lsls r5, r5, #16
    adds r4, r4, r5
    stm to!, {r4}
.endm

FUNCTION tq_expand_m0_lanes_4
    push {r4-r7, lr}
    mov to, r3
    FIND_HIGH_IMAGES high_images, low_images
1:  EXPAND_LANES_4 0
    EXPAND_LANES_4 1
    EXPAND_LANES_4 2
    EXPAND_LANES_4 3
    adds codes, #4
    subs left, #4
    bne 1b
    pop {r4-r7, pc}
    END_FUNCTION tq_expand_m0_lanes_4

FUNCTION tq_expand_m0_8
    push {r4-r7, lr}
1:  ldm codes!, {r7}
    sxtb r4, r7
    lsls r5, r7, #16
    asrs r5, r5, #24
    lsls r6, r7, #8
    asrs r6, r6, #24
    asrs r7, r7, #24
    stm r3!, {r4-r7}
    subs left, #4
    bne 1b
    pop {r4-r7, pc}
    END_FUNCTION tq_expand_m0_8

/* Two words from four bytes. */
.macro EXPAND_LANES_8
    ldm codes!, {r7}
    sxtb r4, r7
    lsls r5, r7, #16
    asrs r5, r5, #24
    lsls r5, r5, #16
    adds r4, r4, r5
    asrs r6, r7, #16
    sxtb r5, r6
    asrs r6, r6, #8
    lsls r6, r6, #16
    adds r5, r5, r6
    stm r3!, {r4, r5}
.endm

FUNCTION tq_expand_m0_lanes_8
    push {r4-r7, lr}
1:  EXPAND_LANES_8
    EXPAND_LANES_8
    subs left, #4
    bne 1b
    pop {r4-r7, pc}
    END_FUNCTION tq_expand_m0_lanes_8

#endif
