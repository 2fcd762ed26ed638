/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows of pairs of pixels and words of a block of output channels meet in the scratch memory.
 * Elements of the two pixels are interleaved there, so that one address serves both whatever the
 * stride.
 */
#include <tinyq/conv2d_pairs.h>
#include <tinyq/dsp.h>

#include <stddef.h>

#include "inline.h"

/* A call in progress. */
typedef struct run {
    const tq_conv2d_pairs *layer;
    const uint8_t *input;
    uint8_t *output;
    uint32_t *words;
    int32_t *sums;
    int8_t *x;
    uint32_t elements;  /* of a window */
    uint32_t row;       /* HALVES: bytes of a row in x */
    uint32_t half;      /* HALVES: pairs of an output row */
    int points;         /* windows are single pixels, all of them, one after the other */
    uint32_t positions; /* tiles are counted in them: output rows or pairs */
} run;

/* --- windows -----------------------------------------------------------------------------------
 */

/* Elements of padding; as wide as a load. */
static const uint8_t zeros[4];

/* Where one pixel's elements come from: the image, or the padding without end. */
typedef struct source {
    const uint8_t *from;
    uint32_t moves; /* 1: the image, 0: padding */
} source;

/* count elements from the image, interleaved. */
static int8_t *interleave_bytes(int8_t *to, const uint8_t *a, const uint8_t *b, uint32_t count,
                                uint32_t flip) {
    const uint32_t flips = flip * 0x0101U;
    for (; count > 0; count--) {
        const uint16_t two = (uint16_t)((*a++ | (uint32_t)*b++ << 8) ^ flips);
        memcpy(to, &two, sizeof two);
        to += 2;
    }
    return to;
}

/* The same where one or both are padding. */
static int8_t *interleave_padding(int8_t *to, source a, source b, uint32_t count, uint32_t flip) {
    for (; count > 0; count--) {
        to[0] = (int8_t)(*a.from ^ flip);
        to[1] = (int8_t)(*b.from ^ flip);
        a.from += a.moves;
        b.from += b.moves;
        to += 2;
    }
    return to;
}

/* Whole words of image or padding, elements 1 and 2 of every four swapped. */
static int8_t *interleave_words(int8_t *to, source a, source b, uint32_t count, uint32_t flip) {
    const uint32_t even = 0x00FF00FFU;
    const uint32_t flips = flip * 0x01010101U;
    const uint32_t a_step = 4 * a.moves;
    const uint32_t b_step = 4 * b.moves;
    for (; count > 0; count -= 4) {
        const uint32_t first = tq_load32(a.from);
        const uint32_t second = tq_load32(b.from);
        const uint32_t low = ((first & even) | (second & even) << 8) ^ flips;
        const uint32_t high = ((first >> 8 & even) | (second & ~even)) ^ flips;
        memcpy(to, &low, sizeof low);
        memcpy(to + 4, &high, sizeof high);
        a.from += a_step;
        b.from += b_step;
        to += 8;
    }
    return to;
}

static int8_t *interleave_any(int8_t *to, source a, source b, uint32_t count, const run *r) {
    const uint32_t flip = r->layer->flip;
    if (r->layer->input.channels % 4 == 0) {
        return interleave_words(to, a, b, count, flip);
    }
    if (a.moves == 0 || b.moves == 0) {
        return interleave_padding(to, a, b, count, flip);
    }
    return interleave_bytes(to, a.from, b.from, count, flip);
}

/* Element `at` of row y of the image, or padding. */
static source source_at(const run *r, int32_t y, int32_t column) {
    const tq_shape *const in = &r->layer->input;
    source s = {zeros, 0};
    if (y >= 0 && y < in->height && column >= 0 && column < in->width) {
        s.from = r->input + (uint32_t)(y * in->width + column) * in->channels;
        s.moves = 1;
    }
    return s;
}

