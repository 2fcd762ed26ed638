/* SPDX-License-Identifier: Apache-2.0 */
/* One or four channels at a time: their activations as words, all windows, all outputs. */
#include <tinyq/depthwise_conv2d_planes.h>
#include <tinyq/dsp.h>

#include "inline.h"

enum { MAX_PLANES = 4 };

/* A call in progress. */
typedef struct run {
    const tq_depthwise_conv2d_planes *layer;
    const uint8_t *input;
    uint8_t *output;
    uint32_t *x;
    uint32_t *sums;
    uint32_t plane;  /* words of a plane */
    uint32_t half;   /* output rows of a word's first lane */
    uint32_t left;   /* words of padding before a row of the image */
    uint32_t inside; /* words of a row of the image that windows reach */
} run;

ALWAYS_INLINE uint32_t activation(const uint8_t *from, int is_signed) {
    return is_signed ? (uint32_t)(int32_t)(int8_t)*from : *from;
}

/* count words, the activations at from, from + step ..., or those and the ones at lower: lanes. */
ALWAYS_INLINE void fill_span(uint32_t *to, const uint8_t *from, const uint8_t *lower, uint32_t step,
                             uint32_t count, int is_signed) {
    for (; count >= 2; count -= 2) {
        uint32_t first = activation(from, is_signed);
        uint32_t second = activation(from + step, is_signed);
        from += 2 * step;
        if (lower != NULL) {
            first += activation(lower, is_signed) << 16;
            second += activation(lower + step, is_signed) << 16;
            lower += 2 * step;
        }
        to[0] = first;
        to[1] = second;
        to += 2;
    }
    if (count > 0) {
        *to = activation(from, is_signed);
        if (lower != NULL) {
            *to += activation(lower, is_signed) << 16;
        }
    }
}

/* The rows under output rows first..first+count-1 of an input channel, as far as they lie inside
 * the image from column 0 on; around it is padding from the start. */
ALWAYS_INLINE void fill_rows(const run *r, uint32_t channel, uint32_t first, uint32_t count,
                             int is_signed, int lanes) {
    const tq_depthwise_conv2d_planes *const layer = r->layer;
    const tq_kernel *const kernel = &layer->kernel;
    const int32_t height = layer->input.height;
    const uint32_t step = layer->input.channels;
    const uint32_t row_step = layer->input.width * step;
    const uint32_t apart = r->half * kernel->row_stride;
    const uint32_t rows = (count - 1) * kernel->row_stride + 3;
    const uint32_t inside = r->inside;
    int32_t y = (int32_t)(first * kernel->row_stride) - kernel->top;
    uint32_t *to = r->x + r->left;

    for (uint32_t row = 0; row < rows; row++) {
        const int32_t z = y + (int32_t)apart;
        const int upper = y >= 0 && y < height;
        const int lower = lanes && z >= 0 && z < height;
        const uint8_t *const from = r->input + (uint32_t)(upper ? y : 0) * row_step + channel;
        const uint8_t *const other = r->input + (uint32_t)(lower ? z : 0) * row_step + channel;
        if (upper && lower) {
            fill_span(to, from, other, step, inside, is_signed);
        } else if (upper) {
            fill_span(to, from, NULL, step, inside, is_signed);
        } else if (lower) {
            fill_span(to, other, NULL, step, inside, is_signed);
            for (uint32_t i = 0; i < inside; i++) {
                to[i] <<= 16;
            }
        } else {
            memset(to, 0, inside * sizeof *to);
        }
        to += layer->pitch;
        y++;
    }
}

/* --- four channels at once: a word of the image is one activation of each ------------------------
 */

ALWAYS_INLINE uint32_t byte_of(uint32_t word, uint32_t shift, int is_signed) {
    const uint8_t byte = (uint8_t)(word >> shift);
    return is_signed ? (uint32_t)(int32_t)(int8_t)byte : byte;
}

/* Padding; as wide as a load. */
static const uint8_t zeros[4];

/* Some bytes of the image, step after step; of padding, step is 0. */
typedef struct source {
    const uint8_t *from;
    uint32_t step;
} source;

