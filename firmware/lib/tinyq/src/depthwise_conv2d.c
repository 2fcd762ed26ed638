/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Some channels at a time: their weights are decoded once, onto the stack, for the whole image, so
 * that every encoding runs at the speed of int8.
 */
#include <tinyq/depthwise_conv2d.h>

enum { IMAGES = 2 * TQ_DEPTHWISE_MAX_TAPS }; /* bytes for decoded weights */

/* All positions of output channels first..first+count-1. images: [kernel row][kernel
 * column][count]. */
static void run_channels(const tq_depthwise_conv2d *layer, uint32_t first, uint32_t count,
                         const int8_t *images, const uint8_t *input, uint8_t *output) {
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t channels = layer->input.channels;
    int32_t sums[TQ_CHANNEL_CHUNK];
    tq_taps taps = {
        .x_row_step = layer->input.width * channels,
        .x_col_step = channels,
        .row_step = kernel->width * count,
        .col_step = count,
        .multiplier = layer->multiplier,
        .phase = first % layer->multiplier,
    };
    input += first / layer->multiplier;
    output += first;

    for (uint32_t y = 0; y < layer->output.height; y++) {
        const tq_span rows = tq_clip_rows(kernel, &layer->input, y);
        taps.rows = rows.count;
        for (uint32_t x = 0; x < layer->output.width; x++) {
            const tq_span cols = tq_clip_cols(kernel, &layer->input, x);
            taps.cols = cols.count;
            taps.x = input + rows.image * taps.x_row_step + cols.image * channels;
            taps.images = images + rows.kernel * taps.row_step + cols.kernel * count;
            tq_start_sums(&layer->requant, first, count, sums);
            layer->sum_taps(&taps, count, sums);
            tq_requantize(&layer->requant, first, count, sums, output);
            output += layer->output.channels;
        }
    }
}

void tq_run_depthwise_conv2d(const tq_depthwise_conv2d *layer, const void *input, void *output) {
    const uint32_t channels = layer->output.channels;
    const uint32_t taps = (uint32_t)layer->kernel.height * layer->kernel.width;
    const uint32_t fitting = IMAGES / taps;
    const uint32_t chunk = fitting < TQ_CHANNEL_CHUNK ? fitting : TQ_CHANNEL_CHUNK;
    int8_t images[IMAGES];

    for (uint32_t first = 0; first < channels; first += chunk) {
        const uint32_t left = channels - first;
        const uint32_t count = left < chunk ? left : chunk;
        for (uint32_t i = 0; i < count; i++) {
            layer->unpack(&layer->weights, first + i, taps, images + i, count);
        }
        run_channels(layer, first, count, images, input, output);
    }
}
