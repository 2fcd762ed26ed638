/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: an inner routine of depthwise_conv2d_mve.c, in assembly or in C. */
#ifndef TINYQ_DEPTHWISE_CONV2D_MVE_PARTS_H
#define TINYQ_DEPTHWISE_CONV2D_MVE_PARTS_H

#include <tinyq/depthwise_conv2d_mve.h>

enum { COLUMN_BYTES = 64, GROUP = 16, SLOTS = 4 }; /* slots: bytes of a channel in a column */

/* Three rows of up to 16 channels each. */
typedef struct rows3 {
    const uint8_t *from[TQ_MVE_DEPTHWISE_ROWS]; /* the first column's first channel */
    uint32_t step[TQ_MVE_DEPTHWISE_ROWS];       /* bytes from a column to the next */
    uint32_t channels;                          /* 1..16 */
    uint32_t flip;                              /* xored into every byte */
} rows3;

/* Columns of 64 bytes: byte 4 * c + k of each is row k of channel c. count: columns, >= 1. Bytes
 * that no element is meant for are undefined. */
void tq_mve_stack_rows(const rows3 *rows, uint8_t *to, uint32_t count);

#endif