/* `columns` columns of the image or its padding, the one from (y, a), the other from (z, b). */
static int8_t *interleave_columns(const run *r, int8_t *to, int32_t y, int32_t a, int32_t z,
                                  int32_t b, uint32_t columns) {
    const int32_t width = r->layer->input.width;
    const uint32_t channels = r->layer->input.channels;
    const int32_t last = width - (int32_t)columns; /* all inside from columns 0..last on */

    if (a >= 0 && a <= last && b >= 0 && b <= last) {
        return interleave_any(to, source_at(r, y, a), source_at(r, z, b), columns * channels, r);
    }
    while (columns > 0) {
        const source first = source_at(r, y, a);
        const source second = source_at(r, z, b);
        /* Columns until one of the two enters or leaves the image. */
        uint32_t part = columns;
        const uint32_t a_room = (uint32_t)(a < 0 ? -a : a < width ? width - a : INT16_MAX);
        const uint32_t b_room = (uint32_t)(b < 0 ? -b : b < width ? width - b : INT16_MAX);
        part = a_room < part ? a_room : part;
        part = b_room < part ? b_room : part;
        to = interleave_any(to, first, second, part * channels, r);
        a += (int32_t)part;
        b += (int32_t)part;
        columns -= part;
    }
    return to;
}

/* HALVES: the rows of the image under output rows first..first+count-1. */
static void fill_rows(const run *r, uint32_t first, uint32_t count) {
    const tq_conv2d_pairs *const layer = r->layer;
    const tq_kernel *const kernel = &layer->kernel;
    const int32_t left = -(int32_t)kernel->left;
    const int32_t right = left + (int32_t)(r->half * kernel->col_stride);
    const uint32_t columns = (r->half - 1) * kernel->col_stride + kernel->width;
    const uint32_t rows = (count - 1) * kernel->row_stride + kernel->height;
    const int32_t top = (int32_t)(first * kernel->row_stride) - kernel->top;
    int8_t *to = r->x;

    for (uint32_t row = 0; row < rows; row++) {
        const int32_t y = top + (int32_t)row;
        to = interleave_columns(r, to, y, left, y, right, columns);
    }
}

/* Top left corner of a window. */
typedef struct corner {
    int32_t y;
    int32_t x;
} corner;

static corner corner_of(const run *r, uint32_t pixel) {
    const tq_conv2d_pairs *const layer = r->layer;
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t row = pixel / layer->output.width;
    const uint32_t column = pixel - row * layer->output.width;
    const corner at = {(int32_t)(row * kernel->row_stride) - kernel->top,
                       (int32_t)(column * kernel->col_stride) - kernel->left};
    return at;
}

/* Elements of one pixel of a pair; flip alone is padding. */
static int8_t *scatter_padding(int8_t *to, uint32_t count, uint32_t flip) {
    for (; count > 0; count--) {
        *to = (int8_t)flip;
        to += 2;
    }
    return to;
}

static int8_t *scatter_bytes(int8_t *to, const uint8_t *from, uint32_t count, uint32_t flip) {
    for (; count >= 4; count -= 4) {
        to[0] = (int8_t)(from[0] ^ flip);
        to[2] = (int8_t)(from[1] ^ flip);
        to[4] = (int8_t)(from[2] ^ flip);
        to[6] = (int8_t)(from[3] ^ flip);
        from += 4;
        to += 8;
    }
    for (; count > 0; count--) {
        *to = (int8_t)(*from++ ^ flip);
        to += 2;
    }
    return to;
}

/* The window of one pixel of a pair, whose first element lies at `to`. */
static void scatter_window(const run *r, int8_t *to, corner at) {
    const tq_conv2d_pairs *const layer = r->layer;
    const tq_shape *const in = &layer->input;
    const uint32_t channels = in->channels;
    const uint32_t flip = layer->flip;
    const int32_t right = at.x + layer->kernel.width;
    const int32_t begin = at.x < 0 ? 0 : at.x;
    const int32_t end = right < in->width ? right : in->width;
    const uint32_t inside = end > begin ? (uint32_t)(end - begin) * channels : 0;
    const uint32_t before = inside > 0 ? (uint32_t)(begin - at.x) * channels : 0;
    const uint32_t whole = layer->kernel.width * channels;

    for (uint32_t row = 0; row < layer->kernel.height; row++) {
        const int32_t y = at.y + (int32_t)row;
        if (y < 0 || y >= in->height || inside == 0) {
            to = scatter_padding(to, whole, flip);
        } else {
            const uint8_t *const from = r->input + (uint32_t)(y * in->width + begin) * channels;
            to = scatter_padding(to, before, flip);
            to = scatter_bytes(to, from, inside, flip);
            to = scatter_padding(to, whole - before - inside, flip);
        }
    }
}

