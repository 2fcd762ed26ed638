/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/pool_dsp.h>

void tq_pool_windows(const tq_pool_dsp *layer, const void *input, void *output) {
    const tq_pool_dsp pool = *layer; /* a copy: no store to the output can change it */
    const uint32_t channels = pool.input.channels;
    const uint32_t row_bytes = pool.input.width * channels;
    const uint8_t *const image = input;
    uint8_t *out = output;

    for (uint32_t y = 0; y < pool.output.height; y++) {
        const tq_span rows = tq_clip_rows(&pool.kernel, &pool.input, y);
        for (uint32_t x = 0; x < pool.output.width; x++, out += channels) {
            const tq_span cols = tq_clip_cols(&pool.kernel, &pool.input, x);
            const uint32_t row_skip = row_bytes - cols.count * channels;
            const tq_pool_window window = {
                .corner = image + rows.image * row_bytes + cols.image * channels,
                .rows = row_skip == 0 ? 1 : rows.count,
                .cols = row_skip == 0 ? rows.count * cols.count : cols.count,
                .channels = channels,
                .row_skip = row_skip,
            };
            pool.run(layer, &window, out);
        }
    }
}
