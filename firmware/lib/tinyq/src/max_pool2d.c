/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/max_pool2d.h>

#include <tinyq/arith.h>

void tq_run_max_pool2d(const tq_max_pool2d *layer, const void *input, void *output) {
    const uint32_t channels = layer->input.channels;
    const uint32_t row_step = layer->input.width * channels;
    /* With its sign bit flipped an int8 orders like an unsigned byte. */
    const uint8_t flip = (uint8_t)tq_sign_bit(layer->is_signed);
    const uint8_t *const image = input;
    uint8_t *out = output;

    for (uint32_t y = 0; y < layer->output.height; y++) {
        const tq_span rows = tq_clip_rows(&layer->kernel, &layer->input, y);
        for (uint32_t x = 0; x < layer->output.width; x++) {
            const tq_span cols = tq_clip_cols(&layer->kernel, &layer->input, x);
            const uint8_t *const corner = image + rows.image * row_step + cols.image * channels;
            for (uint32_t c = 0; c < channels; c++) {
                const uint8_t *row = corner + c;
                uint8_t greatest = 0;
                for (uint32_t i = rows.count; i > 0; i--, row += row_step) {
                    const uint8_t *p = row;
                    for (uint32_t j = cols.count; j > 0; j--, p += channels) {
                        const uint8_t value = *p ^ flip;
                        greatest = value > greatest ? value : greatest;
                    }
                }
                *out++ = greatest ^ flip;
            }
        }
    }
}
