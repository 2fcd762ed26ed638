/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x = x0 + x1 L + x2 L^2 for the pixels 3m, 3m+1, 3m+2 of a row and w = w2 + w1 L + w0 L^2 for the
 * taps of a kernel's row, L = 2^13: the coefficient of L^t in x * w belongs to the output at
 * 3m - 1 + t, t = 0..4. Those of L^3 and L^4 carry over to the next word: with its own of L^0 and
 * L^1 they are complete.
 *
 * Rows of a tile are packed once for all output channels. For each word of a row its words of all
 * rows and channels lie side by side, so that the steps of one output row follow each other:
 * x[m][row][channel].
 */
#include <tinyq/conv2d_smlal.h>

#include <string.h>

#include "packed_sums.h"

enum { LANE = 13 }; /* bits, but 12 for the topmost of the five */

typedef struct tile {
    const tq_conv2d_smlal *layer;
    const uint8_t *input;
    const uint8_t *zeros; /* [channels] */
    uint32_t *x;
    uint32_t *w;
    uint32_t *sums; /* [3 * words][BLOCK] */
    uint32_t *carries;
    uint32_t skip; /* sums of a row before that of its first output: 1, or 2 without padding */
    tq_sum_plan plan;
} tile;

#if !TQ_HAS_DSP
enum { LANE_MASK = (1 << LANE) - 1 };

/* One segment of one channel; returns what the next place starts with. */
static uint32_t sum_triples(const uint32_t *x, const uint32_t *w, uint32_t steps, uint32_t carry,
                            uint32_t *sums) {
    /* Lanes start at TRIPLE_CENTER, the topmost at half of it, so that they are never negative;
     * the lower two hold what the place before left for them. */
    const uint64_t top = (uint64_t)TRIPLE_CENTER << (2 * LANE) |
                         (uint64_t)TRIPLE_CENTER << (3 * LANE) |
                         (uint64_t)(TRIPLE_CENTER / 2) << (4 * LANE);
    uint64_t acc = carry + top;
    for (uint32_t i = 0; i < steps; i++) {
        acc = (uint64_t)tq_smlal((int32_t)x[i], (int32_t)w[BLOCK * i], (int64_t)acc);
    }
    sums[0] += (uint32_t)acc & LANE_MASK;
    sums[BLOCK] += (uint32_t)(acc >> LANE) & LANE_MASK;
    sums[2 * BLOCK] += (uint32_t)(acc >> 2 * LANE) & LANE_MASK;
    return (uint32_t)(acc >> 3 * LANE) + ((TRIPLE_CENTER / 2) << LANE);
}

void tq_sum_triples(const uint32_t *x, const uint32_t *w, uint32_t *sums, const tq_sum_plan *plan,
                    uint32_t *carries) {
    for (uint32_t i = 0; i < BLOCK * plan->segment_count; i++) {
        carries[i] = TRIPLE_CENTER + (TRIPLE_CENTER << LANE);
    }
    clear_words(sums, plan->places * 3 * BLOCK);
    for (uint32_t place = 0; place < plan->places; place++, sums += 3 * BLOCK) {
        const uint32_t *xs = x + place * (plan->x_bytes / sizeof *x);
        const uint32_t *ws = w;
        for (uint32_t s = 0; s < plan->segment_count; s++) {
            const uint32_t steps = plan->segments[s];
            for (uint32_t i = 0; i < BLOCK; i++) {
                uint32_t *const carry = &carries[BLOCK * s + i];
                *carry = sum_triples(xs, ws + i, steps, *carry, sums + i);
            }
            xs += steps;
            ws += BLOCK * steps;
        }
    }
}
#endif

/* Byte i of a word of pixels. */
TQ_INLINE uint32_t byte_of(uint32_t pixels, uint32_t i, int is_signed) {
    return is_signed ? (uint32_t)(int32_t)(int8_t)(pixels >> 8U * i) : (uint8_t)(pixels >> 8U * i);
}

