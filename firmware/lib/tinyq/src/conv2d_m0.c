/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tile of output rows -> block of output channels -> part of the kernel -> pixels: the weights of a
 * part are expanded once for all pixels of a tile, whose sums lie in the scratch memory. Windows
 * are read where they lie; at the image's borders they are clipped. Narrow ones, whose rows are
 * short and which many output channels read, are gathered for a tile.
 */
#include <tinyq/conv2d_m0.h>

#include <stddef.h>

typedef struct tile {
    const uint8_t *input;
    const int8_t *table;
    uint32_t *words;
    uint32_t *sums;
    uint8_t *windows; /* [pixels][gathered] */
    uint32_t row;     /* first output row */
    uint32_t rows;    /* output rows */
    uint32_t pixels;  /* rows * output.width */
    uint8_t *outputs; /* where the tile begins */
} tile;

/* A block of output channels. */
typedef struct block {
    const uint32_t *lanes; /* starts of the current part; NULL: plain */
    uint32_t first;        /* output channel */
    uint32_t count;        /* output channels that exist */
    uint8_t shift[8];
    int is_whole; /* windows are finished in one run */
} block;

/* Columns whose windows need no clipping: first..end-1. */
typedef struct column_span {
    uint32_t first;
    uint32_t end;
} column_span;

static tq_part_m0 part_at(const tq_conv2d_m0 *layer, uint32_t index) {
    const uint16_t *const n = layer->parts + index * TQ_PART_M0_NUMBERS;
    const tq_part_m0 part = {n[0], n[1], n[2], n[3], n[4], n[5], n[6]};
    return part;
}

/* Clips `count` taps from `begin` on to an image of `size`; begin may be negative. */
static tq_span clip(int32_t begin, uint32_t count, uint32_t size) {
    const int32_t end = begin + (int32_t)count;
    const int32_t first = begin < 0 ? 0 : begin;
    const int32_t last = end < (int32_t)size ? end : (int32_t)size;
    tq_span span = {(uint32_t)first, (uint32_t)(first - begin), 0};
    if (last > first) {
        span.count = (uint32_t)(last - first);
    }
    return span;
}

static column_span find_inner(const tq_conv2d_m0 *layer, const tq_part_m0 *part) {
    const uint32_t width = layer->output.width;
    const int32_t stride = layer->kernel.col_stride;
    const int32_t last = (int32_t)layer->input.width - part->cols;
    int32_t begin = (int32_t)part->col - layer->kernel.left;
    column_span inner = {0, 0};
    for (; begin < 0 && inner.first < width; begin += stride) {
        inner.first++;
    }
    inner.end = inner.first;
    for (; begin <= last && inner.end < width; begin += stride) {
        inner.end++;
    }
    return inner;
}

/* What a part leaves in the sums of windows that lie wholly in the padding: where its lanes start.
 */
static void add_starts(const uint32_t *start, uint32_t pixels, uint32_t *sums) {
    for (; start != NULL && pixels > 0; pixels--) {
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t low = ((start[i] & 0xFFFFU) ^ 0x8000U) - 0x8000U;
            *sums++ += low;
            *sums++ += (uint32_t)((int32_t)(start[i] - low) >> 16);
        }
    }
}

/* Windows that lie wholly in the padding. */
static void skip_windows(const tq_conv2d_m0 *layer, const tq_run_m0 *run, const block *b,
                         uint32_t pixels) {
    uint32_t sums[8];
    uint8_t *outputs = run->outputs;
    if (!b->is_whole) {
        add_starts(run->start, pixels, run->sums);
        return;
    }
    for (uint32_t i = 0; i < layer->block; i++) {
        sums[i] = (uint32_t)run->base[i];
    }
    add_starts(run->start, 1, sums);
    for (; pixels > 0; pixels--, outputs += run->output_step) {
        tq_requantize_m0_row(&layer->requant, b->first, b->count, sums, outputs);
    }
}

/* What the windows of one output row share, before columns are clipped. */
typedef struct window_row {
    const uint8_t *x; /* the part's first element in image column 0 */
    const uint32_t *words;
    uint32_t *sums;   /* of output column 0 */
    uint8_t *outputs; /* likewise */
} window_row;

