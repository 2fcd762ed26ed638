/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x = x0 + x1 L + x2 L^2 for the pixels 3m, 3m+1, 3m+2 of a row and w = w2 + w1 L + w0 L^2 for the
 * taps of a kernel's row, L = 2^13: the coefficient of L^t in x * w belongs to the output at
 * 3m - 1 + t, t = 0..4. Words of neighbouring m overlap in two outputs, which their sums add.
 *
 * Rows of a tile are packed once for all output channels. For each word of a row its words of all
 * rows and channels lie side by side, so that the steps of one output row follow each other:
 * x[m][row][channel].
 */
#include <tinyq/conv2d_smlal.h>

#include <string.h>

#include "packed_sums.h"

enum {
    LANE = 13,
    /* What a lane starts with, so that its field is never negative. */
    CENTER = 4096,
    TOP_CENTER = 2048, /* of the topmost, 12 bits wide */
    /* They as the start of an accumulator, whose fifth lane starts at bit 52. */
    START_LOW = CENTER + (CENTER << LANE),
    LANES = 5
};
#define START_HIGH (UINT32_C(1) << 6 | UINT32_C(1) << 19 | UINT32_C(1) << 31)

typedef struct tile {
    const tq_conv2d_smlal *layer;
    const uint8_t *input;
    const uint8_t *zeros; /* [channels] */
    uint32_t *x;
    uint32_t *w;
    uint32_t *sums;
    uint32_t skip; /* outputs of a row before the first: 1, or 2 without padding on the left */
    tq_sum_plan plan;
} tile;

#if !TQ_HAS_DSP
void tq_sum_triples(const uint32_t *x, const uint32_t *w, uint32_t *sums, const tq_sum_plan *plan) {
    for (uint32_t place = 0; place < plan->places; place++) {
        const uint32_t *xs = x + place * plan->x_bytes / sizeof *x;
        const uint32_t *ws = w;
        for (uint32_t s = 0; s < plan->segment_count; s++) {
            int64_t acc[BLOCK];
            for (uint32_t i = 0; i < BLOCK; i++) {
                acc[i] = (int64_t)((uint64_t)START_HIGH << 32 | (uint32_t)START_LOW);
            }
            for (uint32_t step = 0; step < plan->segments[s]; step++, xs++) {
                for (uint32_t i = 0; i < BLOCK; i++) {
                    acc[i] = tq_smlal((int32_t)*xs, (int32_t)*ws++, acc[i]);
                }
            }
            for (uint32_t i = 0; i < BLOCK; i++) {
                *sums++ = (uint32_t)acc[i];
                *sums++ = (uint32_t)((uint64_t)acc[i] >> 32);
            }
        }
    }
}
#endif

/* Three values of 4 bits in one word. */
TQ_INLINE uint32_t join(uint32_t x0, uint32_t x1, uint32_t x2) {
    return x0 + (x1 << LANE) + (x2 << 2 * LANE);
}

/* The word of byte i of three words. */
TQ_INLINE uint32_t join_bytes(const uint32_t pixels[3], uint32_t i, int is_signed) {
    uint32_t x[3];
    for (uint32_t k = 0; k < 3; k++) {
        x[k] = is_signed ? (uint32_t)((int32_t)(pixels[k] << (24U - 8U * i)) >> 24)
                         : pixels[k] >> 8U * i & 0xFFU;
    }
    return join(x[0], x[1], x[2]);
}

/* All channels of three pixels. */
TQ_INLINE void join_pixels(const uint8_t *const from[3], uint32_t channels, int is_signed,
                           uint32_t *to) {
    const uint8_t *p0 = from[0];
    const uint8_t *p1 = from[1];
    const uint8_t *p2 = from[2];
    for (uint32_t left = channels / 4; left > 0; left--) {
        const uint32_t pixels[3] = {tq_load32(p0), tq_load32(p1), tq_load32(p2)};
        to[0] = join_bytes(pixels, 0, is_signed);
        to[1] = join_bytes(pixels, 1, is_signed);
        to[2] = join_bytes(pixels, 2, is_signed);
        to[3] = join_bytes(pixels, 3, is_signed);
        p0 += 4;
        p1 += 4;
        p2 += 4;
        to += 4;
    }
    for (uint32_t left = channels % 4; left > 0; left--) {
        const uint32_t pixels[3] = {*p0++, *p1++, *p2++};
        *to++ = join_bytes(pixels, 0, is_signed);
    }
}

