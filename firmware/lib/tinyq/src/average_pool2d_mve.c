/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/average_pool2d_mve.h>

#include <tinyq/arith.h>

#include "average_pool2d_mve_parts.h"

/* One output pixel. corner: the window's first element. */
static void run_window(const tq_average_pool2d *layer, const pool_window *window,
                       const uint8_t *corner, uint8_t *output) {
    const uint32_t channels = layer->input.channels;
    const uint32_t count = window->rows * window->cols;
    const int32_t zero = tq_sign_bit(!layer->is_signed);
    uint16_t sums[POOL_CHANNELS];

    for (uint32_t first = 0; first < channels; first += POOL_CHANNELS) {
        const uint32_t left = channels - first;
        const uint32_t part = left < POOL_CHANNELS ? left : POOL_CHANNELS;
        tq_mve_sum_window(window, corner + first, part, sums);
        for (uint32_t i = 0; i < part; i++) {
            /* Every byte counted 128 more than its distance from the middle of the type. */
            const int32_t total = (int32_t)sums[i] - (int32_t)(128 * count);
            const int32_t mean = zero + tq_divide_away(total, count);
            *output++ = (uint8_t)tq_clamp(mean, layer->lo, layer->hi);
        }
    }
}

void tq_run_average_pool2d_mve(const tq_average_pool2d_mve *pool, const void *input, void *output) {
    const uint32_t channels = pool->input.channels;
    const uint32_t row_bytes = pool->input.width * channels;
    const uint8_t *const image = input;
    uint8_t *out = output;
    pool_window window = {
        .col_step = channels,
        .flip = (uint32_t)tq_sign_bit(pool->is_signed),
    };
    for (uint32_t y = 0; y < pool->output.height; y++) {
        const tq_span rows = tq_clip_rows(&pool->kernel, &pool->input, y);
        for (uint32_t x = 0; x < pool->output.width; x++) {
            const tq_span cols = tq_clip_cols(&pool->kernel, &pool->input, x);
            window.rows = rows.count;
            window.cols = cols.count;
            window.row_skip = row_bytes - cols.count * channels;
            run_window(pool, &window, image + rows.image * row_bytes + cols.image * channels, out);
            out += channels;
        }
    }
}