/* `pixels` windows from column x on of an output row. */
static void run_columns(const tq_conv2d_m0 *layer, const tq_part_m0 *part, const block *b,
                        const window_row *row, tq_run_m0 *run, uint32_t x, uint32_t pixels) {
    const uint32_t channels = layer->input.channels;
    const int32_t begin = (int32_t)(x * layer->kernel.col_stride + part->col) - layer->kernel.left;
    const tq_span cols = clip(begin, part->cols, layer->input.width);
    const uint32_t absent = (part->cols - cols.count) * part->channels;
    run->sums = row->sums + x * layer->block;
    run->outputs = row->outputs + x * run->output_step;
    if (cols.count == 0) {
        skip_windows(layer, run, b, pixels);
        return;
    }
    run->x = row->x + cols.image * channels;
    run->words = row->words + cols.kernel * part->channels * 4U;
    run->pixels = pixels;
    run->length = cols.count * part->channels;
    run->x_skip = layer->input.width * channels - run->length;
    run->word_skip = absent * 4U;
    if (b->is_whole) {
        layer->whole(run);
    } else {
        layer->dot(run);
    }
}

/* All windows of an output row. `pixels`: of those that need no clipping. */
static void run_row(const tq_conv2d_m0 *layer, const tq_part_m0 *part, const block *b,
                    const window_row *row, tq_run_m0 *run, column_span inner, uint32_t pixels) {
    for (uint32_t x = 0; x < inner.first; x++) {
        run_columns(layer, part, b, row, run, x, 1);
    }
    if (pixels > 0) {
        run_columns(layer, part, b, row, run, inner.first, pixels);
    }
    for (uint32_t x = inner.end; x < layer->output.width; x++) {
        run_columns(layer, part, b, row, run, x, 1);
    }
}

/* Whether all windows of the image are whole and follow each other at one distance. */
static int is_one_run(const tq_conv2d_m0 *layer, const tq_part_m0 *part, column_span inner) {
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t width = layer->output.width;
    const uint32_t last = (layer->output.height - 1U) * kernel->row_stride;
    return inner.first == 0 && inner.end == width && kernel->top == 0 &&
           last + part->row + part->rows <= layer->input.height &&
           (uint32_t)kernel->row_stride * layer->input.width == kernel->col_stride * width;
}

/* Row `row` of the kernel at `count` elements from element `begin` on of an image's row, which may
 * be negative; NULL: a row of padding. */
static uint8_t *gather_row(const tq_conv2d_m0 *layer, const uint8_t *row, int32_t begin,
                           uint32_t count, uint8_t *to) {
    const uint32_t width = (uint32_t)layer->input.width * layer->input.channels;
    for (int32_t i = begin; i < begin + (int32_t)count; i++) {
        const int is_inside = row != NULL && (uint32_t)i < width;
        *to++ = (uint8_t)((is_inside ? row[i] : 0U) ^ layer->flip);
    }
    return to;
}

/* The windows of all pixels of a tile, padding included. */
static void gather_windows(const tq_conv2d_m0 *layer, const tile *t) {
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t channels = layer->input.channels;
    const uint32_t pitch = layer->input.width * channels;
    uint8_t *to = t->windows;
    int32_t top = (int32_t)(t->row * kernel->row_stride) - kernel->top;
    for (uint32_t y = 0; y < t->rows; y++, top += kernel->row_stride) {
        int32_t left = -(int32_t)(kernel->left * channels);
        for (uint32_t x = 0; x < layer->output.width; x++) {
            for (int32_t i = top; i < top + kernel->height; i++) {
                const uint8_t *const row =
                    (uint32_t)i < layer->input.height ? t->input + (uint32_t)i * pitch : NULL;
                to = gather_row(layer, row, left, kernel->width * channels, to);
            }
            left += (int32_t)(kernel->col_stride * channels);
        }
    }
}

/* All gathered windows of a tile. */
static void run_gathered(const tq_conv2d_m0 *layer, const tile *t, const block *b) {
    const tq_run_m0 run = {
        .x = t->windows,
        .words = t->words,
        .sums = t->sums,
        .start = b->lanes,
        .pixels = t->pixels,
        .x_step = layer->gathered,
        .rows = 1,
        .length = layer->gathered,
        .outputs = t->outputs + b->first,
        .output_step = layer->output.channels,
        .base = layer->requant.start + b->first,
        .shift = b->shift,
        .span = layer->requant.hi - layer->requant.lo,
        .lo = layer->requant.lo,
    };
    if (b->is_whole) {
        layer->whole(&run);
    } else {
        layer->dot(&run);
    }
}

