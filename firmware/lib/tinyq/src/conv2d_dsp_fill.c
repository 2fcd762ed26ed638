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

/* Where the elements of a tile's row come from: zeros, an input row, zeros. */
typedef struct part {
    uint32_t before;
    uint32_t from;
    uint32_t count;
    uint32_t after;
} part;

static part find_part(const tq_conv2d_dsp *layer, const tq_dsp_area *area) {
    const tq_kernel *const kernel = &layer->kernel;
    const int32_t channels = layer->input.channels;
    const int32_t width = layer->input.width * channels;
    const int32_t begin = ((int32_t)(area->left * kernel->col_stride) - kernel->left) * channels;
    const int32_t columns = (int32_t)((area->cols - 1) * kernel->col_stride) + kernel->width;
    const int32_t end = begin + columns * channels;
    const int32_t first = tq_clamp(begin, 0, width); /* of the image's row */
    const int32_t last = tq_clamp(end, first, width);
    const int32_t before = begin < 0 ? tq_clamp(-begin, 0, end - begin) : 0;
    const part found = {
        .before = (uint32_t)before,
        .from = (uint32_t)first,
        .count = (uint32_t)(last - first),
        .after = (uint32_t)(end - begin - before - (last - first)),
    };
    return found;
}

TQ_INLINE void fill_rows(const tq_conv2d_dsp *layer, const uint8_t *input, const tq_dsp_area *area,
                         int16_t *tile, int is_signed, int in_order) {
    const tq_kernel *const kernel = &layer->kernel;
    const part p = find_part(layer, area);
    const uint32_t stride = (uint32_t)layer->input.width * layer->input.channels;
    uint32_t y = area->top * kernel->row_stride - kernel->top; /* wraps above the image */
    uint32_t left = (area->rows - 1) * kernel->row_stride + kernel->height;
    for (; left > 0; left--, y++, tile += layer->row_pitch) {
        if (y >= layer->input.height) {
            put_zeros(tile, p.before + p.count + p.after);
            continue;
        }
        int16_t *to = put_zeros(tile, p.before);
        to = widen(input + y * stride + p.from, p.count, to, is_signed, in_order);
        put_zeros(to, p.after);
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

TQ_INLINE void fill_pixels(const tq_conv2d_dsp *layer, const uint8_t *input,
                           const tq_dsp_area *area, int16_t *tile, int is_signed) {
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t channels = layer->input.channels;
    const uint32_t step = kernel->col_stride * channels;
    const uint32_t stride = (uint32_t)layer->input.width * channels * kernel->row_stride;
    const uint8_t *row = input + area->top * stride + area->left * step;
    const int is_dense = kernel->col_stride == 1 && channels % 4U == 0;
    for (uint32_t left = area->rows; left > 0; left--, row += stride, tile += layer->row_pitch) {
        const uint8_t *pixel = row;
        int16_t *to = tile;
        if (is_dense) {
            widen(row, area->cols * channels, tile, is_signed, 0);
            continue;
        }
        for (uint32_t n = area->cols; n > 0; n--) {
            to = fill_pixel(pixel, channels, to, is_signed);
            pixel += step;
        }
    }
}

#define DEFINE_FILLS(type, is_signed)                                                              \
    TQ_DSP_DECLARE_FILL(rows_##type) {                                                             \
        fill_rows(layer, input, area, tile, is_signed, 1);                                         \
    }                                                                                              \
    TQ_DSP_DECLARE_FILL(rows4_##type) {                                                            \
        fill_rows(layer, input, area, tile, is_signed, 0);                                         \
    }                                                                                              \
    TQ_DSP_DECLARE_FILL(pixels_##type) {                                                           \
        fill_pixels(layer, input, area, tile, is_signed);                                          \
    }

DEFINE_FILLS(s8, 1)
DEFINE_FILLS(u8, 0)
