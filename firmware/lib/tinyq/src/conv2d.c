/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window of each output pixel is a vector that is multiplied with every output channel. Where
 * its elements do not lie side by side in the image they are gathered on the stack, padding
 * included, GATHER at a time.
 */
#include <tinyq/conv2d.h>

#include <stddef.h>

#include "window.h"

enum { GATHER = 256 }; /* bytes; a multiple of 8, as tq_segment.code wants it */

/* The window's elements where they lie side by side in the image and none is padding, else NULL. */
static const uint8_t *find_in_place(const window *w, int32_t rows) {
    const int32_t row_elements = (int32_t)w->row_elements;
    const int is_inside = w->top >= 0 && w->top + rows <= w->height && w->left >= 0 &&
                          w->left + row_elements <= w->width;
    if (is_inside && (rows == 1 || row_elements == w->width)) {
        return w->image + w->top * w->width + w->left;
    }
    return NULL;
}

/* The part of the window that its rows above and below the image leave. Rows above are skipped only
 * where that ends at a code that a segment can start with. */
static tq_segment clip_rows(const window *w, int32_t rows) {
    tq_segment part = {.code = 0, .length = w->elements};
    if (w->top + rows > w->height) {
        rows = w->height > w->top ? w->height - w->top : 0;
        part.length = (uint32_t)rows * w->row_elements;
    }
    if (w->top < 0 && w->row_elements % 8U == 0) {
        const int32_t above = -w->top < rows ? -w->top : rows;
        part.code = (uint32_t)above * w->row_elements;
        part.length -= part.code;
    }
    return part;
}

/* More elements than can be gathered at once. */
static void run_long_segment(const tq_conv2d *layer, const window *w, const tq_segment *whole,
                             uint8_t *buffer, uint8_t *outputs) {
    const uint32_t channels = layer->output.channels;
    const uint32_t end = whole->code + whole->length;
    int32_t sums[TQ_CHANNEL_CHUNK];

    for (uint32_t first = 0; first < channels; first += TQ_CHANNEL_CHUNK) {
        const uint32_t left = channels - first;
        const uint32_t count = left < TQ_CHANNEL_CHUNK ? left : TQ_CHANNEL_CHUNK;
        tq_segment part = {.x = buffer, .code = whole->code, .length = GATHER};
        tq_start_sums(&layer->requant, first, count, sums);
        for (; part.code < end; part.code += GATHER) {
            part.length = end - part.code < GATHER ? end - part.code : GATHER;
            gather(w, part.code, part.length, buffer);
            layer->dot(&layer->weights, &part, first, count, sums);
        }
        tq_requantize(&layer->requant, first, count, sums, outputs + first);
    }
}

static void run_window(const tq_conv2d *layer, const window *w, uint8_t *outputs) {
    uint8_t buffer[GATHER];
    tq_segment segment = {.x = find_in_place(w, layer->kernel.height), .length = w->elements};
    if (segment.x == NULL) {
        segment = clip_rows(w, layer->kernel.height);
        if (segment.length > GATHER) {
            run_long_segment(layer, w, &segment, buffer, outputs);
            return;
        }
        gather(w, segment.code, segment.length, buffer);
        segment.x = buffer;
    }
    tq_run_segment(&layer->weights, &layer->requant, layer->dot, &segment, layer->output.channels,
                   outputs);
}

void tq_run_conv2d(const tq_conv2d *layer, const void *input, void *output) {
    const tq_kernel *const kernel = &layer->kernel;
    const int32_t channels = layer->input.channels;
    uint8_t *outputs = output;
    window w = first_window(input, &layer->input, kernel);
    const int32_t left = w.left;
    for (uint32_t y = 0; y < layer->output.height; y++, w.top += kernel->row_stride) {
        w.left = left;
        for (uint32_t x = 0; x < layer->output.width; x++) {
            run_window(layer, &w, outputs);
            outputs += layer->output.channels;
            w.left += kernel->col_stride * channels;
        }
    }
}
