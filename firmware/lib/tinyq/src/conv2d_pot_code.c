/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the code of a layer cannot be: the windows under pairs of output pixels as words of two
 * activations. The common case, both windows inside the image from left to right, goes by runs of a
 * whole row; the others first take the first window, then add the second.
 */
#include <tinyq/conv2d_pot_code.h>

#include "inline.h"

#include <stddef.h>
#include <string.h>

/* The window of one output pixel. */
typedef struct place {
    int32_t top;  /* row of the image under the window's first row; negative in the padding */
    int32_t left; /* column, likewise */
} place;

ALWAYS_INLINE uint32_t pair_of(uint32_t low, uint32_t high, int32_t sign) {
    return (uint32_t)tq_read((uint8_t)low, sign) + ((uint32_t)tq_read((uint8_t)high, sign) << 16);
}

ALWAYS_INLINE void put_pairs(uint32_t *to, const uint8_t *low, const uint8_t *high, uint32_t count,
                             int32_t sign) {
    for (; count >= 4; count -= 4) {
        to[0] = pair_of(low[0], high[0], sign);
        to[1] = pair_of(low[1], high[1], sign);
        to[2] = pair_of(low[2], high[2], sign);
        to[3] = pair_of(low[3], high[3], sign);
        to += 4;
        low += 4;
        high += 4;
    }
    for (; count > 0; count--) {
        *to++ = pair_of(*low++, *high++, sign);
    }
}

static void add_lane(uint32_t *to, const uint8_t *from, uint32_t count, int32_t sign,
                     uint32_t lane) {
    for (; count > 0; count--) {
        *to++ += (uint32_t)tq_read(*from++, sign) << lane;
    }
}

/* Adds what of a row of one window lies inside the image. */
static void add_row(const tq_pot_pairs *pairs, const place *at, uint32_t row, uint32_t lane,
                    uint32_t *to) {
    const tq_conv2d_pot_code *const layer = pairs->layer;
    const uint32_t channels = layer->input.channels;
    const int32_t y = at->top + (int32_t)row;
    const int32_t end = at->left + layer->kernel.width;
    const int32_t from = at->left < 0 ? 0 : at->left;
    const int32_t until = end < layer->input.width ? end : layer->input.width;
    if (y >= 0 && y < layer->input.height && from < until) {
        const uint32_t first = (uint32_t)y * layer->input.width + (uint32_t)from;
        add_lane(to + (uint32_t)(from - at->left) * channels, pairs->image + first * channels,
                 (uint32_t)(until - from) * channels, tq_sign_bit(layer->is_signed), lane);
    }
}

static int is_inside(const tq_conv2d_pot_code *layer, const place *at) {
    return at->left >= 0 && at->left + layer->kernel.width <= layer->input.width && at->top >= 0 &&
           at->top + layer->kernel.height <= layer->input.height;
}

ALWAYS_INLINE void put_windows(const tq_pot_pairs *pairs, const place *low, const place *high,
                               uint32_t *words, int32_t sign) {
    const tq_conv2d_pot_code *const layer = pairs->layer;
    const uint32_t channels = layer->input.channels;
    const uint32_t stride = layer->input.width * channels;
    const uint32_t run = layer->kernel.width * channels;
    const uint8_t *a = pairs->image + (uint32_t)low->top * stride + (uint32_t)low->left * channels;
    const uint8_t *b =
        pairs->image + (uint32_t)high->top * stride + (uint32_t)high->left * channels;
    for (uint32_t row = layer->kernel.height; row > 0; row--) {
        put_pairs(words, a, b, run, sign);
        words += run;
        a += stride;
        b += stride;
    }
}

static void put_clipped(const tq_pot_pairs *pairs, const place *low, const place *high,
                        uint32_t *words) {
    const tq_conv2d_pot_code *const layer = pairs->layer;
    const uint32_t run = (uint32_t)layer->kernel.width * layer->input.channels;
    memset(words, 0, (size_t)layer->kernel.height * run * sizeof *words);
    for (uint32_t row = 0; row < layer->kernel.height; row++) {
        add_row(pairs, low, row, 0, words);
        add_row(pairs, high, row, 16, words);
        words += run;
    }
}

static place take(tq_pot_pairs *pairs) {
    const tq_conv2d_pot_code *const layer = pairs->layer;
    const tq_kernel *const kernel = &layer->kernel;
    const place at = {pairs->row * kernel->row_stride - kernel->top,
                      pairs->column * kernel->col_stride - kernel->left};
    pairs->next += layer->output.channels;
    pairs->left--;
    if (++pairs->column == layer->output.width) {
        pairs->column = 0;
        pairs->row++;
    }
    return at;
}

int tq_pot_next(tq_pot_pairs *pairs, uint32_t *words) {
    const tq_conv2d_pot_code *const layer = pairs->layer;
    if (pairs->left == 0) {
        return 0;
    }
    pairs->low = pairs->next;
    const place low = take(pairs);
    place high = low;
    pairs->high = pairs->low;
    if (pairs->left > 0) {
        pairs->high = pairs->next;
        high = take(pairs);
    }
    if (!is_inside(layer, &low) || !is_inside(layer, &high)) {
        put_clipped(pairs, &low, &high, words);
    } else if (layer->is_signed) {
        put_windows(pairs, &low, &high, words, 128);
    } else {
        put_windows(pairs, &low, &high, words, 0);
    }
    return 1;
}

void tq_run_conv2d_pot_code(const tq_conv2d_pot_code *layer, const void *input, void *output) {
    tq_pot_pairs pairs = {
        .layer = layer,
        .image = input,
        .next = output,
        .left = (uint32_t)layer->output.height * layer->output.width,
    };
    layer->code(&pairs);
}