static source source_at(const run *r, int32_t y, uint32_t channel) {
    const tq_shape *const in = &r->layer->input;
    source s = {zeros, 0};
    if (y >= 0 && y < in->height) {
        s.from = r->input + (uint32_t)y * in->width * in->channels + channel;
        s.step = in->channels;
    }
    return s;
}

/* count words of four planes, each so many words behind the one before. */
ALWAYS_INLINE void fill_four_spans(uint32_t *to, uint32_t plane, source upper, source lower,
                                   uint32_t count, int is_signed, int lanes) {
    for (; count > 0; count--) {
        const uint32_t a = tq_load32(upper.from);
        uint32_t w[4] = {byte_of(a, 0, is_signed), byte_of(a, 8, is_signed),
                         byte_of(a, 16, is_signed), byte_of(a, 24, is_signed)};
        upper.from += upper.step;
        if (lanes) {
            const uint32_t b = tq_load32(lower.from);
            w[0] += byte_of(b, 0, is_signed) << 16;
            w[1] += byte_of(b, 8, is_signed) << 16;
            w[2] += byte_of(b, 16, is_signed) << 16;
            w[3] += byte_of(b, 24, is_signed) << 16;
            lower.from += lower.step;
        }
        to[0] = w[0];
        to[plane] = w[1];
        to[2 * plane] = w[2];
        to[3 * plane] = w[3];
        to++;
    }
}

/* fill_rows for input channels channel..channel+3. */
ALWAYS_INLINE void fill_four_rows(const run *r, uint32_t channel, uint32_t first, uint32_t count,
                                  int is_signed, int lanes) {
    const tq_kernel *const kernel = &r->layer->kernel;
    const uint32_t rows = (count - 1) * kernel->row_stride + 3;
    const int32_t apart = (int32_t)(r->half * kernel->row_stride);
    int32_t y = (int32_t)(first * kernel->row_stride) - kernel->top;
    uint32_t *to = r->x + r->left;

    for (uint32_t row = 0; row < rows; row++) {
        const source upper = source_at(r, y, channel);
        const source lower = lanes ? source_at(r, y + apart, channel) : upper;
        fill_four_spans(to, r->plane, upper, lower, r->inside, is_signed, lanes);
        to += r->layer->pitch;
        y++;
    }
}

#define DEFINE_FILL(name, is_signed, lanes)                                                        \
    static void fill_##name(const run *r, uint32_t channel, uint32_t first, uint32_t count) {      \
        fill_rows(r, channel, first, count, is_signed, lanes);                                     \
    }                                                                                              \
    static void fill_four_##name(const run *r, uint32_t channel, uint32_t first, uint32_t count) { \
        fill_four_rows(r, channel, first, count, is_signed, lanes);                                \
    }

DEFINE_FILL(u8, 0, 0)
DEFINE_FILL(s8, 1, 0)
DEFINE_FILL(lanes_u8, 0, 1)
DEFINE_FILL(lanes_s8, 1, 1)

typedef void (*fill_function)(const run *r, uint32_t channel, uint32_t first, uint32_t count);

static fill_function fill_of(const tq_depthwise_conv2d_planes *layer, uint32_t planes) {
    static const fill_function functions[2][2][2] = {
        {{fill_u8, fill_s8}, {fill_lanes_u8, fill_lanes_s8}},
        {{fill_four_u8, fill_four_s8}, {fill_four_lanes_u8, fill_four_lanes_s8}},
    };
    return functions[planes > 1][layer->lanes != 0][layer->is_signed != 0];
}

/* Output rows first..first+count-1 of an output channel; with lanes, of either half. */
static void finish_rows(const run *r, uint32_t channel, uint32_t first, uint32_t count) {
    const tq_depthwise_conv2d_planes *const layer = r->layer;
    const tq_shape *const out = &layer->output;
    const uint32_t lower = out->height - r->half; /* rows of the lower half */
    const uint32_t rows = first >= lower ? 0 : lower - first;
    const tq_plane_outputs to = {
        .sums = (const int32_t *)r->sums,
        .count = count * out->width,
        .seconds = (rows < count ? rows : count) * out->width,
        .shift = layer->requant.shift[channel * layer->requant.shift_step],
        .outputs = r->output + first * out->width * out->channels + channel,
        .step = out->channels,
        .second = r->half * out->width * out->channels,
        .lo = layer->requant.lo,
        .hi = layer->requant.hi,
    };
    layer->finish(&to);
}

