/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: an inner routine of average_pool2d_mve.c, in assembly or in C. */
#ifndef TINYQ_AVERAGE_POOL2D_MVE_PARTS_H
#define TINYQ_AVERAGE_POOL2D_MVE_PARTS_H

#include <tinyq/average_pool2d_mve.h>

enum { POOL_CHANNELS = 8 };

/* A window inside the image. */
typedef struct pool_window {
    uint32_t rows;     /* >= 1 */
    uint32_t cols;     /* >= 1 */
    uint32_t col_step; /* bytes */
    uint32_t row_skip; /* bytes from behind a row's last column to the next row */
    uint32_t flip;     /* xored into every byte, which then counts as uint8 */
} pool_window;

/* Sums over the window of 1..8 channels. sums: [8], those of no channel are undefined. */
void tq_mve_sum_window(const pool_window *window, const uint8_t *from, uint32_t channels,
                       uint16_t *sums);

#endif
