/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output pixels are taken in groups of four, in the order of the output: the windows of a group
 * become two words a step (pixels 0 and 1, 2 and 3), for a tile of groups once for all output
 * channels.
 */
#include <tinyq/conv2d_nibbles.h>

#include <string.h>

#include "packed_sums.h"
#include "window.h"

enum {
    GROUP = 4,     /* output pixels */
    SPLIT = 12,    /* bits of the lower pixel's sum */
    CENTER = 2048, /* what it starts with, so that it is never negative */
};
/* Nibble 0 of both lanes. */
#define NIBBLES 0x000F000FU

typedef struct tile {
    const tq_conv2d_nibbles *layer;
    uint32_t *x;
    uint32_t *w;
    uint32_t *sums;
    uint8_t *rows;    /* four rows of windows that leave the image */
    uint32_t flip;    /* bits of a word of x to turn over */
    uint32_t x_words; /* of a group */
    uint32_t first;   /* pixel of the tile */
    window next;      /* of the first pixel that is not packed yet */
    uint32_t column;  /* of that pixel */
    tq_sum_plan plan;
} tile;

#if !TQ_HAS_DSP
void tq_sum_pairs(const uint32_t *x, const uint32_t *w, uint32_t *sums, const tq_sum_plan *plan) {
    for (uint32_t place = 0; place < plan->places; place++) {
        const uint32_t *xs = x + place * plan->x_bytes / sizeof *x;
        const uint32_t *ws = w;
        for (uint32_t s = 0; s < plan->segment_count; s++, sums += RAW) {
            for (uint32_t i = 0; i < RAW; i++) {
                sums[i] = CENTER;
            }
            for (uint32_t step = 0; step < plan->segments[s]; step++, xs += 2, ws += BLOCK) {
                for (uint32_t i = 0; i < RAW; i++) {
                    sums[i] = tq_smlad(xs[i / BLOCK], ws[i % BLOCK], sums[i]);
                }
            }
        }
    }
}
#endif

/* Lanes of nibble 0 of the bytes 0 and 2 of two pixels. */
TQ_INLINE uint32_t join_pixels(uint32_t lower, uint32_t upper, uint32_t flip) {
    return ((lower & NIBBLES) | (upper & NIBBLES) << SPLIT) ^ flip;
}

/* Two steps from four elements of every pixel. */
TQ_INLINE void join_elements(const uint32_t pixels[GROUP], uint32_t flip, uint32_t to[4]) {
    to[0] = join_pixels(pixels[0], pixels[1], flip);
    to[1] = join_pixels(pixels[2], pixels[3], flip);
    to[2] = join_pixels(pixels[0] >> 8, pixels[1] >> 8, flip);
    to[3] = join_pixels(pixels[2] >> 8, pixels[3] >> 8, flip);
}

/* The last 1..3 bytes of a row, filled up with 0. */
static uint32_t load_tail(const uint8_t *from, uint32_t count) {
    uint32_t word = 0;
    for (uint32_t i = 0; i < count; i++) {
        word |= (uint32_t)from[i] << 8U * i;
    }
    return word;
}

/* One row of four windows. */
static uint32_t *join_rows(const uint8_t *const from[GROUP], uint32_t count, uint32_t flip,
                           uint32_t *to) {
    const uint8_t *p0 = from[0];
    const uint8_t *p1 = from[1];
    const uint8_t *p2 = from[2];
    const uint8_t *p3 = from[3];
    for (uint32_t left = count / 4U; left > 0; left--) {
        const uint32_t pixels[GROUP] = {tq_load32(p0), tq_load32(p1), tq_load32(p2), tq_load32(p3)};
        join_elements(pixels, flip, to);
        p0 += 4;
        p1 += 4;
        p2 += 4;
        p3 += 4;
        to += 4;
    }
    const uint32_t tail = count % 4U;
    if (tail > 0) {
        const uint32_t pixels[GROUP] = {load_tail(p0, tail), load_tail(p1, tail),
                                        load_tail(p2, tail), load_tail(p3, tail)};
        join_elements(pixels, flip, to);
        to += 4;
    }
    return to;
}