/* The words of one row of the image; y may lie outside. */
static void pack_row(const tile *t, int32_t y, uint32_t *to) {
    const tq_shape *const shape = &t->layer->input;
    const uint32_t channels = shape->channels;
    const uint32_t left = t->layer->kernel.left;
    uint32_t column = left > 0 ? 1U - left : 0; /* of the image; below 0 it is large */

    for (uint32_t m = 0; m < t->plan.places; m++) {
        uint32_t *const words = to + m * t->plan.x_bytes / sizeof *to;
        if (y < 0 || y >= shape->height) {
            memset(words, 0, channels * sizeof *words);
            continue;
        }
        const uint8_t *from[3];
        for (uint32_t k = 0; k < 3; k++, column++) {
            const uint32_t pixel = (uint32_t)y * shape->width + column;
            from[k] = column < shape->width ? t->input + pixel * channels : t->zeros;
        }
        if (t->layer->is_signed) {
            join_pixels(from, channels, 1, words);
        } else {
            join_pixels(from, channels, 0, words);
        }
    }
}

/* The word of code i: taps of columns 2, 1, 0. */
TQ_INLINE uint32_t weight_word(const uint32_t codes[3], uint32_t i) {
    return join((uint32_t)signed_nibble(codes[0], i), (uint32_t)signed_nibble(codes[1], i),
                (uint32_t)signed_nibble(codes[2], i));
}

/* The words of a block of channels; steps beyond the stored ones get zeros. */
static const uint32_t *expand(const tile *t, const uint32_t *codes) {
    const uint32_t stored = (3U * t->layer->input.channels + 1U) / 2U * 2U;
    uint32_t *w = t->w;
    for (uint32_t step = 0; step < stored; step += 2) {
        const uint32_t three[3] = {codes[0], codes[1], codes[2]};
        w[0] = weight_word(three, 0);
        w[1] = weight_word(three, 1);
        w[2] = weight_word(three, 2);
        w[3] = weight_word(three, 3);
        w[4] = weight_word(three, 4);
        w[5] = weight_word(three, 5);
        w[6] = weight_word(three, 6);
        w[7] = weight_word(three, 7);
        w += 8;
        codes += 3;
    }
    memset(w, 0, (size_t)((uint8_t *)t->sums - (uint8_t *)w));
    return codes;
}

/* Adds the lanes of a word's accumulators of one channel. */
TQ_INLINE void add_lanes(const uint32_t *raw, uint32_t segments, uint32_t lanes[LANES]) {
    for (; segments > 0; segments--, raw += RAW) {
        const uint32_t low = raw[0];
        const uint32_t high = raw[1];
        lanes[0] += low & 0x1FFFU;
        lanes[1] += low >> 13 & 0x1FFFU;
        lanes[2] += low >> 26 | (high & 0x7FU) << 6;
        lanes[3] += high >> 7 & 0x1FFFU;
        lanes[4] += high >> 20;
    }
}

