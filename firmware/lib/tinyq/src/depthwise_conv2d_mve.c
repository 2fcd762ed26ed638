/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sixteen channels of some output rows at a time. Every column of the image under an output row is
 * copied to scratch so that a channel's elements of all kernel rows are one word: four words of
 * neighbouring columns are a window, which one vector of weights multiplies and adds up.
 */
#include <tinyq/depthwise_conv2d_mve.h>

#include <stddef.h>

#include "conv2d_mve_parts.h"
#include "depthwise_conv2d_mve_parts.h"

static uint32_t smaller(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

/* Columns in scratch under an output row: the last window is four wide, whatever the kernel. */
static uint32_t columns_of(const tq_depthwise_conv2d_mve *layer) {
    return (layer->output.width - 1U) * layer->kernel.col_stride + TQ_MVE_DEPTHWISE_COLS;
}

static tq_mve_windows make_windows(const tq_depthwise_conv2d_mve *layer) {
    const uint32_t cols = layer->output.width;
    const uint32_t height = layer->kernel.height;
    const uint32_t step = (uint32_t)layer->kernel.col_stride * COLUMN_BYTES;
    tq_mve_windows w = {
        .cols = cols,
        .step = step,
        .skip = columns_of(layer) * COLUMN_BYTES - cols * step,
        .channels = layer->out_col,
        .out_skip = (int32_t)layer->out_row - (int32_t)(cols * layer->out_col),
        .lo = layer->requant.lo,
        .hi = layer->requant.hi,
        .table = layer->table,
        .taps = layer->kernel.width * height,
    };
    for (uint32_t col = 0; col < layer->kernel.width; col++) {
        for (uint32_t row = 0; row < height; row++) {
            const uint32_t element = col * SLOTS + row;
            w.mask |= 1U << element;
            w.offsets[element] = (uint8_t)(col * height + row);
        }
    }
    return w;
}

/* The columns under output row `row`, channels first..first+15, to `to`. */
static void stack(const tq_depthwise_conv2d_mve *layer, const uint8_t *image, uint32_t row,
                  uint32_t first, uint8_t *to) {
    static const uint8_t zeros[GROUP] = {0};
    const uint32_t channels = layer->input.channels;
    const uint32_t left = layer->kernel.left;
    const uint32_t columns = columns_of(layer);
    const int32_t top = (int32_t)(row * layer->kernel.row_stride) - (int32_t)layer->kernel.top;
    rows3 rows = {.channels = smaller(GROUP, channels - first), .flip = layer->flip};
    for (uint32_t k = 0; k < TQ_MVE_DEPTHWISE_ROWS; k++) {
        const int32_t y = top + (int32_t)k;
        const int inside = k < layer->kernel.height && y >= 0 && y < layer->input.height;
        rows.from[k] = inside ? image + (uint32_t)y * layer->in_row + first : zeros;
        rows.step[k] = inside ? layer->in_col : 0;
    }
    if (left < columns) {
        tq_mve_stack_rows(&rows, to + left * COLUMN_BYTES,
                          smaller(layer->input.width, columns - left));
    }
}

/* Blocks of the channels first..first+15, for the tile in scratch. */
static void run_group(const tq_depthwise_conv2d_mve *layer, const tq_mve_windows *windows,
                      uint32_t first, const uint8_t *x, uint8_t *output) {
    const uint32_t end = smaller(layer->output.channels, first + GROUP);
    const uint32_t codes = windows->taps * TQ_MVE_CHANNELS;
    const tq_mve_requant *const r = &layer->requant;
    for (; first < end; first += TQ_MVE_CHANNELS, x += TQ_MVE_CHANNELS * SLOTS) {
        const uint32_t at = first / TQ_MVE_CHANNELS * codes;
        const tq_mve_block block = {
            .codes = layer->codes + (layer->table != NULL ? at / 2 : at),
            .bias = r->bias + first,
            .shift = r->shift + first,
            .nudge = r->nudge != NULL ? r->nudge + first : NULL,
            .count = smaller(TQ_MVE_CHANNELS, end - first),
        };
        layer->run(windows, &block, x, output + first);
    }
}

void tq_run_depthwise_conv2d_mve(const tq_depthwise_conv2d_mve *layer, const void *input,
                                 void *output, void *scratch) {
    const uint32_t row_bytes = columns_of(layer) * COLUMN_BYTES;
    const uint32_t height = layer->output.height;
    tq_mve_windows windows = make_windows(layer);
    uint8_t *out = output;

    /* Columns in the padding stay as they are now: nothing else is copied there. */
    tq_mve_fill(scratch, layer->flip, layer->tile_rows * row_bytes);
    for (uint32_t row = 0; row < height; row += windows.rows) {
        windows.rows = smaller(layer->tile_rows, height - row);
        for (uint32_t first = 0; first < layer->output.channels; first += GROUP) {
            uint8_t *to = scratch;
            for (uint32_t i = 0; i < windows.rows; i++, to += row_bytes) {
                stack(layer, input, row + i, first, to);
            }
            run_group(layer, &windows, first, scratch, out);
        }
        out += windows.rows * layer->out_row;
    }
}
