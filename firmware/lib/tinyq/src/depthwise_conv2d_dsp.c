/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/depthwise_conv2d_dsp.h>

#include <string.h>

#include "lanes_dsp.h"

enum { ROW = TQ_PLANE_ROW_BYTES / sizeof(int16_t), ROW_WORDS = TQ_PLANE_ROW_BYTES / 4 };

/* The parts of the scratch memory. */
typedef struct area {
    int16_t *planes;   /* rows of ROW elements */
    uint32_t *weights; /* [planes][weight_words] */
    int8_t *images;    /* of one channel */
} area;

static void clear_words(uint32_t *to, uint32_t count) {
    for (; count >= 4; count -= 4) {
        to[0] = 0;
        to[1] = 0;
        to[2] = 0;
        to[3] = 0;
        to += 4;
    }
}

static void copy_words(uint32_t *to, const uint32_t *from, uint32_t count) {
    for (; count >= 4; count -= 4) {
        to[0] = from[0];
        to[1] = from[1];
        to[2] = from[2];
        to[3] = from[3];
        to += 4;
        from += 4;
    }
}

static area divide(const tq_depthwise_conv2d_dsp *layer, void *scratch) {
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t rows = (layer->band - 1U) * kernel->row_stride + kernel->height;
    uint8_t *const bytes = scratch;
    uint32_t *const weights = (uint32_t *)scratch + rows * ROW_WORDS + 2;
    return (area){(int16_t *)(void *)bytes, weights,
                  (int8_t *)(weights + layer->planes * (uint32_t)layer->weight_words)};
}

/* --- weights ------------------------------------------------------------------------------- */

static uint32_t join(int32_t low, int32_t high) {
    return ((uint32_t)low & 0xFFFFU) | (uint32_t)high << 16;
}

/* Bits by which weights and bias of a channel with shift n are moved up. */
static uint32_t folded_bits(const tq_depthwise_conv2d_dsp *layer, uint32_t n) {
    return layer->folds && n < TQ_PLANE_SHIFT ? TQ_PLANE_SHIFT - n : 0;
}

/* The lanes of one row of the kernel; for three columns both alignments. */
static uint32_t *put_row(uint32_t *to, const int8_t *images, uint32_t columns, int both,
                         int32_t factor) {
    if (both) {
        *to++ = join(images[0] * factor, images[1] * factor);
        *to++ = join(images[1] * factor, images[2] * factor);
        return to;
    }
    for (; columns >= 2; columns -= 2, images += 2) {
        *to++ = join(images[0] * factor, images[1] * factor);
    }
    if (columns > 0) {
        *to++ = join(images[0] * factor, 0);
    }
    return to;
}

static uint32_t shift_of(const tq_requant *requant, uint32_t channel) {
    return requant->shift[channel * requant->shift_step];
}

static void put_weights(const tq_depthwise_conv2d_dsp *layer, uint32_t channel, int8_t *images,
                        uint32_t *to) {
    const uint32_t columns = layer->kernel.width;
    const uint32_t rows = layer->kernel.height;
    const int32_t factor = (int32_t)1 << folded_bits(layer, shift_of(&layer->requant, channel));
    const int both = layer->run != tq_run_plane_any;
    layer->unpack(&layer->weights, channel, rows * columns, images, 1);
    for (uint32_t row = 0; row < rows; row++) {
        to = put_row(to, images, columns, both, factor);
        images += columns;
    }
}

/* --- planes -------------------------------------------------------------------------------- */

static void store32(int16_t *to, uint32_t lanes) {
    memcpy(to, &lanes, sizeof lanes);
}

/* One row of one channel. */
TQ_INLINE void spread_one(const uint8_t *x, uint32_t step, uint32_t width, int16_t *to,
                          int is_signed) {
    for (; width > 0; width--) {
        *to++ = is_signed ? (int16_t)(int8_t)*x : (int16_t)*x;
        x += step;
    }
}

/* One row of four channels: two pixels make one word of each plane. */
TQ_INLINE void spread_four(const uint8_t *x, uint32_t step, uint32_t width, int16_t *to,
                           uint32_t plane, int is_signed) {
    for (; width >= 2; width -= 2) {
        const uint32_t first = tq_load32(x);
        const uint32_t second = tq_load32(x + step);
        const uint32_t low = tq_pkhbt(first, second);
        const uint32_t high = tq_pkhtb(first, second);
        store32(to, even_lanes(low, is_signed));
        store32(to + plane, odd_lanes(low, is_signed));
        store32(to + 2 * plane, even_lanes(high, is_signed));
        store32(to + 3 * plane, odd_lanes(high, is_signed));
        x += 2 * step;
        to += 2;
    }
    if (width > 0) {
        const uint32_t even = even_lanes(tq_load32(x), is_signed);
        const uint32_t odd = odd_lanes(tq_load32(x), is_signed);
        to[0] = (int16_t)tq_low(even);
        to[plane] = (int16_t)tq_low(odd);
        to[2 * plane] = (int16_t)tq_high(even);
        to[3 * plane] = (int16_t)tq_high(odd);
    }
}

