/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/average_pool2d.h>

#include <tinyq/arith.h>
#include <tinyq/dsp.h>

#include <string.h>

#include "inline.h"

/* Elements whose sum fits 16 bits, as unsigned bytes. */
enum { LANE_ELEMENTS = 257 };

/* Four bytes at a multiple of 4. */
ALWAYS_INLINE uint32_t load_aligned(const uint8_t *from) {
    uint32_t word;
#if defined(__GNUC__)
    memcpy(&word, __builtin_assume_aligned(from, 4), sizeof word);
#else
    memcpy(&word, from, sizeof word);
#endif
    return word;
}

/* The part of a window that lies inside the image. */
typedef struct window {
    const uint8_t *corner; /* first channel of the first pixel */
    uint32_t rows;
    uint32_t cols;
    uint32_t row_step;
} window;

/* An average from the sum of q - zero. */
static uint8_t finish(const tq_average_pool2d *layer, int32_t total, uint32_t count) {
    const int32_t average = tq_sign_bit(!layer->is_signed) + tq_divide_away(total, count);
    return (uint8_t)tq_clamp(average, layer->lo, layer->hi);
}

/* One channel, the one at corner. */
static uint8_t average_one(const tq_average_pool2d *layer, const window *w) {
    const uint32_t channels = layer->input.channels;
    const uint8_t flip = (uint8_t)tq_sign_bit(!layer->is_signed);
    const uint8_t *row = w->corner;
    int32_t total = 0;
    for (uint32_t i = w->rows; i > 0; i--, row += w->row_step) {
        const uint8_t *p = row;
        for (uint32_t j = w->cols; j > 0; j--, p += channels) {
            total += (int8_t)(*p ^ flip);
        }
    }
    return finish(layer, total, w->rows * w->cols);
}

/* Four channels of at most LANE_ELEMENTS elements each, two in a word: bytes q - zero + 128. */
static void average_four(const tq_average_pool2d *layer, const window *w, uint8_t *out) {
    const uint32_t channels = layer->input.channels;
    const uint32_t flip = layer->is_signed ? UINT32_C(0x80808080) : 0;
    const uint32_t count = w->rows * w->cols;
    const int32_t offset = (int32_t)(128 * count);
    const uint8_t *row = w->corner;
    uint32_t even = 0;
    uint32_t odd = 0;
    for (uint32_t i = w->rows; i > 0; i--, row += w->row_step) {
        const uint8_t *p = row;
        for (uint32_t j = w->cols; j > 0; j--, p += channels) {
            const uint32_t bytes = load_aligned(p) ^ flip;
            even += tq_uxtb16(bytes);
            odd += tq_uxtb16_ror8(bytes);
        }
    }
    const uint32_t totals[] = {even & 0xFFFFU, odd & 0xFFFFU, even >> 16, odd >> 16};
    for (uint32_t i = 0; i < 4; i++) {
        out[i] = finish(layer, (int32_t)totals[i] - offset, count);
    }
}

static void average_window(const tq_average_pool2d *layer, window w, uint8_t *out) {
    const uint32_t channels = layer->input.channels;
    if (w.cols * channels == w.row_step) { /* whole rows are one long row */
        w.cols *= w.rows;
        w.rows = 1;
    }
    if (channels % 4 == 0 && w.rows * w.cols <= LANE_ELEMENTS) {
        for (uint32_t c = 0; c < channels; c += 4, w.corner += 4) {
            average_four(layer, &w, out + c);
        }
        return;
    }
    for (uint32_t c = 0; c < channels; c++, w.corner++) {
        out[c] = average_one(layer, &w);
    }
}

void tq_run_average_pool2d(const tq_average_pool2d *layer, const void *input, void *output) {
    const uint32_t channels = layer->input.channels;
    const uint32_t row_step = layer->input.width * channels;
    const uint8_t *const image = input;
    uint8_t *out = output;

    for (uint32_t y = 0; y < layer->output.height; y++) {
        const tq_span rows = tq_clip_rows(&layer->kernel, &layer->input, y);
        for (uint32_t x = 0; x < layer->output.width; x++) {
            const tq_span cols = tq_clip_cols(&layer->kernel, &layer->input, x);
            const window w = {
                .corner = image + rows.image * row_step + cols.image * channels,
                .rows = rows.count,
                .cols = cols.count,
                .row_step = row_step,
            };
            average_window(layer, w, out);
            out += channels;
        }
    }
}
