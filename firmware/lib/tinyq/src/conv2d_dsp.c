/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schedule: groups of output channels, for each its weights; tiles of output pixels, for each
 * what it needs of the input; its pixels two by two. An odd one at the end goes twice.
 */
#include <tinyq/conv2d_dsp.h>

#include <tinyq/conv2d_dsp_add.h>

#include <stddef.h>

#include "dsp_words.h"

/* A layer at work. */
typedef struct run {
    const tq_conv2d_dsp *layer;
    const uint8_t *input;
    uint8_t *output;
    const uint8_t *other; /* to be added, or NULL */
    uint8_t *scratch;
    uint32_t first;      /* output channel of the group */
    uint32_t channels;   /* of the group */
    tq_dsp_blocks work;  /* the group's */
    tq_dsp_blocks whole; /* those of four channels */
} run;

TQ_INLINE uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

/* The next output pixel of an area: its window in the tile, its bytes from the output's start. */
typedef struct cursor {
    const int16_t *window;
    uint32_t at;
    uint32_t left; /* columns of the row, this one included */
    uint32_t cols;
    int32_t col_step, row_step; /* of window; row_step: after a row's last column, besides */
    uint32_t channels, row_gap; /* of at, likewise */
} cursor;

static cursor start_area(const run *r, const tq_dsp_area *area) {
    const tq_conv2d_dsp *const layer = r->layer;
    const uint32_t channels = layer->output.channels;
    const uint32_t width = layer->output.width;
    const cursor at = {
        .window = (const int16_t *)(const void *)r->scratch,
        .at = (area->top * width + area->left) * channels + r->first,
        .left = area->cols,
        .cols = area->cols,
        .col_step = layer->col_step,
        .row_step = layer->row_step - (int32_t)area->cols * layer->col_step,
        .channels = channels,
        .row_gap = (width - area->cols) * channels,
    };
    return at;
}

TQ_INLINE void advance(cursor *at) {
    at->window += at->col_step;
    at->at += at->channels;
    if (--at->left == 0) {
        at->window += at->row_step;
        at->at += at->row_gap;
        at->left = at->cols;
    }
}

/* A window's segments, side by side. Their loops cost more than the copies where they are short. */
static const int16_t *gather_window(const tq_conv2d_dsp *layer, const int16_t *window,
                                    uint8_t *to) {
    const uint32_t pitch = layer->row_pitch;
    const uint32_t words = layer->words;
    uint8_t *word = to;
    for (uint32_t left = layer->segments; left > 0; left--, window += pitch) {
        if (words == 2) {
            const uint32_t first = tq_load32(window);
            const uint32_t second = tq_load32(window + 2);
            store_word(word, first);
            store_word(word + 4, second);
            word += 8;
            continue;
        }
        for (uint32_t i = 0; i < words; i++, word += 4) {
            store_word(word, tq_load32(window + 2 * i));
        }
    }
    return (const int16_t *)(const void *)to;
}

/* A few: no call of memcpy. */
TQ_INLINE void copy_bytes(uint8_t *to, const uint8_t *from, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        to[i] = from[i];
    }
}

/* `pixels`, `by` channels further. */
static tq_dsp_pixels move_pixels(const tq_dsp_pixels *pixels, uint32_t by) {
    tq_dsp_pixels moved = *pixels;
    for (uint32_t i = 0; i < 2; i++) {
        moved.outputs[i] += by;
        moved.others[i] = moved.others[i] == NULL ? NULL : moved.others[i] + by;
    }
    return moved;
}

/* Blocks first.. of the group. */
static tq_dsp_blocks move_blocks(const tq_dsp_blocks *work, uint32_t first) {
    tq_dsp_blocks moved = *work;
    moved.weights += (size_t)first * work->segments * work->words * 2;
    moved.starts += first * TQ_DSP_STARTS;
    moved.blocks -= first;
    return moved;
}

/* All channels of the group, through their sums. */
static void finish_pair(const run *r, const int16_t *first_window, const int16_t *second_window,
                        const tq_dsp_pixels *pixels) {
    int32_t *const sums = (int32_t *)(void *)(r->scratch + r->layer->at_sums);
    for (uint32_t first = 0; first < r->work.blocks; first += TQ_DSP_CHUNK) {
        tq_dsp_blocks work = move_blocks(&r->work, first);
        const tq_dsp_pixels to = move_pixels(pixels, 4 * first);
        work.blocks = least(work.blocks, TQ_DSP_CHUNK);
        tq_dsp_sums(&work, first_window, second_window, sums);
        r->layer->finish(r->layer, work.starts, sums,
                         least(r->channels - 4 * first, 4 * work.blocks), &to);
    }
}

/* The last 1..3 channels of the group: the pass writes four. */
static void pass_rest(const run *r, const int16_t *first, const int16_t *second,
                      const tq_dsp_pixels *pixels) {
    uint8_t outputs[2][4];
    uint8_t others[2][4] = {{0}, {0}};
    const uint32_t count = r->channels % 4;
    const tq_dsp_blocks work = move_blocks(&r->work, r->channels / 4);
    const tq_dsp_pixels to = move_pixels(pixels, r->channels - count);
    const tq_dsp_pixels copies = {.outputs = {outputs[0], outputs[1]},
                                  .others = {others[0], others[1]}};
    for (uint32_t i = 0; i < 2 && to.others[i] != NULL; i++) {
        copy_bytes(others[i], to.others[i], count);
    }
    r->layer->pass(&work, first, second, &copies);
    copy_bytes(to.outputs[0], outputs[0], count);
    copy_bytes(to.outputs[1], outputs[1], count);
}

