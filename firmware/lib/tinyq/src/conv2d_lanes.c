/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two output pixels at a time, one in the low and one in the high half of a word: an activation of
 * both windows is one word, and one multiplication by the weight they share does two.
 */
#include <tinyq/conv2d_lanes.h>

#include "window.h"

enum { LANES = 128 }; /* elements of both windows on the stack; a multiple of 8, as codes want it */

/* Words for elements first..first+count-1 of the windows. */
static void gather_lanes(const window *low, const window *high, uint32_t first, uint32_t count,
                         int32_t sign, uint32_t *to) {
    uint8_t lows[LANES];
    uint8_t highs[LANES];
    gather(low, first, count, lows);
    gather(high, first, count, highs);
    for (uint32_t i = 0; i < count; i++) {
        to[i] = (uint32_t)tq_read(lows[i], sign) + ((uint32_t)tq_read(highs[i], sign) << 16);
    }
}

static void start_lanes(const tq_requant *requant, uint32_t first, uint32_t count, uint32_t *sums) {
    const int32_t *const bias = requant->bias + first;
    for (uint32_t i = 0; i < count; i++) {
        sums[i] = (uint32_t)bias[i] + ((uint32_t)bias[i] << 16);
    }
}

/* sum = low + high * 2^16 modulo 2^32, both within 16 bits. */
static void split_lanes(const uint32_t *sums, uint32_t count, int32_t *low, int32_t *high) {
    for (uint32_t i = 0; i < count; i++) {
        low[i] = (int32_t)((sums[i] & 0xFFFFU) ^ 0x8000U) - 0x8000;
        high[i] = (int32_t)(sums[i] - (uint32_t)low[i]) >> 16;
    }
}

/* outputs: the pixel of `low`, followed by that of `high` where there is one. */
static void run_pair(const tq_conv2d_lanes *layer, const window *low, const window *high,
                     uint8_t *outputs) {
    const uint32_t channels = layer->output.channels;
    const uint32_t elements = low->elements;
    const int32_t sign = tq_sign_bit(layer->is_signed);
    const window *const second = high != NULL ? high : low;
    uint32_t x[LANES];
    uint32_t sums[TQ_CHANNEL_CHUNK];
    int32_t lows[TQ_CHANNEL_CHUNK];
    int32_t highs[TQ_CHANNEL_CHUNK];

    for (uint32_t first = 0; first < channels; first += TQ_CHANNEL_CHUNK) {
        const uint32_t left = channels - first;
        const uint32_t count = left < TQ_CHANNEL_CHUNK ? left : TQ_CHANNEL_CHUNK;
        start_lanes(&layer->requant, first, count, sums);
        for (uint32_t code = 0; code < elements; code += LANES) {
            const uint32_t rest = elements - code;
            const tq_lanes part = {.x = x, .code = code, .length = rest < LANES ? rest : LANES};
            if (first == 0 || elements > LANES) {
                gather_lanes(low, second, code, part.length, sign, x);
            }
            layer->dot(&layer->weights, &part, first, count, sums);
        }
        split_lanes(sums, count, lows, highs);
        tq_requantize(&layer->requant, first, count, lows, outputs + first);
        if (high != NULL) {
            tq_requantize(&layer->requant, first, count, highs, outputs + channels + first);
        }
    }
}

void tq_run_conv2d_lanes(const tq_conv2d_lanes *layer, const void *input, void *output) {
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t width = layer->output.width;
    const uint32_t pixels = layer->output.height * width;
    uint8_t *outputs = output;
    window pair[2];
    uint32_t waiting = 0; /* windows in pair */
    uint32_t column = 0;
    window w = first_window(input, &layer->input, kernel);
    const int32_t left = w.left;

    for (uint32_t pixel = 0; pixel < pixels; pixel++) {
        pair[waiting++] = w;
        if (waiting == 2 || pixel + 1 == pixels) {
            run_pair(layer, &pair[0], waiting == 2 ? &pair[1] : NULL, outputs);
            outputs += waiting * layer->output.channels;
            waiting = 0;
        }
        w.left += kernel->col_stride * layer->input.channels;
        if (++column == width) {
            column = 0;
            w.left = left;
            w.top += kernel->row_stride;
        }
    }
}
