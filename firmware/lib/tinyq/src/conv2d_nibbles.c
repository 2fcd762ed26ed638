/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output pixels are taken in groups of four, in the order of the output: the windows of a group
 * become two words a step (pixels 0 and 1, 2 and 3), for a tile of groups once for all output
 * channels.
 */
#include <tinyq/conv2d_nibbles.h>

#include "packed_sums.h"
#include "window.h"

enum {
    GROUP = 4,  /* output pixels */
    SPLIT = 12, /* bits of the lower pixel's sum, which starts at PAIR_CENTER: never negative */
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
    int32_t step;     /* elements between neighbouring windows */
    int32_t left;     /* of the first window of a row */
    tq_sum_plan plan;
} tile;

#if !TQ_HAS_DSP
/* One word of x and one channel. */
static void sum_pairs(const uint32_t *x, const uint32_t *w, const tq_sum_plan *plan,
                      uint32_t *sums) {
    const uint32_t mask = (1U << SPLIT) - 1U;
    uint32_t acc = PAIR_CENTER;
    uint32_t lower = 0;
    for (uint32_t s = 0; s < plan->segment_count; s++) {
        for (uint32_t step = 0; step < plan->segments[s]; step++, x += 2, w += BLOCK) {
            acc = tq_smlad(*x, *w, acc);
        }
        lower += acc & mask;
        acc = (acc & ~mask) + PAIR_CENTER;
    }
    sums[0] = lower;
    sums[BLOCK] = (uint32_t)((int32_t)acc >> SPLIT);
}

void tq_sum_packed(const uint32_t *x, const uint32_t *w, uint32_t *sums, const tq_sum_plan *plan) {
    for (uint32_t place = 0; place < plan->places; place++, sums += GROUP * BLOCK) {
        const uint32_t *const xs = x + place * (plan->x_bytes / sizeof *x);
        for (uint32_t i = 0; i < BLOCK; i++) {
            sum_pairs(xs, w + i, plan, sums + i);
            sum_pairs(xs + 1, w + i, plan, sums + 2 * BLOCK + i);
        }
    }
}
#endif

/* How elements become lanes. */
typedef struct lane_form {
    uint32_t nibbles; /* NIBBLES */
    uint32_t flip;    /* bits of a word of x to turn over */
} lane_form;

/* Lanes of nibble 0 of the bytes 0 and 2 of two pixels. */
TQ_INLINE uint32_t join_pixels(lane_form form, uint32_t lower, uint32_t upper) {
    return ((lower & form.nibbles) | (upper & form.nibbles) << SPLIT) ^ form.flip;
}

