/* SPDX-License-Identifier: Apache-2.0 */
/* Each tile of the convolution is added while it is in scratch: its output needs no tensor. */
#include <tinyq/conv2d_mve_add.h>

#include "conv2d_mve_parts.h"

static void add_tile(const tile_sink *sink, uint32_t offset, uint32_t count) {
    tq_add_mve add = *sink->add;
    add.count = count;
    tq_run_add_mve(&add, sink->first, sink->other + offset, sink->output + offset);
}

void tq_run_conv2d_mve_add(const tq_conv2d_mve_add *layer, const void *input, const void *other,
                           void *output, void *scratch) {
    uint8_t *const first = scratch;
    const uint32_t bytes = (uint32_t)layer->tile_rows * layer->tile_cols * layer->out_col;
    const tile_sink sink = {first, add_tile, layer->add, other, output};
    tq_mve_run_tiles(layer, input, output, first + bytes, &sink);
}
