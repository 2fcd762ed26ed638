/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schedule: tiles of output rows; in each, groups of output channels; in each, the tile's
 * pixels two by two. An odd pixel at the end goes twice.
 */
#include <tinyq/conv2d_dsp.h>

#include <tinyq/conv2d_dsp_add.h>

#include <stddef.h>

#include "dsp_words.h"

/* A layer at work. */
typedef struct run {
    const tq_conv2d_dsp *layer;
    uint8_t *scratch;
    uint8_t *outputs;      /* first pixel of the tile */
    const uint8_t *others; /* to be added there, or NULL */
    uint32_t pixels;       /* of the tile */
    uint32_t first;        /* output channel of the group */
    uint32_t channels;     /* of the group */
    tq_dsp_blocks work;    /* the group's */
} run;

/* The window of the next output pixel. */
typedef struct cursor {
    const int16_t *row;
    const int16_t *window;
    uint32_t left; /* pixels of the row that follow */
} cursor;

static const int16_t *next_window(cursor *at, const tq_conv2d_dsp *layer) {
    const int16_t *const window = at->window;
    at->window += layer->col_step;
    if (--at->left == 0) {
        at->row += layer->row_step;
        at->window = at->row;
        at->left = layer->output.width;
    }
    return window;
}

/* A window's segments, side by side. */
static const int16_t *gather_window(const tq_conv2d_dsp *layer, const int16_t *window,
                                    uint8_t *to) {
    uint8_t *word = to;
    for (uint32_t left = layer->segments; left > 0; left--) {
        const uint8_t *from = (const uint8_t *)window;
        for (uint32_t words = layer->words; words > 0; words--) {
            store_word(word, tq_load32(from));
            word += 4;
            from += 4;
        }
        window += layer->row_pitch;
    }
    return (const int16_t *)(const void *)to;
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
static void finish_pair(const run *r, const int16_t *const *windows, const tq_dsp_pixels *pixels) {
    int32_t *const sums = (int32_t *)(void *)(r->scratch + r->layer->at_sums);
    for (uint32_t first = 0; first < r->work.blocks; first += TQ_DSP_CHUNK) {
        tq_dsp_blocks work = move_blocks(&r->work, first);
        const tq_dsp_pixels to = move_pixels(pixels, 4 * first);
        const uint32_t rest = r->channels - 4 * first;
        if (work.blocks > TQ_DSP_CHUNK) {
            work.blocks = TQ_DSP_CHUNK;
        }
        tq_dsp_sums(&work, windows[0], windows[1], sums);
        r->layer->finish(r->layer, work.starts, sums,
                         rest < 4 * work.blocks ? rest : 4 * work.blocks, &to);
    }
}

/* The last `count` channels of the group, 1..3: the pass writes four. */
static void pass_rest(const run *r, const int16_t *const *windows, const tq_dsp_pixels *pixels,
                      uint32_t count) {
    uint8_t outputs[2][4];
    uint8_t others[2][4] = {{0}, {0}};
    const tq_dsp_blocks work = move_blocks(&r->work, r->channels / 4);
    const tq_dsp_pixels to = move_pixels(pixels, r->channels - count);
    const tq_dsp_pixels copies = {.outputs = {outputs[0], outputs[1]},
                                  .others = {others[0], others[1]}};
    for (uint32_t i = 0; i < 2 && to.others[i] != NULL; i++) {
        memcpy(others[i], to.others[i], count);
    }
    r->layer->pass(&work, windows[0], windows[1], &copies);
    memcpy(to.outputs[0], outputs[0], count);
    memcpy(to.outputs[1], outputs[1], count);
}

/* Two output pixels, all channels of the group. */
static void run_pair(const run *r, const int16_t *const *windows, const tq_dsp_pixels *pixels) {
    if (r->layer->pass == NULL) {
        finish_pair(r, windows, pixels);
        return;
    }
    const uint32_t rest = r->channels % 4;
    if (rest == 0) {
        r->layer->pass(&r->work, windows[0], windows[1], pixels);
        return;
    }
    if (r->channels > 4) {
        tq_dsp_blocks whole = r->work;
        whole.blocks--;
        r->layer->pass(&whole, windows[0], windows[1], pixels);
    }
    pass_rest(r, windows, pixels, rest);
}

/* All pixels of the tile, all channels of the group. */
static void run_group(const run *r) {
    const tq_conv2d_dsp *const layer = r->layer;
    const uint32_t channels = layer->output.channels;
    const int16_t *const tile = (const int16_t *)(const void *)r->scratch;
    uint8_t *const copies = r->scratch + layer->at_windows;
    const uint32_t copy = 4U * layer->segments * layer->words;
    cursor at = {.row = tile, .window = tile, .left = layer->output.width};
    uint8_t *output = r->outputs + r->first;
    const uint8_t *other = r->others == NULL ? NULL : r->others + r->first;

    for (uint32_t left = r->pixels; left > 0;) {
        const uint32_t count = left > 1 ? 2 : 1;
        const uint32_t step = count == 2 ? channels : 0; /* from the first pixel to the second */
        const int16_t *windows[2];
        windows[0] = next_window(&at, layer);
        windows[1] = count == 2 ? next_window(&at, layer) : windows[0];
        if (layer->gathers) {
            windows[0] = gather_window(layer, windows[0], copies);
            windows[1] = gather_window(layer, windows[1], copies + copy);
        }
        tq_dsp_pixels pixels = {.outputs = {output, output + step}, .others = {NULL, NULL}};
        if (other != NULL) {
            pixels.others[0] = other;
            pixels.others[1] = other + step;
            other += (size_t)count * channels;
        }
        run_pair(r, windows, &pixels);
        output += (size_t)count * channels;
        left -= count;
    }
}

/* The group's weights as words: where they lie, or expanded. */
static const uint32_t *find_weights(const run *r, uint32_t block, int is_new) {
    const tq_conv2d_dsp *const layer = r->layer;
    const size_t pairs = (size_t)layer->segments * layer->words; /* of words, in a block */
    if (layer->expand == NULL) {
        return layer->weights + 2 * block * pairs;
    }
    uint32_t *const to = (uint32_t *)(void *)(r->scratch + layer->at_weights);
    if (is_new) {
        const void *const table = r->scratch + layer->at_table;
        layer->expand(layer->packed.codes + block * pairs * layer->bits,
                      (uint32_t)(r->work.blocks * pairs), table, to);
    }
    return to;
}

static void run_tile(run *r, int is_first) {
    const tq_conv2d_dsp *const layer = r->layer;
    const uint32_t channels = layer->output.channels;
    const uint32_t blocks = (channels + 3U) / 4U;
    const int is_whole = layer->group >= blocks; /* expanded once serves all tiles */
    for (uint32_t block = 0; block < blocks; block += layer->group) {
        const uint32_t left = blocks - block;
        r->work.blocks = left < layer->group ? left : layer->group;
        r->work.weights = find_weights(r, block, is_first || !is_whole);
        r->work.starts = layer->starts + TQ_DSP_STARTS * block;
        r->first = 4 * block;
        r->channels = channels - r->first;
        if (r->channels > 4 * r->work.blocks) {
            r->channels = 4 * r->work.blocks;
        }
        run_group(r);
    }
}

static void run_layer(run *r, const uint8_t *input) {
    const tq_conv2d_dsp *const layer = r->layer;
    const size_t row_bytes = (size_t)layer->output.width * layer->output.channels;
    const uint32_t height = layer->output.height;
    if (layer->expand != NULL) {
        tq_dsp_make_table(layer->packed.levels, layer->bits,
                          (uint16_t *)(void *)(r->scratch + layer->at_table));
    }
    r->work.segments = layer->gathers ? 1 : layer->segments;
    r->work.words = layer->gathers ? (uint32_t)layer->segments * layer->words : layer->words;
    r->work.pitch = 2U * layer->row_pitch;
    r->work.factors[0] = layer->add.y_raised;
    r->work.factors[1] = layer->add.other_raised;
    tq_dsp_prepare(&r->work);
    for (uint32_t y = 0; y < height; y += layer->tile_rows) {
        const uint32_t left = height - y;
        const uint32_t rows = left < layer->tile_rows ? left : layer->tile_rows;
        layer->fill(layer, input, y, rows, (int16_t *)(void *)r->scratch);
        r->pixels = rows * layer->output.width;
        run_tile(r, y == 0);
        r->outputs += rows * row_bytes;
        if (r->others != NULL) {
            r->others += rows * row_bytes;
        }
    }
}

void tq_run_conv2d_dsp(const tq_conv2d_dsp *layer, const void *input, void *output, void *scratch) {
    run r = {.layer = layer, .scratch = scratch, .outputs = output};
    run_layer(&r, input);
}

void tq_run_conv2d_dsp_add(const tq_conv2d_dsp_add *layer, const void *input, const void *other,
                           void *output, void *scratch) {
    run r = {.layer = layer, .scratch = scratch, .outputs = output, .others = other};
    run_layer(&r, input);
}