/* Nine weights of an output channel. */
static void load_weights(const tq_depthwise_conv2d_planes *layer, uint32_t channel, int32_t *to) {
    const int8_t *const table = layer->weights.table;
    const uint8_t *codes = layer->weights.codes + channel * layer->weights.channel_bytes;
    int8_t unpacked[9];
    const int8_t *images = (const int8_t *)codes;

    if (layer->unpack == NULL && table != NULL) {
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t two = *codes++;
            *to++ = table[two & 15U];
            *to++ = table[two >> 4];
        }
        *to = table[*codes & 15U];
        return;
    }
    if (layer->unpack != NULL) {
        layer->unpack(&layer->weights, channel, 9, unpacked, 1);
        images = unpacked;
    }
    for (uint32_t i = 0; i < 3; i++) {
        to[0] = images[0];
        to[1] = images[1];
        to[2] = images[2];
        images += 3;
        to += 3;
    }
}

static void start_plane(const run *r, uint32_t channel, tq_plane *plane) {
    const tq_depthwise_conv2d_planes *const layer = r->layer;
    const uint32_t bias = (uint32_t)layer->requant.bias[channel];
    load_weights(layer, channel, plane->weights);
    plane->start[0] = layer->lanes ? bias + (bias << 16) : bias;
    plane->start[1] = plane->start[0];
}

/* Output channels channel..channel+count-1, 1 or MAX_PLANES; their planes lie side by side. */
static void run_channels(const run *r, uint32_t channel, uint32_t count) {
    const tq_depthwise_conv2d_planes *const layer = r->layer;
    const fill_function fill = fill_of(layer, count);
    tq_plane planes[MAX_PLANES];

    for (uint32_t i = 0; i < count; i++) {
        planes[i].x = r->x + i * r->plane;
        planes[i].sums = r->sums;
        planes[i].row_step = layer->kernel.row_stride * layer->pitch * (uint32_t)sizeof *r->x;
        planes[i].columns = layer->output.width;
        start_plane(r, channel + i, &planes[i]);
    }
    for (uint32_t first = 0; first < r->half; first += layer->tile) {
        const uint32_t left = r->half - first;
        const uint32_t rows = left < layer->tile ? left : layer->tile;
        fill(r, channel / layer->multiplier, first, rows);
        for (uint32_t i = 0; i < count; i++) {
            planes[i].rows = rows;
            layer->sum_plane(&planes[i]);
            finish_rows(r, channel + i, first, rows);
        }
    }
}

void tq_run_depthwise_conv2d_planes(const tq_depthwise_conv2d_planes *layer, const void *input,
                                    void *output, void *scratch) {
    const uint32_t stride = layer->kernel.row_stride;
    const uint32_t height = layer->output.height;
    const uint32_t columns = (layer->output.width - 1U) * layer->kernel.col_stride + 3;
    const uint32_t words = ((layer->tile - 1U) * stride + 3) * layer->pitch;
    run r = {
        .layer = layer,
        .input = input,
        .output = output,
        .x = scratch,
        .half = layer->lanes ? (height + 1) / 2 : height,
        .left = layer->kernel.left < columns ? layer->kernel.left : columns,
    };
    r.inside = columns - r.left < layer->input.width ? columns - r.left : layer->input.width;
    r.sums = r.x + layer->planes * words;
    memset(r.x, 0, layer->planes * words * sizeof *r.x);
    r.plane = words;
    for (uint32_t channel = 0; channel < layer->output.channels;) {
        const uint32_t left = layer->output.channels - channel;
        const uint32_t count = left < layer->planes ? 1 : layer->planes;
        run_channels(&r, channel, count);
        channel += count;
    }
}