/* A row of a window: in the image, or with its padding in `room`. */
static const uint8_t *find_row(const window *w, int32_t row, uint8_t *room) {
    const int32_t y = w->top + row;
    const int32_t end = w->left + (int32_t)w->row_elements;
    if (y >= 0 && y < w->height && w->left >= 0 && end <= w->width) {
        return w->image + y * w->width + w->left;
    }
    gather_row(w, (uint32_t)row, 0, w->row_elements, room);
    return room;
}

/* The windows of the next `count` pixels, 1..GROUP; the last stands in for those that are not. */
static void next_windows(tile *t, uint32_t count, window windows[GROUP]) {
    const tq_conv2d_nibbles *const layer = t->layer;
    const int32_t channels = layer->input.channels;
    for (uint32_t i = 0; i < GROUP; i++) {
        if (i >= count) {
            windows[i] = windows[i - 1];
            continue;
        }
        windows[i] = t->next;
        t->next.left += layer->kernel.col_stride * channels;
        if (++t->column == layer->output.width) {
            t->column = 0;
            t->next.left = -(int32_t)layer->kernel.left * channels;
            t->next.top += layer->kernel.row_stride;
        }
    }
}

static void pack_group(tile *t, uint32_t count, uint32_t *to) {
    const uint32_t elements = t->next.row_elements;
    window windows[GROUP];
    next_windows(t, count, windows);
    for (int32_t row = 0; row < t->layer->kernel.height; row++) {
        const uint8_t *from[GROUP];
        for (uint32_t i = 0; i < GROUP; i++) {
            from[i] = find_row(&windows[i], row, t->rows + i * elements);
        }
        to = join_rows(from, elements, t->flip, to);
    }
}

/* The words of a block of channels; steps beyond the stored ones get zeros. */
static const uint32_t *expand(const tile *t, const uint32_t *codes) {
    const uint32_t row_steps = (t->next.row_elements + 3U) / 4U * 2U;
    const uint32_t minus8 = 0xFFF8FFF8U;
    uint32_t *w = t->w;
    for (uint32_t left = row_steps * t->layer->kernel.height; left > 0; left--, w += BLOCK) {
        const uint32_t word = *codes++;
        w[0] = tq_sadd16(word & NIBBLES, minus8);
        w[1] = tq_sadd16(word >> 4 & NIBBLES, minus8);
        w[2] = tq_sadd16(word >> 8 & NIBBLES, minus8);
        w[3] = tq_sadd16(word >> 12 & NIBBLES, minus8);
    }
    memset(w, 0, (size_t)((uint8_t *)t->sums - (uint8_t *)w));
    return codes;
}

/* Four pixels of a channel; raw: of its first pair of pixels. */
TQ_INLINE void add_lanes(const uint32_t *raw, uint32_t segments, uint32_t sums[GROUP]) {
    for (; segments > 0; segments--, raw += RAW) {
        const uint32_t pairs[2] = {raw[0], raw[BLOCK]};
        for (uint32_t i = 0; i < 2; i++) {
            sums[2 * i] += pairs[i] & ((1U << SPLIT) - 1U);
            sums[2 * i + 1] += (uint32_t)((int32_t)pairs[i] >> SPLIT);
        }
    }
}

