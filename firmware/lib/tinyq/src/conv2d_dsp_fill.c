/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/conv2d_dsp.h>

#include "dsp_words.h"

static int16_t *put_zeros(int16_t *to, uint32_t count) {
    for (; count >= 2; count -= 2) {
        store_word(to, 0);
        to += 2;
    }
    if (count > 0) {
        *to++ = 0;
    }
    return to;
}

TQ_INLINE void fill_rows(const tq_conv2d_dsp *layer, const uint8_t *input, uint32_t first,
                         uint32_t rows, int16_t *tile, int is_signed, int in_order) {
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t left = (uint32_t)kernel->left * layer->input.channels;
    const uint32_t right = layer->row_pitch - left - layer->row_elements;
    const uint32_t stride = (uint32_t)layer->input.width * layer->input.channels;
    uint32_t y = first * kernel->row_stride - kernel->top; /* wraps above the image */
    for (uint32_t n = (rows - 1) * kernel->row_stride + kernel->height; n > 0; n--, y++) {
        if (y >= layer->input.height) {
            tile = put_zeros(tile, layer->row_pitch);
        } else {
            tile = put_zeros(tile, left);
            tile = widen(input + y * stride, layer->row_elements, tile, is_signed, in_order);
            tile = put_zeros(tile, right);
        }
    }
}

/* One pixel; an odd number of channels is made even. */
TQ_INLINE int16_t *fill_pixel(const uint8_t *from, uint32_t channels, int16_t *tile,
                              int is_signed) {
    tile = widen(from, channels, tile, is_signed, 0);
    if (channels % 2U != 0) {
        *tile++ = 0;
    }
    return tile;
}

TQ_INLINE void fill_pixels(const tq_conv2d_dsp *layer, const uint8_t *input, uint32_t first,
                           uint32_t rows, int16_t *tile, int is_signed) {
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t channels = layer->input.channels;
    const uint32_t stride = (uint32_t)layer->input.width * channels;
    const uint8_t *row = input + first * kernel->row_stride * stride;
    const int is_dense = kernel->col_stride == 1 && channels % 4U == 0;
    for (; rows > 0; rows--, row += kernel->row_stride * stride) {
        if (is_dense) {
            tile = widen(row, layer->output.width * channels, tile, is_signed, 0);
            continue;
        }
        const uint8_t *pixel = row;
        for (uint32_t n = layer->output.width; n > 0; n--) {
            tile = fill_pixel(pixel, channels, tile, is_signed);
            pixel += kernel->col_stride * channels;
        }
    }
}

#define DEFINE_FILLS(type, is_signed)                                                              \
    TQ_DSP_DECLARE_FILL(rows_##type) {                                                             \
        fill_rows(layer, input, first, rows, tile, is_signed, 1);                                  \
    }                                                                                              \
    TQ_DSP_DECLARE_FILL(rows4_##type) {                                                            \
        fill_rows(layer, input, first, rows, tile, is_signed, 0);                                  \
    }                                                                                              \
    TQ_DSP_DECLARE_FILL(pixels_##type) {                                                           \
        fill_pixels(layer, input, first, rows, tile, is_signed);                                   \
    }

DEFINE_FILLS(s8, 1)
DEFINE_FILLS(u8, 0)