/* Adds a part's products to the sums of all pixels of a tile, or finishes them. */
static void run_part(const tq_conv2d_m0 *layer, const tq_part_m0 *part, const tile *t,
                     const block *b) {
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t channels = layer->input.channels;
    const uint32_t width = layer->output.width;
    const column_span inner = find_inner(layer, part);
    const int one_run = is_one_run(layer, part, inner);
    const uint32_t rows = one_run ? 1 : t->rows;
    const uint32_t pixels = one_run ? t->pixels : inner.end - inner.first;
    tq_run_m0 run = {
        .start = b->lanes,
        .x_step = kernel->col_stride * channels,
        .output_step = layer->output.channels,
        .base = layer->requant.start + b->first,
        .shift = b->shift,
        .span = layer->requant.hi - layer->requant.lo,
        .lo = layer->requant.lo,
    };
    window_row row = {.sums = t->sums, .outputs = t->outputs + b->first};
    for (uint32_t y = 0; y < rows; y++) {
        const uint32_t top = (t->row + y) * kernel->row_stride + part->row;
        const tq_span span = clip((int32_t)top - kernel->top, part->rows, layer->input.height);
        row.x = t->input + span.image * layer->input.width * channels + part->channel;
        row.words = t->words + span.kernel * part->cols * part->channels * 4U;
        run.rows = span.count;
        if (span.count > 0) {
            run_row(layer, part, b, &row, &run, inner, pixels);
        } else {
            run.sums = row.sums;
            run.outputs = row.outputs;
            skip_windows(layer, &run, b, width);
        }
        row.sums += width * layer->block;
        row.outputs += width * layer->output.channels;
    }
}

static void start_sums(const int32_t *start, uint32_t block, uint32_t pixels, uint32_t *sums) {
    for (; pixels > 0; pixels--) {
        for (uint32_t i = 0; i < block; i += 4) {
            *sums++ = (uint32_t)start[i];
            *sums++ = (uint32_t)start[i + 1];
            *sums++ = (uint32_t)start[i + 2];
            *sums++ = (uint32_t)start[i + 3];
        }
    }
}

static void requantize(const tq_conv2d_m0 *layer, const tile *t, const block *b) {
    for (uint32_t i = 0; i < b->count; i++) {
        tq_column_m0 column = tq_column_of(&layer->requant, b->first + i);
        column.sums = t->sums + i;
        column.sum_step = layer->block;
        column.outputs = t->outputs + b->first + i;
        column.output_step = layer->output.channels;
        column.count = t->pixels;
        tq_run_column(&layer->requant, &column);
    }
}

static block block_at(const tq_conv2d_m0 *layer, uint32_t first, const uint32_t *lanes) {
    const tq_requant_m0 *const requant = &layer->requant;
    const uint32_t left = layer->output.channels - first;
    block b = {.lanes = lanes, .first = first};
    b.count = left < layer->block ? left : layer->block;
    b.is_whole = layer->whole != NULL && b.count == layer->block;
    for (uint32_t i = 0; i < b.count; i++) {
        b.shift[i] = requant->shift[(first + i) * requant->shift_step];
    }
    return b;
}

static void run_tile(const tq_conv2d_m0 *layer, const tile *t) {
    const uint8_t *codes = layer->codes;
    const uint32_t *lanes = layer->lanes;
    if (layer->gathered > 0) {
        gather_windows(layer, t);
    }
    for (uint32_t first = 0; first < layer->output.channels; first += layer->block) {
        block b = block_at(layer, first, lanes);
        if (!b.is_whole) {
            start_sums(layer->requant.start + first, layer->block, t->pixels, t->sums);
        }
        for (uint32_t i = 0; i < layer->part_count; i++) {
            const tq_part_m0 part = part_at(layer, i);
            const uint32_t taps = (uint32_t)part.rows * part.cols * part.channels;
            layer->expand(codes, t->table, taps * 4U, t->words);
            if (layer->gathered > 0) {
                run_gathered(layer, t, &b);
            } else {
                run_part(layer, &part, t, &b);
            }
            codes += part.bytes;
            lanes += lanes != NULL ? 4 : 0;
            b.lanes = lanes;
        }
        if (!b.is_whole) {
            requantize(layer, t, &b);
        }
    }
}

void tq_run_conv2d_m0(const tq_conv2d_m0 *layer, const void *input, void *output, void *scratch) {
    const uint32_t height = layer->output.height;
    uint32_t *words = scratch;
    tile t = {.input = input, .table = layer->table, .outputs = output};
    if (layer->has_pairs) {
        tq_pairs_m0(layer->table, scratch);
        t.table = scratch;
        words += TQ_PAIRS_M0_BYTES / sizeof *words;
    }
    t.words = words;
    t.sums = words + layer->word_count;
    t.windows = (uint8_t *)scratch + layer->windows_offset;
    for (; t.row < height; t.row += layer->tile_rows) {
        const uint32_t left = height - t.row;
        t.rows = left < layer->tile_rows ? left : layer->tile_rows;
        t.pixels = t.rows * layer->output.width;
        run_tile(layer, &t);
        t.outputs += t.pixels * layer->output.channels;
    }
}
