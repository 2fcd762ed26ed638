/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/max_pool2d_dsp.h>

#include "pool_blocks.h"

TQ_INLINE uint32_t greater(uint32_t a, uint32_t b, int is_signed) {
    return is_signed ? tq_max_s8x4(a, b) : tq_max_u8x4(a, b);
}

/* A pool_block. */
TQ_INLINE void max_block(const tq_pool_window *window, uint32_t words, int is_signed,
                         uint8_t *out) {
    const tq_pool_window w = *window;
    const uint8_t *p = w.corner;
    uint32_t first = tq_load32(p);
    uint32_t second = words > 1 ? tq_load32(p + 4) : 0;
    uint32_t rows = w.rows;
    do {
        uint32_t cols = w.cols;
        do {
            first = greater(first, tq_load32(p), is_signed);
            if (words > 1) {
                second = greater(second, tq_load32(p + 4), is_signed);
            }
            p += w.channels;
        } while (--cols > 0);
        p += w.row_skip;
    } while (--rows > 0);
    tq_store32(out, first);
    if (words > 1) {
        tq_store32(out + 4, second);
    }
}

TQ_INLINE void max_unsigned(const void *context, const tq_pool_window *window, uint32_t words,
                            uint8_t *out) {
    (void)context;
    max_block(window, words, 0, out);
}

TQ_INLINE void max_signed(const void *context, const tq_pool_window *window, uint32_t words,
                          uint8_t *out) {
    (void)context;
    max_block(window, words, 1, out);
}

void tq_max_window_u8(const tq_pool_dsp *layer, const tq_pool_window *window, uint8_t *out) {
    pool_channels(layer, window, out, max_unsigned);
}

void tq_max_window_s8(const tq_pool_dsp *layer, const tq_pool_window *window, uint8_t *out) {
    pool_channels(layer, window, out, max_signed);
}

void tq_run_max_pool2d_dsp(const tq_max_pool2d_dsp *layer, const void *input, void *output) {
    tq_pool_windows(layer, input, output);
}
