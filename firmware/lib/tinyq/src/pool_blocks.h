/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: the channels of a window, eight or four at once. */
#ifndef TINYQ_POOL_BLOCKS_H
#define TINYQ_POOL_BLOCKS_H

#include <tinyq/dsp.h>
#include <tinyq/pool_dsp.h>

/* Computes 4 * words channels from the window's corner on; words: 1 or 2. */
typedef void pool_block(const void *context, const tq_pool_window *window, uint32_t words,
                        uint8_t *out);

/* Calls block for all channels, at least 4; a last word of fewer goes over some of them again. */
TQ_INLINE void pool_channels(const void *context, const tq_pool_window *window, uint8_t *out,
                             pool_block *block) {
    tq_pool_window rest = *window;
    uint32_t left = rest.channels;
    for (; left >= 8; left -= 8, rest.corner += 8, out += 8) {
        block(context, &rest, 2, out);
    }
    while (left > 0) {
        const uint32_t again = left < 4 ? 4 - left : 0;
        rest.corner -= again;
        block(context, &rest, 1, out - again);
        left -= 4 - again;
        rest.corner += 4;
        out += 4;
    }
}

#endif