/* Bytes i of three words as a polynomial. */
TQ_INLINE uint32_t join_bytes(uint32_t x0, uint32_t x1, uint32_t x2, uint32_t i, int is_signed) {
    const uint32_t upper = (byte_of(x2, i, is_signed) << LANE) + byte_of(x1, i, is_signed);
    return (upper << LANE) + byte_of(x0, i, is_signed);
}

/* All channels of three pixels. */
TQ_INLINE void join_pixels(const uint8_t *const from[3], uint32_t channels, int is_signed,
                           uint32_t *to) {
    const uint8_t *p0 = from[0];
    const uint8_t *p1 = from[1];
    const uint8_t *p2 = from[2];
    for (const uint8_t *const end = p0 + (channels & ~3U); p0 != end; to += 4) {
        const uint32_t x0 = tq_load32(p0);
        const uint32_t x1 = tq_load32(p1);
        const uint32_t x2 = tq_load32(p2);
        to[0] = join_bytes(x0, x1, x2, 0, is_signed);
        to[1] = join_bytes(x0, x1, x2, 1, is_signed);
        to[2] = join_bytes(x0, x1, x2, 2, is_signed);
        to[3] = join_bytes(x0, x1, x2, 3, is_signed);
        p0 += 4;
        p1 += 4;
        p2 += 4;
    }
    for (uint32_t left = channels % 4U; left > 0; left--) {
        *to++ = join_bytes(*p0++, *p1++, *p2++, 0, is_signed);
    }
}

static NOINLINE void join_signed(const uint8_t *const from[3], uint32_t channels, uint32_t *to) {
    join_pixels(from, channels, 1, to);
}

static NOINLINE void join_unsigned(const uint8_t *const from[3], uint32_t channels, uint32_t *to) {
    join_pixels(from, channels, 0, to);
}

/* The channels of a pixel, or zeros where the column lies outside. */
TQ_INLINE const uint8_t *find_pixel(const tile *t, int32_t y, uint32_t column) {
    const tq_shape *const shape = &t->layer->input;
    const uint32_t pixel = (uint32_t)y * shape->width + column;
    return column < shape->width ? t->input + pixel * shape->channels : t->zeros;
}

/* The words of one row of the image; y may lie outside. */
static void pack_row(const tile *t, int32_t y, uint32_t *to) {
    const tq_shape *const shape = &t->layer->input;
    const uint32_t channels = shape->channels;
    const int is_outside = y < 0 || y >= shape->height;
    const uint32_t left = t->layer->kernel.left;
    uint32_t column = left > 0 ? 1U - left : 0; /* of the image; below 0 it is large */

    for (uint32_t m = 0; m < t->plan.places; m++) {
        uint32_t *const words = to + m * (t->plan.x_bytes / sizeof *to);
        if (is_outside) {
            clear_words(words, channels);
            continue;
        }
        const uint8_t *from[3];
        from[0] = find_pixel(t, y, column);
        from[1] = find_pixel(t, y, column + 1U);
        from[2] = find_pixel(t, y, column + 2U);
        column += 3U;
        if (t->layer->is_signed) {
            join_signed(from, channels, words);
        } else {
            join_unsigned(from, channels, words);
        }
    }
}

TQ_INLINE uint32_t signed_nibble(uint32_t codes, uint32_t i) {
    return (uint32_t)((int32_t)(codes << (28U - 4U * i)) >> 28);
}

/* The word of code i: taps of columns 2, 1, 0. */
TQ_INLINE uint32_t weight_word(const uint32_t codes[3], uint32_t i) {
    return signed_nibble(codes[0], i) + (signed_nibble(codes[1], i) << LANE) +
           (signed_nibble(codes[2], i) << 2 * LANE);
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
    clear_words(w, (uint32_t)(t->sums - w));
    return codes;
}

