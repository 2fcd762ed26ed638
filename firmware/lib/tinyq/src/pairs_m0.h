/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/* Private to src/: the table of tq_pairs_m0 in assembly for ARMv6-M. */
#ifndef TINYQ_PAIRS_M0_H
#define TINYQ_PAIRS_M0_H

/* From the table's start, the images of low codes of a byte, to those of high ones. */
.macro FIND_HIGH_IMAGES high_images, low_images
    movs \high_images, #255
    adds \high_images, #1
    adds \high_images, \high_images, \low_images
.endm

#endif