/* WINDOWS: pairs first..first+count-1. A last pixel without a second is paired with itself. */
static void fill_windows(const run *r, uint32_t first, uint32_t count) {
    const tq_conv2d_pairs *const layer = r->layer;
    const uint32_t pixels = (uint32_t)layer->output.height * layer->output.width;
    const int apart = layer->input.channels % 4 != 0 && layer->kernel.width > 1;
    int8_t *to = r->x;

    if (r->points) {
        const uint8_t *from = r->input + 2 * first * r->elements;
        for (uint32_t pixel = 2 * first; pixel < 2 * (first + count); pixel += 2) {
            const source a = {from, 1};
            const source b = {pixel + 1 < pixels ? from + r->elements : from, 1};
            to = interleave_any(to, a, b, r->elements, r);
            from += 2 * r->elements;
        }
        return;
    }
    for (uint32_t pixel = 2 * first; pixel < 2 * (first + count); pixel += 2) {
        const corner a = corner_of(r, pixel);
        const corner b = pixel + 1 < pixels ? corner_of(r, pixel + 1) : a;
        if (apart) {
            scatter_window(r, to, a);
            scatter_window(r, to + 1, b);
            to += 2 * r->elements;
            continue;
        }
        for (int32_t row = 0; row < layer->kernel.height; row++) {
            to = interleave_columns(r, to, a.y + row, a.x, b.y + row, b.x, layer->kernel.width);
        }
    }
}

/* --- sums --------------------------------------------------------------------------------------
 */

/* Pairs of a block whose windows lie at x; the first pair's first pixel is number `pixel`. */
static void run_pairs(const run *r, uint32_t block, tq_pairs *pairs, uint32_t pixel, uint32_t step,
                      uint32_t second, uint32_t seconds) {
    const tq_conv2d_pairs *const layer = r->layer;
    const uint32_t channels = layer->output.channels;
    const uint32_t first = block * layer->block_channels;
    const uint32_t left = channels - first;
    tq_pair_outputs to = {
        .sums = r->sums,
        .count = seconds,
        .shift = layer->shift + first * layer->shift_step,
        .shift_step = layer->shift_step,
        .channels = left < layer->block_channels ? left : layer->block_channels,
        .outputs = r->output + pixel * channels + first,
        .step = step * channels,
        .second = second * channels,
        .lo = layer->lo,
        .hi = layer->hi,
    };

    layer->sum_pairs(pairs);
    layer->finish(&to);
    if (seconds < pairs->count) {
        to.sums += seconds * (layer->flushed ? 16U : 8U);
        to.outputs += seconds * to.step;
        to.count = 1;
        to.second = 0;
        layer->finish(&to);
    }
}

/* Output rows first..first+count-1. */
static void run_rows(const run *r, uint32_t block, tq_pairs *pairs, uint32_t first,
                     uint32_t count) {
    const tq_conv2d_pairs *const layer = r->layer;
    const uint32_t width = layer->output.width;
    pairs->x_step = 2U * layer->kernel.col_stride * layer->input.channels;
    for (uint32_t row = 0; row < count; row++) {
        const int8_t *const x = r->x + row * layer->kernel.row_stride * r->row;
        for (uint32_t done = 0; done < r->half; done += pairs->count) {
            const uint32_t left = r->half - done;
            const uint32_t seconds = width - r->half - done;
            pairs->count = left < layer->pairs ? left : layer->pairs;
            pairs->x = x + done * pairs->x_step;
            run_pairs(r, block, pairs, (first + row) * width + done, 1, r->half,
                      seconds < pairs->count ? seconds : pairs->count);
        }
    }
}

