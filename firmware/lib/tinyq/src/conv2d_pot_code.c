/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the code of a layer cannot be: the windows under pairs of output pixels as words of two
 * activations. Two windows inside the image go by whole rows; others first take the one window,
 * then add the other, each as far as it lies inside.
 */
#include <tinyq/conv2d_pot_code.h>

#include "inline.h"

#include <stddef.h>
#include <string.h>

ALWAYS_INLINE uint32_t pair_of(uint32_t low, uint32_t high, int32_t sign) {
    const uint32_t signs = (uint32_t)sign | (uint32_t)sign << 16;
    return ((low | high << 16) ^ signs) - signs;
}

ALWAYS_INLINE void put_pairs(uint32_t *to, const uint8_t *low, const uint8_t *high, uint32_t count,
                             int32_t sign) {
    const uint8_t *const end = low + (count & ~3U);
    for (; low != end; low += 4, high += 4, to += 4) {
        to[0] = pair_of(low[0], high[0], sign);
        to[1] = pair_of(low[1], high[1], sign);
        to[2] = pair_of(low[2], high[2], sign);
        to[3] = pair_of(low[3], high[3], sign);
    }
    for (count &= 3U; count > 0; count--) {
        *to++ = pair_of(*low++, *high++, sign);
    }
}

ALWAYS_INLINE void put_inside(const tq_pot_pairs *pairs, const tq_pot_window *low,
                              const tq_pot_window *high, uint32_t *words, int32_t sign) {
    const uint32_t run = pairs->run;
    const int32_t width = pairs->width;
    const uint8_t *a = pairs->image + low->offset;
    const uint8_t *b = pairs->image + high->offset;
    for (uint32_t row = pairs->layer->kernel.height; row > 0; row--) {
        put_pairs(words, a, b, run, sign);
        words += run;
        a += width;
        b += width;
    }
}

/* Adds what of a window lies inside the image, shifted left by `lane`. */
static void add_window(const tq_pot_pairs *pairs, const tq_pot_window *at, uint32_t lane,
                       uint32_t *words) {
    const int32_t sign = tq_sign_bit(pairs->layer->is_signed);
    const int32_t run = (int32_t)pairs->run;
    const int32_t from = at->left < 0 ? -at->left : 0;
    const int32_t room = pairs->width - at->left;
    const int32_t until = run < room ? run : room;
    int32_t offset = at->offset;
    int32_t y = at->top;
    for (uint32_t row = pairs->layer->kernel.height; row > 0; row--) {
        if (y >= 0 && y < pairs->height) {
            const uint8_t *const x = pairs->image + (offset + from);
            for (int32_t i = from; i < until; i++) {
                words[i] += (uint32_t)tq_read(x[i - from], sign) << lane;
            }
        }
        words += run;
        offset += pairs->width;
        y++;
    }
}

static int is_inside(const tq_pot_pairs *pairs, const tq_pot_window *at) {
    return at->left >= 0 && at->left + (int32_t)pairs->run <= pairs->width && at->top >= 0 &&
           at->top + pairs->layer->kernel.height <= pairs->height;
}

/* Goes on to the next output pixel. */
static void advance(tq_pot_pairs *pairs) {
    const tq_conv2d_pot_code *const layer = pairs->layer;
    pairs->next += layer->output.channels;
    pairs->left--;
    if (--pairs->left_in_line > 0) {
        pairs->window.left += pairs->column_step;
        pairs->window.offset += pairs->column_step;
    } else {
        pairs->left_in_line = layer->output.width;
        pairs->line.top += layer->kernel.row_stride;
        pairs->line.offset += pairs->row_step;
        pairs->window = pairs->line;
    }
}

int tq_pot_next(tq_pot_pairs *pairs, uint32_t *words) {
    if (pairs->left == 0) {
        return 0;
    }
    const tq_pot_window low = pairs->window;
    tq_pot_window high = low;
    pairs->low = pairs->next;
    pairs->high = pairs->next;
    advance(pairs);
    if (pairs->left > 0) {
        high = pairs->window;
        pairs->high = pairs->next;
        advance(pairs);
    }
    if (!is_inside(pairs, &low) || !is_inside(pairs, &high)) {
        memset(words, 0, pairs->bytes);
        add_window(pairs, &low, 0, words);
        add_window(pairs, &high, 16, words);
    } else if (pairs->layer->is_signed) {
        put_inside(pairs, &low, &high, words, 128);
    } else {
        put_inside(pairs, &low, &high, words, 0);
    }
    return 1;
}

/* Makes the image a copy of the input with its padding. */
static void copy_padded(tq_pot_pairs *pairs, uint8_t *to) {
    const tq_conv2d_pot_code *const layer = pairs->layer;
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t channels = layer->input.channels;
    const uint32_t rows = (layer->output.height - 1U) * kernel->row_stride + kernel->height;
    const uint32_t columns = (layer->output.width - 1U) * kernel->col_stride + kernel->width;
    const uint32_t left = kernel->left;
    const uint32_t room = columns - left;
    const uint32_t width = (layer->input.width < room ? layer->input.width : room) * channels;
    const uint8_t *from = pairs->image;
    memset(to, 0, rows * columns * channels);
    pairs->image = to;
    pairs->height = (int32_t)rows;
    pairs->width = (int32_t)(columns * channels);
    to += (kernel->top * columns + left) * channels;
    for (uint32_t y = 0; y < layer->input.height && y + kernel->top < rows; y++) {
        memcpy(to, from, width);
        to += columns * channels;
        from += layer->input.width * channels;
    }
}

void tq_run_conv2d_pot_code(const tq_conv2d_pot_code *layer, const void *input, void *output,
                            void *scratch) {
    const tq_kernel *const kernel = &layer->kernel;
    const int32_t channels = layer->input.channels;
    tq_pot_pairs pairs = {
        .layer = layer,
        .image = input,
        .next = output,
        .height = layer->input.height,
        .width = layer->input.width * channels,
        .run = (uint32_t)kernel->width * layer->input.channels,
        .column_step = kernel->col_stride * channels,
        .left = (uint32_t)layer->output.height * layer->output.width,
        .left_in_line = layer->output.width,
    };
    if (layer->is_copied) {
        copy_padded(&pairs, scratch);
    } else {
        pairs.line.top = -(int32_t)kernel->top;
        pairs.line.left = -(int32_t)kernel->left * channels;
        pairs.line.offset = pairs.line.top * pairs.width + pairs.line.left;
    }
    pairs.bytes = kernel->height * pairs.run * (uint32_t)sizeof(uint32_t);
    pairs.row_step = kernel->row_stride * pairs.width;
    pairs.window = pairs.line;
    layer->code(&pairs);
}
