/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/* Private to src/: from sums to outputs in assembly for ARMv6-M; by masks, so that every sum takes
 * the same time. The greatest output, hi, has been subtracted from a sum beforehand. */
#ifndef TINYQ_REQUANTIZE_M0_H
#define TINYQ_REQUANTIZE_M0_H

/* A negative sum less 2: with a constant added, a shift then rounds as TFLite does. */
.macro ROUND_TFLITE sum, mask
    asrs \mask, \sum, #31
    adds \sum, \sum, \mask
    adds \sum, \sum, \mask
.endm

/* A shifted sum, at most 0, plus the span hi - lo, at least 0: what is left is to add lo. */
.macro CLAMP sum, mask, span
    asrs \mask, \sum, #31
    ands \sum, \mask
    adds \sum, \sum, \span
    asrs \mask, \sum, #31
    bics \sum, \mask
.endm

#endif