/* Two steps from four elements of every pixel. */
TQ_INLINE void join_elements(lane_form form, const uint32_t pixels[GROUP], uint32_t to[4]) {
    to[0] = join_pixels(form, pixels[0], pixels[1]);
    to[1] = join_pixels(form, pixels[2], pixels[3]);
    to[2] = join_pixels(form, pixels[0] >> 8, pixels[1] >> 8);
    to[3] = join_pixels(form, pixels[2] >> 8, pixels[3] >> 8);
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
static NOINLINE uint32_t *join_rows(const uint8_t *const from[GROUP], uint32_t count, uint32_t flip,
                                    uint32_t *to) {
    const lane_form form = {in_register(NIBBLES), flip};
    const uint8_t *p0 = from[0];
    const uint8_t *p1 = from[1];
    const uint8_t *p2 = from[2];
    const uint8_t *p3 = from[3];
    for (const uint8_t *const end = p0 + (count & ~3U); p0 != end; to += 4) {
        const uint32_t pixels[GROUP] = {tq_load32(p0), tq_load32(p1), tq_load32(p2), tq_load32(p3)};
        join_elements(form, pixels, to);
        p0 += 4;
        p1 += 4;
        p2 += 4;
        p3 += 4;
    }
    const uint32_t tail = count % 4U;
    if (tail > 0) {
        const uint32_t pixels[GROUP] = {load_tail(p0, tail), load_tail(p1, tail),
                                        load_tail(p2, tail), load_tail(p3, tail)};
        join_elements(form, pixels, to);
        to += 4;
    }
    return to;
}

/* A row of a window: in the image, or with its padding in `room`. */
TQ_INLINE const uint8_t *find_row(const window *w, int32_t row, uint8_t *room) {
    const int32_t y = w->top + row;
    const int32_t end = w->left + (int32_t)w->row_elements;
    if (y >= 0 && y < w->height && w->left >= 0 && end <= w->width) {
        return w->image + y * w->width + w->left;
    }
    gather_row(w, (uint32_t)row, 0, w->row_elements, room);
    return room;
}

/* On to the window of the next pixel. */
TQ_INLINE void advance(tile *t) {
    t->next.left += t->step;
    if (++t->column == t->layer->output.width) {
        t->column = 0;
        t->next.left = t->left;
        t->next.top += t->layer->kernel.row_stride;
    }
}

/* The windows of the next `count` pixels, 1..GROUP; the last stands in for those that are not. */
static void pack_group(tile *t, uint32_t count, uint32_t *to) {
    const uint32_t elements = t->next.row_elements;
    window windows[GROUP];
    for (uint32_t i = 0; i < GROUP; i++) {
        windows[i] = t->next;
        if (i + 1U < count) {
            advance(t);
        }
    }
    advance(t);
    for (int32_t row = 0; row < t->layer->kernel.height; row++) {
        const uint8_t *const from[GROUP] = {
            find_row(&windows[0], row, t->rows),
            find_row(&windows[1], row, t->rows + elements),
            find_row(&windows[2], row, t->rows + 2U * elements),
            find_row(&windows[3], row, t->rows + 3U * elements),
        };
        to = join_rows(from, elements, t->flip, to);
    }
}

/* The words of `count` steps of a block of channels; returns the next codes. */
static NOINLINE const uint32_t *expand_steps(const uint32_t *codes, uint32_t count, uint32_t *w) {
    const uint32_t minus8 = in_register(0xFFF8FFF8U);
    const uint32_t nibbles = in_register(NIBBLES);
    for (const uint32_t *const end = codes + count; codes != end; w += BLOCK) {
        const uint32_t word = *codes++;
        w[0] = tq_sadd16(word & nibbles, minus8);
        w[1] = tq_sadd16(word >> 4 & nibbles, minus8);
        w[2] = tq_sadd16(word >> 8 & nibbles, minus8);
        w[3] = tq_sadd16(word >> 12 & nibbles, minus8);
    }
    return codes;
}

/* The words of a block of channels; steps beyond the stored ones get zeros. */
static const uint32_t *expand(const tile *t, const uint32_t *codes) {
    const uint32_t row_steps = (t->next.row_elements + 3U) / 4U * 2U;
    const uint32_t stored = row_steps * t->layer->kernel.height;
    clear_words(t->w + BLOCK * stored, BLOCK * (t->layer->steps - stored));
    return expand_steps(codes, stored, t->w);
}

static void finish_block(const tile *t, uint32_t first, uint32_t pixels, uint8_t *outputs) {
    const tq_conv2d_nibbles *const layer = t->layer;
    const uint32_t channels = layer->output.channels;
    const uint32_t count = channels - first < BLOCK ? channels - first : BLOCK;
    outputs += t->first * channels + first;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t offset = (uint32_t)layer->offsets[first + i];
        tq_finish f = tq_finish_of(&layer->requant, first + i);
        f.even -= PAIR_CENTER * t->plan.segment_count + (layer->is_signed ? offset : 0U);
        f.odd += layer->is_signed ? 0U : offset;
        f.run(&f, t->sums + i, pixels, channels, outputs + i);
    }
}

static tile make_tile(const tq_conv2d_nibbles *layer, const void *input, void *scratch) {
    tile t = {.layer = layer, .x = scratch, .x_words = 2U * layer->steps};
    t.w = t.x + t.x_words * layer->tile;
    t.sums = t.w + BLOCK * layer->steps;
    t.rows = (uint8_t *)(t.sums + layer->tile * GROUP * BLOCK);
    t.flip = layer->is_signed ? 0x00080008U : 0x80008000U;
    t.next = first_window(input, &layer->input, &layer->kernel);
    t.step = layer->kernel.col_stride * layer->input.channels;
    t.left = t.next.left;
    t.plan.x_bytes = t.x_words * (uint32_t)sizeof *t.x;
    return t;
}

static void run_tile(tile *t, uint32_t pixels, uint8_t *outputs) {
    const tq_conv2d_nibbles *const layer = t->layer;
    const uint16_t *segments = layer->segments;
    const uint32_t *codes = layer->codes;
    t->plan.places = (pixels + GROUP - 1U) / GROUP;
    for (uint32_t i = 0; i < t->plan.places; i++) {
        const uint32_t left = pixels - GROUP * i;
        pack_group(t, left < GROUP ? left : GROUP, t->x + i * t->x_words);
    }
    for (uint32_t first = 0; first < layer->output.channels; first += BLOCK) {
        segments = set_segments(&t->plan, segments, layer->steps);
        codes = expand(t, codes);
        tq_sum_packed(t->x, t->w, t->sums, &t->plan);
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
