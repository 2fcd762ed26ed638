/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/pad2d.h>

#include <stddef.h>
#include <string.h>

static uint8_t *put_zeros(uint8_t *out, size_t bytes) {
    memset(out, 0, bytes);
    return out + bytes;
}

void tq_run_pad2d(const tq_pad2d *layer, const void *input, void *output) {
    const size_t channels = layer->input.channels;
    const size_t row = layer->input.width * channels;
    const size_t wide_row = row + ((size_t)layer->left + layer->right) * channels;
    const uint8_t *in = input;
    uint8_t *out = put_zeros(output, layer->top * wide_row);

    for (uint32_t y = layer->input.height; y > 0; y--) {
        out = put_zeros(out, layer->left * channels);
        memcpy(out, in, row);
        in += row;
        out = put_zeros(out + row, layer->right * channels);
    }
    put_zeros(out, layer->bottom * wide_row);
}