/* One row of one channel. raw: of its first word. */
TQ_INLINE void finish_row(const tile *t, const finish *f, finish_kind kind, const uint32_t *raw,
                          uint8_t *outputs) {
    const uint32_t segments = t->plan.segment_count;
    const uint32_t width = t->layer->output.width;
    const uint32_t stride = t->layer->output.channels;
    const uint32_t center = CENTER * segments;
    /* What the sums of three outputs start with: bias less what the lanes started with. */
    const uint32_t start[3] = {
        (uint32_t)f->start - 2 * center,
        (uint32_t)f->start - center - TOP_CENTER * segments,
        (uint32_t)f->start - center,
    };
    uint32_t before[2] = {0, 0}; /* lanes 3 and 4 of the word before; what the first lacks is not
                                    looked at, or complete with zeros: see skip */
    uint32_t pixel = 0U - t->skip;
    before[0] = center;
    before[1] = TOP_CENTER * segments;

    for (uint32_t m = 0; m < t->plan.places; m++) {
        uint32_t lanes[LANES] = {before[0] + start[0], before[1] + start[1], start[2], 0, 0};
        add_lanes(raw, segments, lanes);
        for (uint32_t k = 0; k < 3; k++, pixel++) {
            if (pixel < width) {
                outputs[pixel * stride] = finish_sum(f, kind, (int32_t)lanes[k]);
            }
        }
        before[0] = lanes[3];
        before[1] = lanes[4];
        raw += segments * RAW;
    }
}

static void finish_block(const tile *t, uint32_t first, uint8_t *outputs) {
    const tq_requant *const requant = &t->layer->requant;
    const uint32_t left = t->layer->output.channels - first;
    const uint32_t count = left < BLOCK ? left : BLOCK;
    for (uint32_t i = 0; i < count; i++) {
        const finish f = finish_of(requant, first + i);
        const finish_kind kind = kind_of(&f);
        if (kind == FINISH_UINT4) {
            finish_row(t, &f, FINISH_UINT4, t->sums + 2 * i, outputs + first + i);
        } else if (kind == FINISH_INT4) {
            finish_row(t, &f, FINISH_INT4, t->sums + 2 * i, outputs + first + i);
        } else {
            finish_row(t, &f, FINISH_ANY, t->sums + 2 * i, outputs + first + i);
        }
    }
}

static tile make_tile(const tq_conv2d_smlal *layer, const void *input, void *scratch) {
    const uint32_t skip = layer->kernel.left > 0 ? 1U : 2U;
    const uint32_t words = (layer->output.width + skip + 2U) / 3U;
    const uint32_t word_elements = (layer->tile + 2U) * layer->input.channels;
    uint32_t steps = 0;
    for (uint32_t s = 0; s < layer->segment_count; s++) {
        steps += layer->segments[s];
    }
    tile t = {.layer = layer, .input = input, .x = scratch, .skip = skip};
    t.w = t.x + words * word_elements;
    t.sums = t.w + BLOCK * steps;
    uint8_t *const zeros = (uint8_t *)(t.sums + words * RAW * layer->segment_count);
    memset(zeros, 0, layer->input.channels);
    t.zeros = zeros;
    t.plan.segments = layer->segments;
    t.plan.segment_count = layer->segment_count;
    t.plan.places = words;
    t.plan.x_bytes = word_elements * (uint32_t)sizeof *t.x;
    return t;
}

/* Output rows y .. y + rows - 1. */
static void run_tile(const tile *t, uint32_t y, uint32_t rows, uint8_t *outputs) {
    const tq_conv2d_smlal *const layer = t->layer;
    const uint32_t channels = layer->input.channels;
    const uint32_t row_elements = (uint32_t)layer->output.width * layer->output.channels;
    const uint32_t *codes = layer->codes;

    for (uint32_t r = 0; r < rows + 2U; r++) {
        pack_row(t, (int32_t)(y + r) - layer->kernel.top, t->x + r * channels);
    }
    for (uint32_t first = 0; first < layer->output.channels; first += BLOCK) {
        codes = expand(t, codes);
        for (uint32_t r = 0; r < rows; r++) {
            tq_sum_triples(t->x + r * channels, t->w, t->sums, &t->plan);
            finish_block(t, first, outputs + (y + r) * row_elements);
        }
    }
}

void tq_run_conv2d_smlal(const tq_conv2d_smlal *layer, const void *input, void *output,
                         void *scratch) {
    const tile t = make_tile(layer, input, scratch);
    for (uint32_t y = 0; y < layer->output.height; y += layer->tile) {
        const uint32_t left = layer->output.height - y;
        run_tile(&t, y, left < layer->tile ? left : layer->tile, output);
    }
}
