/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tile of output rows -> block of output channels -> part of the kernel -> pixels: the weights of a
 * part are expanded once for all pixels of a tile, whose sums lie in the scratch memory. Windows
 * are read where they lie; at the image's borders they are clipped.
 */
#include <tinyq/conv2d_m0.h>

#include <stddef.h>

typedef struct tile {
    const uint8_t *input;
    const int8_t *table;
    uint32_t *words;
    uint32_t *sums;
    uint32_t row;    /* first output row */
    uint32_t rows;   /* output rows */
    uint32_t pixels; /* rows * output.width */
} tile;

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
static void add_starts(const tq_run_m0 *run, uint32_t pixels) {
    uint32_t *sums = run->sums;
    for (; run->start != NULL && pixels > 0; pixels--) {
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t low = ((run->start[i] & 0xFFFFU) ^ 0x8000U) - 0x8000U;
            *sums++ += low;
            *sums++ += (uint32_t)((int32_t)(run->start[i] - low) >> 16);
        }
    }
}

/* `pixels` windows from column x on of an output row; `run` holds what all of the row share. */
static void run_columns(const tq_conv2d_m0 *layer, const tq_part_m0 *part, tq_run_m0 run,
                        uint32_t x, uint32_t pixels) {
    const uint32_t channels = layer->input.channels;
    const int32_t begin = (int32_t)(x * layer->kernel.col_stride + part->col) - layer->kernel.left;
    const tq_span cols = clip(begin, part->cols, layer->input.width);
    const uint32_t absent = part->cols - cols.count;
    run.sums += x * layer->block;
    if (cols.count == 0) {
        add_starts(&run, pixels);
        return;
    }
    run.x += cols.image * channels;
    run.words += cols.kernel * part->channels * 4U;
    run.pixels = pixels;
    run.length -= absent * part->channels;
    run.x_skip += absent * channels;
    run.word_skip = absent * part->channels * 4U;
    layer->dot(&run);
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

/* Adds a part's products to the sums of all pixels of a tile. start: of lanes. */
static void run_part(const tq_conv2d_m0 *layer, const tq_part_m0 *part, const tile *t,
                     const uint32_t *start) {
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t channels = layer->input.channels;
    const uint32_t pitch = layer->input.width * channels;
    const uint32_t width = layer->output.width;
    const uint32_t length = (uint32_t)part->cols * part->channels;
    const column_span inner = find_inner(layer, part);
    const int one_run = is_one_run(layer, part, inner);
    const uint32_t rows = one_run ? 1 : t->rows;
    tq_run_m0 run = {
        .sums = t->sums,
        .start = start,
        .x_step = kernel->col_stride * channels,
        .length = length,
        .x_skip = pitch - length,
    };
    for (uint32_t y = 0; y < rows; y++, run.sums += width * layer->block) {
        const int32_t begin =
            (int32_t)((t->row + y) * kernel->row_stride + part->row) - kernel->top;
        const tq_span span = clip(begin, part->rows, layer->input.height);
        if (span.count == 0) {
            add_starts(&run, width);
            continue;
        }
        run.rows = span.count;
        run.x = t->input + span.image * pitch + part->channel;
        run.words = t->words + span.kernel * length * 4U;
        for (uint32_t x = 0; x < inner.first; x++) {
            run_columns(layer, part, run, x, 1);
        }
        if (inner.end > inner.first) {
            const uint32_t pixels = one_run ? t->pixels : inner.end - inner.first;
            run_columns(layer, part, run, inner.first, pixels);
        }
        for (uint32_t x = inner.end; x < width; x++) {
            run_columns(layer, part, run, x, 1);
        }
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

static void requantize(const tq_conv2d_m0 *layer, const tile *t, uint32_t first, uint32_t count,
                       uint8_t *output) {
    const uint32_t channels = layer->output.channels;
    uint8_t *const outputs = output + t->row * layer->output.width * channels + first;
    for (uint32_t i = 0; i < count; i++) {
        tq_column_m0 column = tq_column_of(&layer->requant, first + i);
        column.sums = t->sums + i;
        column.sum_step = layer->block;
        column.outputs = outputs + i;
        column.output_step = channels;
        column.count = t->pixels;
        tq_run_column(&layer->requant, &column);
    }
}

static void run_tile(const tq_conv2d_m0 *layer, const tile *t, uint8_t *output) {
    const uint32_t channels = layer->output.channels;
    const uint8_t *codes = layer->codes;
    const uint32_t *lanes = layer->lanes;
    for (uint32_t first = 0; first < channels; first += layer->block) {
        const uint32_t left = channels - first;
        start_sums(layer->requant.start + first, layer->block, t->pixels, t->sums);
        for (uint32_t i = 0; i < layer->part_count; i++) {
            const tq_part_m0 part = part_at(layer, i);
            const uint32_t taps = (uint32_t)part.rows * part.cols * part.channels;
            layer->expand(codes, t->table, taps * 4U, t->words);
            run_part(layer, &part, t, lanes);
            codes += part.bytes;
            lanes += lanes != NULL ? 4 : 0;
        }
        requantize(layer, t, first, left < layer->block ? left : layer->block, output);
    }
}

void tq_run_conv2d_m0(const tq_conv2d_m0 *layer, const void *input, void *output, void *scratch) {
    const uint32_t height = layer->output.height;
    uint32_t *words = scratch;
    tile t = {.input = input, .table = layer->table};
    if (layer->has_pairs) {
        tq_pairs_m0(layer->table, scratch);
        t.table = scratch;
        words += TQ_PAIRS_M0_BYTES / sizeof *words;
    }
    t.words = words;
    t.sums = words + layer->word_count;
    for (; t.row < height; t.row += layer->tile_rows) {
        const uint32_t left = height - t.row;
        t.rows = left < layer->tile_rows ? left : layer->tile_rows;
        t.pixels = t.rows * layer->output.width;
        run_tile(layer, &t, output);
    }
}
