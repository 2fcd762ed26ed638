/* SPDX-License-Identifier: Apache-2.0 */
/* One channel at a time: its activations as words, all windows, all outputs. */
#include <tinyq/depthwise_conv2d_planes.h>
#include <tinyq/dsp.h>

#include "inline.h"

/* A call in progress. */
typedef struct run {
    const tq_depthwise_conv2d_planes *layer;
    const uint8_t *input;
    uint8_t *output;
    uint32_t *x;
    uint32_t *sums;
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

static void fill(const run *r, uint32_t channel, uint32_t first, uint32_t count) {
    if (r->layer->lanes && r->layer->is_signed) {
        fill_rows(r, channel, first, count, 1, 1);
    } else if (r->layer->lanes) {
        fill_rows(r, channel, first, count, 0, 1);
    } else if (r->layer->is_signed) {
        fill_rows(r, channel, first, count, 1, 0);
    } else {
        fill_rows(r, channel, first, count, 0, 0);
    }
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

static void start_plane(const run *r, uint32_t channel, tq_plane *plane) {
    const tq_depthwise_conv2d_planes *const layer = r->layer;
    const uint32_t bias = (uint32_t)layer->requant.bias[channel];
    const int8_t *images = (const int8_t *)layer->weights.codes + 9 * channel;
    int8_t unpacked[9];
    if (layer->unpack != NULL) {
        layer->unpack(&layer->weights, channel, 9, unpacked, 1);
        images = unpacked;
    }
    for (uint32_t i = 0; i < 9; i += 3) {
        plane->weights[i] = images[i];
        plane->weights[i + 1] = images[i + 1];
        plane->weights[i + 2] = images[i + 2];
    }
    plane->start[0] = layer->lanes ? bias + (bias << 16) : bias;
    plane->start[1] = plane->start[0];
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
    r.sums = r.x + words;
    memset(r.x, 0, words * sizeof *r.x);
    tq_plane plane = {
        .x = r.x,
        .sums = r.sums,
        .row_step = stride * layer->pitch * sizeof *r.x,
        .columns = layer->output.width,
    };

    for (uint32_t channel = 0; channel < layer->output.channels; channel++) {
        start_plane(&r, channel, &plane);
        for (uint32_t first = 0; first < r.half; first += layer->tile) {
            const uint32_t left = r.half - first;
            plane.rows = left < layer->tile ? left : layer->tile;
            fill(&r, channel / layer->multiplier, first, plane.rows);
            layer->sum_plane(&plane);
            finish_rows(&r, channel, first, plane.rows);
        }
    }
}
