/* SPDX-License-Identifier: Apache-2.0 */
/* What depthwise_conv2d_mve_m55.S computes, for every other machine. */
#include "depthwise_conv2d_mve_parts.h"

#if !TQ_HAS_MVE

#include <stddef.h>

void tq_mve_stack_rows(const rows3 *rows, uint8_t *to, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < TQ_MVE_DEPTHWISE_ROWS; k++) {
            const uint8_t *const from = rows->from[k] + i * rows->step[k];
            for (uint32_t c = 0; c < rows->channels; c++) {
                to[c * SLOTS + k] = (uint8_t)(from[c] ^ rows->flip);
            }
        }
        to += COLUMN_BYTES;
    }
}

/* The image of tap `tap` of a block's channel; without a table the codes are int8. */
static int32_t weight(const tq_mve_windows *windows, const uint8_t *codes, uint32_t channel,
                      uint32_t tap, const int8_t *table) {
    if (table == NULL) {
        return (int8_t)codes[channel * windows->taps + tap];
    }
    const uint32_t pair = codes[channel / 2 * windows->taps + tap];
    return table[channel % 2 == 0 ? pair & 15U : pair >> 4];
}

static int32_t dot(const tq_mve_windows *windows, const tq_mve_block *block, uint32_t channel,
                   const uint8_t *x, const int8_t *table) {
    uint32_t sum = (uint32_t)block->bias[channel];
    for (uint32_t i = 0; i < TQ_MVE_BYTES; i++) {
        if ((windows->mask >> i & 1U) != 0) {
            const uint8_t byte = x[i / SLOTS * COLUMN_BYTES + channel * SLOTS + i % SLOTS];
            sum += (uint32_t)(tq_mve_read(byte, 0) *
                              weight(windows, block->codes, channel, windows->offsets[i], table));
        }
    }
    return (int32_t)sum;
}

static void run(const tq_mve_windows *windows, const tq_mve_block *block, const uint8_t *x,
                uint8_t *output, const int8_t *table, const uint8_t *nudge) {
    int32_t at = 0; /* in the output */
    for (uint32_t y = 0; y < windows->rows; y++) {
        for (uint32_t i = 0; i < windows->cols; i++) {
            for (uint32_t c = 0; c < block->count; c++) {
                const int32_t sum = dot(windows, block, c, x, table);
                output[at + (int32_t)c] = (uint8_t)tq_mve_requantize(
                    sum, block->shift[c], nudge != NULL ? nudge[c] : 0, windows->lo, windows->hi);
            }
            x += windows->step;
            at += (int32_t)windows->channels;
        }
        x += windows->skip;
        at += windows->out_skip;
    }
}

void tq_mve_depthwise_int8(const tq_mve_windows *windows, const tq_mve_block *block,
                           const uint8_t *x, uint8_t *output) {
    run(windows, block, x, output, NULL, block->nudge);
}

void tq_mve_depthwise_table(const tq_mve_windows *windows, const tq_mve_block *block,
                            const uint8_t *x, uint8_t *output) {
    run(windows, block, x, output, windows->table, block->nudge);
}

void tq_mve_depthwise_int8_u8(const tq_mve_windows *windows, const tq_mve_block *block,
                              const uint8_t *x, uint8_t *output) {
    run(windows, block, x, output, NULL, NULL);
}

void tq_mve_depthwise_table_u8(const tq_mve_windows *windows, const tq_mve_block *block,
                               const uint8_t *x, uint8_t *output) {
    run(windows, block, x, output, windows->table, NULL);
}

#else

typedef int tq_depthwise_mve_parts_are_assembly; /* a translation unit must declare something */

#endif