/* `pixels` outputs of one channel. */
TQ_INLINE void finish_pixels(const tile *t, const finish *f, finish_kind kind, int32_t offset,
                             const uint32_t *raw, uint32_t pixels, uint8_t *outputs) {
    const uint32_t segments = t->plan.segment_count;
    const uint32_t stride = t->layer->output.channels;
    const int is_signed = t->layer->is_signed;
    const uint32_t lower =
        (uint32_t)f->start - CENTER * segments - (uint32_t)(is_signed ? offset : 0);
    const uint32_t upper = (uint32_t)f->start + (uint32_t)(is_signed ? 0 : offset);

    for (; pixels >= GROUP; pixels -= GROUP, raw += segments * RAW) {
        uint32_t sums[GROUP] = {lower, upper, lower, upper};
        add_lanes(raw, segments, sums);
        for (uint32_t i = 0; i < GROUP; i++, outputs += stride) {
            *outputs = finish_sum(f, kind, (int32_t)sums[i]);
        }
    }
    if (pixels > 0) {
        uint32_t sums[GROUP] = {lower, upper, lower, upper};
        add_lanes(raw, segments, sums);
        for (uint32_t i = 0; i < pixels; i++, outputs += stride) {
            *outputs = finish_sum(f, kind, (int32_t)sums[i]);
        }
    }
}

static void finish_block(const tile *t, uint32_t first, uint32_t pixels, uint8_t *outputs) {
    const tq_conv2d_nibbles *const layer = t->layer;
    const uint32_t left = layer->output.channels - first;
    const uint32_t count = left < BLOCK ? left : BLOCK;
    outputs += t->first * layer->output.channels + first;
    for (uint32_t i = 0; i < count; i++) {
        const finish f = finish_of(&layer->requant, first + i);
        const finish_kind kind = kind_of(&f);
        const int32_t offset = layer->offsets[first + i];
        if (kind == FINISH_UINT4) {
            finish_pixels(t, &f, FINISH_UINT4, offset, t->sums + i, pixels, outputs + i);
        } else if (kind == FINISH_INT4) {
            finish_pixels(t, &f, FINISH_INT4, offset, t->sums + i, pixels, outputs + i);
        } else {
            finish_pixels(t, &f, FINISH_ANY, offset, t->sums + i, pixels, outputs + i);
        }
    }
}

static tile make_tile(const tq_conv2d_nibbles *layer, const void *input, void *scratch) {
    uint32_t steps = 0;
    for (uint32_t s = 0; s < layer->segment_count; s++) {
        steps += layer->segments[s];
    }
    tile t = {.layer = layer, .x = scratch, .x_words = 2U * steps};
    t.w = t.x + t.x_words * layer->tile;
    t.sums = t.w + BLOCK * steps;
    t.rows = (uint8_t *)(t.sums + layer->tile * RAW * layer->segment_count);
    t.flip = layer->is_signed ? 0x00080008U : 0x80008000U;
    t.next = first_window(input, &layer->input, &layer->kernel);
    t.plan.segments = layer->segments;
    t.plan.segment_count = layer->segment_count;
    t.plan.x_bytes = t.x_words * (uint32_t)sizeof *t.x;
    return t;
}

static void run_tile(tile *t, uint32_t pixels, uint8_t *outputs) {
    const tq_conv2d_nibbles *const layer = t->layer;
    const uint32_t *codes = layer->codes;
    t->plan.places = (pixels + GROUP - 1U) / GROUP;
    for (uint32_t i = 0; i < t->plan.places; i++) {
        const uint32_t left = pixels - GROUP * i;
        pack_group(t, left < GROUP ? left : GROUP, t->x + i * t->x_words);
    }
    for (uint32_t first = 0; first < layer->output.channels; first += BLOCK) {
        codes = expand(t, codes);
        tq_sum_pairs(t->x, t->w, t->sums, &t->plan);
        finish_block(t, first, pixels, outputs);
    }
    t->first += pixels;
}

void tq_run_conv2d_nibbles(const tq_conv2d_nibbles *layer, const void *input, void *output,
                           void *scratch) {
    const uint32_t pixels = (uint32_t)layer->output.height * layer->output.width;
    const uint32_t most = GROUP * layer->tile;
    tile t = make_tile(layer, input, scratch);
    while (t.first < pixels) {
        const uint32_t left = pixels - t.first;
        run_tile(&t, left < most ? left : most, output);
    }
}
