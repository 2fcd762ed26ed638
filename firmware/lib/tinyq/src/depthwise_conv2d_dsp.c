/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/depthwise_conv2d_dsp.h>

#include "lanes_dsp.h"
#include "spread_dsp.h"

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

static uint32_t shift_of(const tq_requant *requant, uint32_t channel) {
    return requant->shift[channel * requant->shift_step];
}

/* Bits by which weights and bias of a channel with shift n are moved up. */
static uint32_t folded_bits(const tq_depthwise_conv2d_dsp *layer, uint32_t n) {
    return n >= layer->fold_from && n < TQ_PLANE_SHIFT ? TQ_PLANE_SHIFT - n : 0;
}

static uint32_t join(int32_t low, int32_t high) {
    return tq_pkhbt((uint32_t)low, (uint32_t)high);
}

/* Three columns in both alignments; factor: a power of two. */
static void put_threes(uint32_t *to, const int8_t *images, int32_t factor) {
    for (uint32_t row = 0; row < 3; row++) {
        const int32_t middle = images[1] * factor;
        to[0] = join(images[0] * factor, middle);
        to[1] = join(middle, images[2] * factor);
        to += 2;
        images += 3;
    }
}

/* Rows of any length, filled up to pairs. */
static void put_pairs(uint32_t *to, const int8_t *images, const tq_kernel *kernel, int32_t factor) {
    for (uint32_t rows = kernel->height; rows > 0; rows--) {
        uint32_t columns = kernel->width;
        for (; columns >= 2; columns -= 2, images += 2) {
            *to++ = join(images[0] * factor, images[1] * factor);
        }
        if (columns > 0) {
            *to++ = join(*images++ * factor, 0);
        }
    }
}

/* Images of codes of 4 bits; one more may be written. */
static void unpack_nibbles(const tq_weights *weights, uint32_t channel, uint32_t count,
                           int8_t *to) {
    const uint8_t *codes = weights->codes + channel * weights->channel_bytes;
    const int8_t *const table = weights->table;
    for (uint32_t left = (count + 1) / 2; left > 0; left--, to += 2) {
        const uint32_t two = *codes++;
        to[0] = table[two % 16];
        to[1] = table[two / 16];
    }
}

/* The lanes of a channel; buffer: room for its images. */
static void put_weights(const tq_depthwise_conv2d_dsp *layer, uint32_t channel, int8_t *buffer,
                        uint32_t *to) {
    const uint32_t taps = (uint32_t)layer->kernel.height * layer->kernel.width;
    const int32_t factor = (int32_t)1 << folded_bits(layer, shift_of(&layer->requant, channel));
    const int8_t *images = (const int8_t *)layer->weights.codes + channel * taps;
    if (layer->bits != 8) {
        images = buffer;
    }
    if (layer->bits == 4) {
        unpack_nibbles(&layer->weights, channel, taps, buffer);
    } else if (layer->bits != 8) {
        layer->unpack(&layer->weights, channel, taps, buffer, 1);
    }
    if (layer->run != tq_run_plane_any) {
        put_threes(to, images, factor);
    } else {
        put_pairs(to, images, &layer->kernel, factor);
    }
}

/* --- planes -------------------------------------------------------------------------------- */

/* One channel. */
static void spread_one(const tq_spread *job, int is_signed) {
    const int32_t sign = tq_sign_bit(is_signed);
    const uint8_t *row = job->x;
    int16_t *to_row = job->to;
    for (uint32_t rows = job->rows; rows > 0; rows--) {
        const uint8_t *x = row;
        int16_t *to = to_row;
        for (uint32_t width = job->width; width > 0; width--) {
            *to++ = (int16_t)tq_read(*x, sign);
            x += job->step;
        }
        row += job->row_bytes;
        to_row += ROW;
    }
}

/* Rows of the image for `count` channels. */
static void spread(tq_spread job, uint32_t count, const tq_spreading *spreading) {
    for (; count >= 4; count -= 4) {
        spreading->four(&job);
        job.x += 4;
        job.to += 4 * job.plane_bytes / sizeof(int16_t);
    }
    if (count >= 2) {
        spreading->two(&job);
        job.x += 2;
        job.to += 2 * job.plane_bytes / sizeof(int16_t);
        count -= 2;
    }
    if (count > 0) {
        spread_one(&job, spreading->is_signed);
    }
}

static uint32_t between(int32_t value, uint32_t limit) {
    return value < 0 ? 0 : (uint32_t)value < limit ? (uint32_t)value : limit;
}

/* `rows` rows of the planes for rows first... of the image (before or behind it: padding) of
 * `count` channels, x being the first one's first element. */
static void fill(const tq_depthwise_conv2d_dsp *layer, const uint8_t *x, uint32_t count,
                 int32_t first, uint32_t rows, int16_t *to) {
    const uint32_t row_bytes = (uint32_t)layer->input.width * layer->input.channels;
    const uint32_t begin = between(first, layer->input.height);
    const uint32_t end = between(first + (int32_t)rows, layer->input.height);
    const uint32_t above = between(-first, rows);
    const uint32_t below = rows - above - (end - begin);
    const tq_spread job = {
        .x = x + begin * row_bytes,
        .to = to + above * ROW + layer->kernel.left,
        .step = layer->input.channels,
        .plane_bytes = layer->plane_width * (uint32_t)sizeof(int16_t),
        .width = layer->input.width,
        .rows = end - begin,
        .row_bytes = row_bytes,
    };
    clear_words((uint32_t *)(void *)to, above * ROW_WORDS);
    clear_words((uint32_t *)(void *)(to + (rows - below) * ROW), below * ROW_WORDS);
    if (job.rows > 0) {
        spread(job, count, layer->spreading);
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