/* Two output pixels, all channels of the group. */
static void run_pair(const run *r, const int16_t *first, const int16_t *second,
                     const tq_dsp_pixels *pixels) {
    const tq_conv2d_dsp *const layer = r->layer;
    if (layer->gathers) {
        uint8_t *const copies = r->scratch + layer->at_windows;
        first = gather_window(layer, first, copies);
        second = gather_window(layer, second, copies + 4 * r->work.words);
    }
    if (layer->pass == NULL) {
        finish_pair(r, first, second, pixels);
        return;
    }
    if (r->whole.blocks > 0) {
        layer->pass(&r->whole, first, second, pixels);
    }
    if (r->channels % 4 != 0) {
        pass_rest(r, first, second, pixels);
    }
}

/* All pixels of an area, all channels of the group; an odd one at the end goes twice. */
static void run_area(const run *r, const tq_dsp_area *area) {
    const uint8_t *const other = r->other;
    cursor at = start_area(r, area);
    for (uint32_t left = area->rows * area->cols; left > 0;) {
        tq_dsp_pixels pixels;
        const int16_t *const first = at.window;
        pixels.outputs[0] = r->output + at.at;
        pixels.others[0] = other == NULL ? NULL : other + at.at;
        if (--left > 0) {
            advance(&at);
            left--;
        }
        const int16_t *const second = at.window;
        pixels.outputs[1] = r->output + at.at;
        pixels.others[1] = other == NULL ? NULL : other + at.at;
        advance(&at);
        run_pair(r, first, second, &pixels);
    }
}

/* The group's weights as words: where they lie, or expanded. */
static const uint32_t *find_weights(const run *r, uint32_t block) {
    const tq_conv2d_dsp *const layer = r->layer;
    const size_t pairs = (size_t)layer->segments * layer->words; /* of words, in a block */
    if (layer->expand == NULL) {
        return layer->weights + 2 * block * pairs;
    }
    uint16_t *const table = (uint16_t *)(void *)(r->scratch + layer->at_table);
    uint32_t *const to = (uint32_t *)(void *)(r->scratch + layer->at_weights);
    tq_dsp_make_table(layer->packed.levels, layer->bits, table);
    layer->expand(layer->packed.codes + block * pairs * layer->bits,
                  (uint32_t)(r->work.blocks * pairs), table, to);
    return to;
}

/* Blocks from `block` on. */
static void start_group(run *r, uint32_t block, uint32_t blocks) {
    const uint32_t channels = r->layer->output.channels;
    r->work.blocks = blocks;
    r->work.weights = find_weights(r, block);
    r->work.starts = r->layer->starts + TQ_DSP_STARTS * block;
    r->first = 4 * block;
    r->channels = least(channels - r->first, 4 * blocks);
    r->whole = r->work;
    r->whole.blocks = r->channels / 4;
}

/* All tiles. The only one, if it is, is filled for the first group. */
static void run_group(const run *r) {
    const tq_conv2d_dsp *const layer = r->layer;
    const tq_shape output = layer->output;
    const int is_one = layer->tile_rows >= output.height && layer->tile_cols >= output.width;
    tq_dsp_area area;
    for (area.top = 0; area.top < output.height; area.top += area.rows) {
        area.rows = least(layer->tile_rows, output.height - area.top);
        for (area.left = 0; area.left < output.width; area.left += area.cols) {
            area.cols = least(layer->tile_cols, output.width - area.left);
            if (!is_one || r->first == 0) {
                layer->fill(layer, r->input, &area, (int16_t *)(void *)r->scratch);
            }
            run_area(r, &area);
        }
    }
}

static void run_layer(run *r) {
    const tq_conv2d_dsp *const layer = r->layer;
    const uint32_t blocks = (layer->output.channels + 3U) / 4U;
    r->work.segments = layer->gathers ? 1 : layer->segments;
    r->work.words = layer->gathers ? (uint32_t)layer->segments * layer->words : layer->words;
    r->work.pitch = 2U * layer->row_pitch;
    r->work.factors[0] = layer->add.y_raised;
    r->work.factors[1] = layer->add.other_raised;
    tq_dsp_prepare(&r->work);
    for (uint32_t block = 0; block < blocks; block += layer->group) {
        start_group(r, block, least(layer->group, blocks - block));
        run_group(r);
    }
}

void tq_run_conv2d_dsp(const tq_conv2d_dsp *layer, const void *input, void *output, void *scratch) {
    run r = {.layer = layer, .input = input, .output = output, .scratch = scratch};
    run_layer(&r);
}

void tq_run_conv2d_dsp_add(const tq_conv2d_dsp_add *layer, const void *input, const void *other,
                           void *output, void *scratch) {
    run r = {.layer = layer, .input = input, .output = output, .other = other, .scratch = scratch};
    run_layer(&r);
}