/* How the channels of a block are finished; returns how many there are. */
static uint32_t prepare_block(const tile *t, uint32_t first, tq_finish finish[BLOCK]) {
    const uint32_t left = t->layer->output.channels - first;
    const uint32_t count = left < BLOCK ? left : BLOCK;
    for (uint32_t i = 0; i < count; i++) {
        finish[i] = tq_finish_of(&t->layer->requant, first + i);
        finish[i].even -= TRIPLE_CENTER * t->plan.segment_count;
        finish[i].odd = finish[i].even;
    }
    return count;
}

static tile make_tile(const tq_conv2d_smlal *layer, const void *input, void *scratch) {
    const uint32_t skip = layer->kernel.left > 0 ? 1U : 2U;
    const uint32_t words = (layer->output.width + skip + 2U) / 3U;
    const uint32_t word_elements = (layer->tile + 2U) * layer->input.channels;
    tile t = {.layer = layer, .input = input, .x = scratch, .skip = skip};
    t.w = t.x + words * word_elements;
    t.sums = t.w + BLOCK * layer->steps;
    t.carries = t.sums + words * 3U * BLOCK;
    uint8_t *const zeros = (uint8_t *)(t.carries + BLOCK * layer->most_segments);
    memset(zeros, 0, layer->input.channels);
    t.zeros = zeros;
    t.plan.places = words;
    t.plan.x_bytes = word_elements * (uint32_t)sizeof *t.x;
    return t;
}

/* Rows `from` and `from` + 1 of the tile before become the first two. */
static void keep_rows(const tile *t, uint32_t from) {
    const uint32_t channels = t->layer->input.channels;
    for (uint32_t m = 0; m < t->plan.places; m++) {
        uint32_t *const words = t->x + m * (t->plan.x_bytes / sizeof *t->x);
        copy_words(words, words + from * channels, 2U * channels);
    }
}

/* The rows of a tile, of one block of channels. */
static void run_block(const tile *t, uint32_t first, uint32_t rows, uint8_t *outputs) {
    const tq_shape *const shape = &t->layer->output;
    const uint32_t *const sums = t->sums + t->skip * BLOCK;
    const uint32_t *x = t->x;
    tq_finish finish[BLOCK];
    const uint32_t count = prepare_block(t, first, finish);
    for (; rows > 0; rows--) {
        tq_sum_triples(x, t->w, t->sums, &t->plan, t->carries);
        for (uint32_t i = 0; i < count; i++) {
            finish[i].run(&finish[i], sums + i, shape->width, shape->channels, outputs + i);
        }
        x += t->layer->input.channels;
        outputs += (uint32_t)shape->width * shape->channels;
    }
}

/* Output rows y .. y + rows - 1. */
static void run_tile(tile *t, uint32_t y, uint32_t rows, uint8_t *outputs) {
    const tq_conv2d_smlal *const layer = t->layer;
    const uint32_t channels = layer->input.channels;
    const uint32_t row_elements = (uint32_t)layer->output.width * layer->output.channels;
    const uint16_t *segments = layer->segments;
    const uint32_t *codes = layer->codes;

    if (y > 0) {
        keep_rows(t, layer->tile);
    }
    for (uint32_t r = y > 0 ? 2U : 0U; r < rows + 2U; r++) {
        pack_row(t, (int32_t)(y + r) - layer->kernel.top, t->x + r * channels);
    }
    for (uint32_t first = 0; first < layer->output.channels; first += BLOCK) {
        segments = set_segments(&t->plan, segments, layer->steps);
        codes = expand(t, codes);
        run_block(t, first, rows, outputs + y * row_elements + first);
    }
}

void tq_run_conv2d_smlal(const tq_conv2d_smlal *layer, const void *input, void *output,
                         void *scratch) {
    tile t = make_tile(layer, input, scratch);
    for (uint32_t y = 0; y < layer->output.height; y += layer->tile) {
        const uint32_t left = layer->output.height - y;
        run_tile(&t, y, left < layer->tile ? left : layer->tile, output);
    }
}
