/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tile of output pixels at a time. Every column of the image under the tile's windows is copied
 * to scratch as one string of bytes, kernel.height rows deep; kernel.width of these strings, side
 * by side, are a window. So neighbouring windows share what they have in common, and each is one
 * contiguous vector, padding included.
 */
#include <tinyq/conv2d_mve.h>

#include <stddef.h>

#include "conv2d_mve_parts.h"

/* What is the same for all tiles. */
typedef struct plan {
    const tq_conv2d_mve *layer;
    uint8_t *weights;   /* expanded weights of one block */
    uint8_t *tile;      /* columns */
    uint32_t elements;  /* of a window */
    uint32_t vectors;   /* of a window */
    uint32_t column;    /* bytes of a column in scratch */
    uint32_t row_bytes; /* from one of the tile's rows to the next, in scratch */
    columns form;       /* how columns are copied */
} plan;

/* Some output pixels. */
typedef struct tile {
    uint32_t row;
    uint32_t col;
    uint32_t rows;
    uint32_t cols;
} tile;

static uint32_t smaller(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

/* Columns in scratch under `cols` output columns. */
static uint32_t columns_under(const tq_conv2d_mve *layer, uint32_t cols) {
    return (cols - 1) * layer->kernel.col_stride / layer->col_step + layer->kernel.width;
}

/* Short columns that lie side by side are copied several at a time: byte i of a vector goes to
 * offset i of these. */
static void set_form(plan *p) {
    const tq_conv2d_mve *const layer = p->layer;
    columns *const form = &p->form;
    form->to_step = p->column;
    form->from_step = layer->col_step * layer->in_col;
    form->bytes = layer->input.channels;
    form->flip = layer->flip;
    form->together = TQ_MVE_BYTES / form->bytes;
    const uint32_t last = (TQ_MVE_BYTES - 1) / form->bytes * form->to_step + form->bytes;
    if (form->from_step != form->bytes || form->together < 2 || last > 256) {
        form->together = 0;
        return;
    }
    for (uint32_t i = 0; i < TQ_MVE_BYTES; i++) {
        form->offsets[i] = (uint8_t)(i / form->bytes * form->to_step + i % form->bytes);
    }
}

static plan make_plan(const tq_conv2d_mve *layer, uint8_t *scratch) {
    const uint32_t column = (uint32_t)layer->kernel.height * layer->input.channels;
    const uint32_t elements = layer->kernel.width * column;
    const uint32_t vectors = (elements + TQ_MVE_BYTES - 1) / TQ_MVE_BYTES;
    const uint32_t weight_bytes = vectors * TQ_MVE_CHANNELS * TQ_MVE_BYTES;
    plan p = {
        .layer = layer,
        .weights = scratch,
        .tile = layer->expand != NULL ? scratch + weight_bytes : scratch,
        .elements = elements,
        .vectors = vectors,
        .column = column,
        .row_bytes = columns_under(layer, layer->tile_cols) * column,
    };
    set_form(&p);
    return p;
}

/* The columns under row `row` of a tile, to `to`. */
static void copy_row(const plan *p, const uint8_t *image, uint32_t row, uint32_t col, uint32_t cols,
                     uint8_t *to) {
    const tq_conv2d_mve *const layer = p->layer;
    const uint32_t channels = layer->input.channels;
    const uint32_t count = columns_under(layer, cols);
    const tq_span rows = tq_clip_rows(&layer->kernel, &layer->input, row);
    tq_span span = {col * layer->kernel.col_stride, 0, count};
    if (layer->col_step == 1) {
        span =
            tq_clip(col, layer->kernel.col_stride, layer->kernel.left, count, layer->input.width);
    }
    if (rows.count < layer->kernel.height || span.count < count) {
        tq_mve_fill(to, layer->flip, count * p->column);
    }
    if (span.count == 0) {
        return;
    }
    columns form = p->form;
    if (form.to_step == channels && form.from_step == channels) { /* one long column */
        form.bytes *= span.count;
        form.together = 0;
        span.count = 1;
    }
    to += span.kernel * p->column + rows.kernel * channels;
    image += rows.image * layer->in_row + span.image * layer->in_col;
    for (uint32_t i = 0; i < rows.count; i++) {
        tq_mve_copy_columns(&form, to, image, span.count);
        to += channels;
        image += layer->in_row;
    }
}

/* One block's channels in the pixels of a tile. output: of the tile's first pixel. */
static void run_block(const plan *p, const tile *t, const tq_mve_block *block, uint8_t *output) {
    const tq_conv2d_mve *const layer = p->layer;
    tq_mve_pixels pixels = {
        .vectors = p->vectors,
        .step = layer->kernel.col_stride / layer->col_step * p->column,
        .channels = layer->out_col,
        .count = t->cols & ~1U,
        .lo = layer->requant.lo,
        .hi = layer->requant.hi,
    };
    const uint8_t *x = p->tile;
    for (uint32_t i = 0; i < t->rows; i++) {
        if (t->cols > 1) {
            layer->dot(&pixels, block, x, output);
        }
        if (t->cols % 2 != 0) { /* a pair of the last pixel and itself */
            tq_mve_pixels last = pixels;
            last.count = 2;
            last.step = 0;
            last.channels = 0;
            layer->dot(&last, block, x + pixels.count * pixels.step,
                       output + pixels.count * layer->out_col);
        }
        x += p->row_bytes;
        output += layer->out_row;
    }
}

/* output: of the tile's first pixel. */
static void run_tile(const plan *p, const tile *t, uint8_t *output) {
    const tq_conv2d_mve *const layer = p->layer;
    const uint32_t channels = layer->output.channels;
    const uint8_t *codes = layer->codes;
    tq_mve_block block = {
        .bias = layer->requant.bias,
        .shift = layer->requant.shift,
        .nudge = layer->requant.nudge,
    };
    for (uint32_t first = 0; first < channels; first += TQ_MVE_CHANNELS) {
        block.codes = codes;
        block.count = smaller(TQ_MVE_CHANNELS, channels - first);
        if (layer->expand != NULL) {
            layer->expand(codes, layer->table, p->weights, p->elements);
            block.codes = p->weights;
        }
        run_block(p, t, &block, output + first);
        codes += layer->block_bytes;
        block.bias += TQ_MVE_CHANNELS;
        block.shift += TQ_MVE_CHANNELS;
        if (block.nudge != NULL) {
            block.nudge += TQ_MVE_CHANNELS;
        }
    }
}

void tq_mve_run_tiles(const tq_conv2d_mve *layer, const void *input, uint8_t *output,
                      uint8_t *scratch, const tile_sink *sink) {
    const plan p = make_plan(layer, scratch);
    const tq_shape *const shape = &layer->output;
    tile t = {0, 0, 0, 0};
    for (; t.row < shape->height; t.row += t.rows) {
        t.rows = smaller(layer->tile_rows, shape->height - t.row);
        for (t.col = 0; t.col < shape->width; t.col += t.cols) {
            t.cols = smaller(layer->tile_cols, shape->width - t.col);
            uint8_t *to = p.tile;
            for (uint32_t i = 0; i < t.rows; i++, to += p.row_bytes) {
                copy_row(&p, input, t.row + i, t.col, t.cols, to);
            }
            const uint32_t offset = t.row * layer->out_row + t.col * layer->out_col;
            run_tile(&p, &t, sink != NULL ? sink->first : output + offset);
            if (sink != NULL) {
                sink->finish(sink, offset, t.rows * t.cols * layer->out_col);
            }
        }
    }
}

void tq_run_conv2d_mve(const tq_conv2d_mve *layer, const void *input, void *output, void *scratch) {
    tq_mve_run_tiles(layer, input, output, scratch, NULL);
}