TQ_INLINE void spread(const tq_depthwise_conv2d_dsp *layer, const uint8_t *x, uint32_t count,
                      int16_t *to, int is_signed) {
    const uint32_t step = layer->input.channels;
    const uint32_t width = layer->input.width;
    const uint32_t plane = layer->plane_width;
    for (; count >= 4; count -= 4) {
        spread_four(x, step, width, to, plane, is_signed);
        x += 4;
        to += 4 * plane;
    }
    for (; count > 0; count--) {
        spread_one(x, step, width, to, is_signed);
        x++;
        to += plane;
    }
}

/* Rows of the planes for rows first.. of the image (negative or beyond: padding) of `count`
 * channels, x being the first one's first element. */
static void fill(const tq_depthwise_conv2d_dsp *layer, const uint8_t *x, uint32_t count,
                 int32_t first, uint32_t rows, int16_t *to) {
    const int32_t row_bytes = layer->input.width * layer->input.channels;
    for (int32_t y = first; rows > 0; rows--, y++, to += ROW) {
        if (y < 0 || y >= layer->input.height) {
            clear_words((uint32_t *)(void *)to, ROW_WORDS);
        } else if (layer->is_signed) {
            spread(layer, x + y * row_bytes, count, to + layer->kernel.left, 1);
        } else {
            spread(layer, x + y * row_bytes, count, to + layer->kernel.left, 0);
        }
    }
}

/* --- the layer ----------------------------------------------------------------------------- */

static void run_band(const tq_depthwise_conv2d_dsp *layer, const area *scratch, uint32_t channel,
                     uint32_t count, uint32_t height, uint8_t *output) {
    const tq_requant *const requant = &layer->requant;
    tq_plane_rows rows = {
        .x = scratch->planes,
        .output = output + channel,
        .output_step = layer->output.channels,
        .width = layer->output.width,
        .height = height,
        .weights = scratch->weights,
        .limits = requant,
        .kernel = &layer->kernel,
    };
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t shift = shift_of(requant, channel + i);
        const uint32_t bits = folded_bits(layer, shift);
        rows.shift = shift + bits;
        rows.bias = (int32_t)((uint32_t)requant->bias[channel + i] << bits);
        layer->run(&rows);
        rows.x += layer->plane_width;
        rows.weights += layer->weight_words;
        rows.output++;
    }
}

static void run_channels(const tq_depthwise_conv2d_dsp *layer, const area *scratch,
                         uint32_t channel, uint32_t count, const uint8_t *input, uint8_t *output) {
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t step = (uint32_t)layer->band * kernel->row_stride;
    const uint32_t rows = step - kernel->row_stride + kernel->height;
    const uint32_t kept = rows > step ? rows - step : 0;
    const uint32_t band_bytes =
        (uint32_t)layer->band * layer->output.width * layer->output.channels;
    uint32_t ready = 0; /* rows at the start that hold what they should */
    int32_t top = -(int32_t)kernel->top;

    for (uint32_t i = 0; i < count; i++) {
        put_weights(layer, channel + i, scratch->images,
                    scratch->weights + i * layer->weight_words);
    }
    for (uint32_t left = layer->output.height; left > 0;) {
        const uint32_t height = left < layer->band ? left : layer->band;
        const uint32_t needed = rows - (layer->band - height) * kernel->row_stride;
        fill(layer, input + channel, count, top + (int32_t)ready, needed - ready,
             scratch->planes + ready * ROW);
        run_band(layer, scratch, channel, count, height, output);
        left -= height;
        output += band_bytes;
        top += (int32_t)step;
        ready = kept;
        copy_words((uint32_t *)(void *)scratch->planes,
                   (const uint32_t *)(const void *)(scratch->planes + step * ROW),
                   left > 0 ? kept * ROW_WORDS : 0);
    }
}

void tq_run_depthwise_conv2d_dsp(const tq_depthwise_conv2d_dsp *layer, const void *input,
                                 void *output, void *scratch) {
    const uint32_t channels = layer->input.channels;
    const area parts = divide(layer, scratch);
    clear_words(scratch, (uint32_t)(parts.weights - (uint32_t *)scratch) / 4 * 4);
    for (uint32_t channel = 0; channel < channels; channel += layer->planes) {
        const uint32_t left = channels - channel;
        const uint32_t count = left < layer->planes ? left : layer->planes;
        run_channels(layer, &parts, channel, count, input, output);
    }
}