/* Pairs first..first+count-1. */
static void run_windows(const run *r, uint32_t block, tq_pairs *pairs, uint32_t first,
                        uint32_t count) {
    const tq_shape *const out = &r->layer->output;
    const uint32_t seconds = (uint32_t)out->height * out->width / 2 - first;
    pairs->x = r->x;
    pairs->x_step = 2 * r->elements;
    pairs->count = count;
    run_pairs(r, block, pairs, 2 * first, 2, 1, seconds < count ? seconds : count);
}

static void make_words(const run *r, uint32_t block) {
    const tq_conv2d_pairs *const layer = r->layer;
    const uint32_t first = block * layer->block_channels;
    const uint32_t left = layer->output.channels - first;
    const uint32_t count = left < layer->block_channels ? left : layer->block_channels;
    layer->make_words(&layer->weights, first, count, r->elements, r->words);
}

static void run_tile(const run *r, uint32_t block, uint32_t first, uint32_t count) {
    const tq_conv2d_pairs *const layer = r->layer;
    const uint16_t *const range = layer->run_first + (layer->block_runs ? block : 0);
    tq_pairs pairs = {
        .sums = r->sums,
        .words = r->words,
        .runs = layer->runs + 2U * range[0],
        .runs_end = layer->runs + 2U * range[1],
    };
    if (layer->flushed) {
        memcpy(pairs.start, layer->start + 8 * block, sizeof pairs.start);
    } else {
        memcpy(pairs.start, layer->start + 4 * block, sizeof pairs.start / 2);
        memcpy(pairs.start + 4, layer->start + 4 * block, sizeof pairs.start / 2);
    }
    if (layer->layout == TQ_PAIRS_HALVES) {
        run_rows(r, block, &pairs, first, count);
    } else {
        run_windows(r, block, &pairs, first, count);
    }
}

static void fill_tile(const run *r, uint32_t first, uint32_t count) {
    if (r->layer->layout == TQ_PAIRS_HALVES) {
        fill_rows(r, first, count);
    } else {
        fill_windows(r, first, count);
    }
}

/* Tile and block, whichever is outer; what is outer is prepared once. */
static void run_all(const run *r) {
    const tq_conv2d_pairs *const layer = r->layer;
    const uint32_t size = layer->block_channels;
    const uint32_t blocks = (layer->output.channels + size - 1) / size;
    const uint32_t tiles = (r->positions + layer->tile - 1U) / layer->tile;
    const uint32_t outer = layer->blocks_outer ? blocks : tiles;
    const uint32_t inner = layer->blocks_outer ? tiles : blocks;

    for (uint32_t i = 0; i < outer; i++) {
        for (uint32_t j = 0; j < inner; j++) {
            const uint32_t block = layer->blocks_outer ? i : j;
            const uint32_t first = (layer->blocks_outer ? j : i) * layer->tile;
            const uint32_t left = r->positions - first;
            const uint32_t count = left < layer->tile ? left : layer->tile;
            if (layer->blocks_outer ? j == 0 : 1) {
                make_words(r, block);
            }
            if (layer->blocks_outer ? tiles > 1 || i == 0 : j == 0) {
                fill_tile(r, first, count);
            }
            run_tile(r, block, first, count);
        }
    }
}

void tq_run_conv2d_pairs(const tq_conv2d_pairs *layer, const void *input, void *output,
                         void *scratch) {
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t width = layer->output.width;
    const uint32_t channels = layer->input.channels;
    run r = {
        .layer = layer,
        .input = input,
        .output = output,
        .words = scratch,
        .elements = (uint32_t)kernel->height * kernel->width * channels,
        .half = (width + 1) / 2,
        .positions = layer->output.height,
    };
    if (layer->layout == TQ_PAIRS_WINDOWS) {
        r.positions = (layer->output.height * width + 1) / 2;
    }
    r.points = r.elements == channels && kernel->row_stride == 1 && kernel->col_stride == 1 &&
               layer->output.height == layer->input.height && width == layer->input.width;
    r.row = 2 * ((r.half - 1) * kernel->col_stride + kernel->width) * channels;
    r.sums = (int32_t *)(r.words + TQ_PAIR_WORDS * r.elements);
    r.x = (int8_t *)(r.sums + layer->pairs * (layer->flushed ? 16U : 8U));
    run_all(&r);
}
