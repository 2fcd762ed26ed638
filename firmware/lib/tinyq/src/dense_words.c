/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/dense_words.h>

#include <string.h>

#include "channel_forms.h"

/* --- sums in C, for cores that src/dense_words_m3.S is not for ----------------------------------
 */

#if !defined(__ARM_ARCH_7M__)
void tq_sum_dense_bytes(const tq_word_sums *dense) {
    const int8_t *codes = dense->codes;
    for (uint32_t block = 0; block < dense->blocks; block++) {
        uint32_t *const sums = dense->sums + 8 * block;
        memcpy(sums, dense->start + 8 * block, 8 * sizeof *sums);
        for (uint32_t k = 0; k < 2 * dense->pairs; k++) {
            for (uint32_t i = 0; i < 8; i++) {
                sums[i] += (uint32_t)dense->x[k] * (uint32_t)*codes++;
            }
        }
    }
}

void tq_sum_dense_table(const tq_word_sums *dense) {
    const uint8_t *codes = dense->codes;
    for (uint32_t block = 0; block < dense->blocks; block++) {
        uint32_t both[8];
        memcpy(both, dense->start + 8 * block, sizeof both);
        for (uint32_t k = 0; k < 2 * dense->pairs; k++) {
            for (uint32_t i = 0; i < 4; i++) {
                const int16_t two = dense->table[*codes++];
                both[i] += (uint32_t)dense->x[k] * (uint32_t)two;
                both[4 + i] += (uint32_t)dense->x[k] * (uint32_t)(int8_t)(uint8_t)two;
            }
        }
        for (uint32_t i = 0; i < 4; i++) {
            dense->sums[8 * block + 2 * i] = both[4 + i];
            dense->sums[8 * block + 2 * i + 1] = (uint32_t)((int32_t)(both[i] - both[4 + i]) >> 8);
        }
    }
}

/* One segment's lanes plus 2^15; returns the codes behind it. */
static const uint8_t *sum_segment(const int32_t *x, uint32_t elements, const uint8_t *codes,
                                  const uint32_t *offsets, uint32_t *lanes) {
    uint32_t sums[4] = {offsets[0], offsets[1], offsets[1], offsets[1]};
    for (uint32_t k = 0; k < elements; k++) {
        const uint32_t c = (uint32_t)codes[0] | (uint32_t)codes[1] << 8 | (uint32_t)codes[2] << 16 |
                           (uint32_t)codes[3] << 24;
        sums[0] += (uint32_t)x[k] * c;
        for (uint32_t i = 1; i < 4; i++) {
            sums[i] += (uint32_t)x[k] * (c >> 4 * i & 0x000F000FU);
        }
        codes += 4;
    }
    sums[0] -= (sums[1] << 4) + (sums[2] << 8) + (sums[3] << 12);
    memcpy(lanes, sums, sizeof sums);
    return codes;
}

void tq_sum_dense_nibbles(const tq_word_sums *dense) {
    const uint8_t *codes = dense->codes;
    for (uint32_t block = 0; block < dense->blocks; block++) {
        const int32_t *x = dense->x;
        const uint32_t *offsets = dense->offsets;
        uint32_t totals[8];
        memcpy(totals, dense->start + 8 * block, sizeof totals);
        for (const uint16_t *s = dense->segments; s != dense->segments_end; s++) {
            uint32_t lanes[4];
            codes = sum_segment(x, 2U * *s, codes, offsets, lanes);
            for (uint32_t i = 0; i < 4; i++) {
                totals[2 * i] += lanes[i];
                totals[2 * i + 1] += (uint32_t)tq_high(lanes[i]);
            }
            x += 2 * *s;
            offsets += 2;
        }
        for (uint32_t i = 0; i < 4; i++) {
            totals[2 * i] -= totals[2 * i + 1] << 16;
        }
        memcpy(dense->sums + 8 * block, totals, sizeof totals);
    }
}
#endif

/* --- finishing ---------------------------------------------------------------------------------
 */

ALWAYS_INLINE void finish(const tq_dense_words *layer, const uint32_t *sums, uint32_t first,
                          uint32_t count, uint8_t *output, form form) {
    const int32_t lo = layer->lo;
    const int32_t hi = layer->hi;
    const uint32_t step = layer->shift_step;
    const uint8_t *shift = layer->shift + first * step;
    uint8_t *out = output + first;

    for (; count >= 4; count -= 4) {
        out[0] = requantized((int32_t)sums[0], make_channel(shift[0], lo, hi), form);
        out[1] = requantized((int32_t)sums[1], make_channel(shift[step], lo, hi), form);
        shift += 2 * step;
        out[2] = requantized((int32_t)sums[2], make_channel(shift[0], lo, hi), form);
        out[3] = requantized((int32_t)sums[3], make_channel(shift[step], lo, hi), form);
        shift += 2 * step;
        sums += 4;
        out += 4;
    }
    for (; count > 0; count--) {
        *out++ = requantized((int32_t)*sums++, make_channel(*shift, lo, hi), form);
        shift += step;
    }
}

#define DEFINE_FINISH(name, FORM)                                                                  \
    void tq_finish_dense_##name(const tq_dense_words *layer, const uint32_t *sums, uint32_t first, \
                                uint32_t count, uint8_t *output) {                                 \
        finish(layer, sums, first, count, output, FORM);                                           \
    }

DEFINE_FINISH(u8, U8)
DEFINE_FINISH(s8, S8)
DEFINE_FINISH(tflite_s8, TFLITE_S8)
DEFINE_FINISH(folded, FOLDED)
DEFINE_FINISH(tflite, TFLITE)

/* --- the layer ---------------------------------------------------------------------------------
 */

/* Activations as words, an even number of them. */
ALWAYS_INLINE void make_words(const uint8_t *from, uint32_t count, int is_signed, int32_t *to) {
    uint32_t left = count;
    for (; left >= 4; left -= 4) {
        to[0] = is_signed ? (int8_t)from[0] : from[0] - 128;
        to[1] = is_signed ? (int8_t)from[1] : from[1] - 128;
        to[2] = is_signed ? (int8_t)from[2] : from[2] - 128;
        to[3] = is_signed ? (int8_t)from[3] : from[3] - 128;
        from += 4;
        to += 4;
    }
    for (; left > 0; left--) {
        *to++ = is_signed ? (int8_t)*from : *from - 128;
        from++;
    }
    if (count % 2 != 0) {
        *to = 0;
    }
}

static void make_pairs(const int8_t *table, int16_t *pairs) {
    for (uint32_t odd = 0; odd < 16; odd++) {
        const int32_t high = table[odd] * 256;
        for (uint32_t even = 0; even < 16; even += 4) {
            pairs[0] = (int16_t)(high + table[even]);
            pairs[1] = (int16_t)(high + table[even + 1]);
            pairs[2] = (int16_t)(high + table[even + 2]);
            pairs[3] = (int16_t)(high + table[even + 3]);
            pairs += 4;
        }
    }
}

/* What the sums of every segment start with: 2^15 less 8 times the activations in both lanes, and
 * what gives c = p0 + 16 p1 + 256 p2 + 4096 p3 the same. */
static void make_offsets(const tq_dense_words *layer, const int32_t *x, uint32_t *offsets) {
    for (uint32_t segment = 0; segment < layer->segment_count; segment++) {
        uint32_t sum = 0;
        for (uint32_t left = layer->segments[segment]; left > 0; left--) {
            sum += (uint32_t)x[0] + (uint32_t)x[1];
            x += 2;
        }
        offsets[1] = (UINT32_C(1) << 15) - 8U * sum * 0x00010001U;
        offsets[0] = offsets[1] * 0x1111U;
        offsets += 2;
    }
}

void tq_run_dense_words(const tq_dense_words *layer, const void *input, void *output,
                        void *scratch) {
    const uint32_t blocks = (layer->outputs + TQ_DENSE_BLOCK - 1) / TQ_DENSE_BLOCK;
    const uint32_t most = blocks < TQ_DENSE_BLOCKS ? blocks : TQ_DENSE_BLOCKS;
    const uint32_t pairs = (layer->inputs + 1) / 2;
    int32_t *const x = scratch;
    uint32_t *const sums = (uint32_t *)x + 2 * pairs;
    uint32_t *const rest = sums + most * TQ_DENSE_BLOCK;
    tq_word_sums dense = {
        .x = x,
        .pairs = pairs,
        .codes = layer->codes,
        .sums = sums,
        .start = layer->start,
        .table = (const int16_t *)rest,
        .segments = layer->segments,
        .segments_end = layer->segments + layer->segment_count,
        .offsets = rest,
    };

    if (layer->flip != 0) {
        make_words(input, layer->inputs, 0, x);
    } else {
        make_words(input, layer->inputs, 1, x);
    }
    if (layer->table != NULL) {
        make_pairs(layer->table, (int16_t *)rest);
    }
    make_offsets(layer, x, rest);
    for (uint32_t block = 0; block < blocks; block += most) {
        const uint32_t first = TQ_DENSE_BLOCK * block;
        const uint32_t left = layer->outputs - first;
        const uint32_t room = TQ_DENSE_BLOCK * most;
        dense.blocks = blocks - block < most ? blocks - block : most;
        layer->sum(&dense);
        layer->finish(layer, sums, first, left < room ? left : room, output);
        dense.codes = (const uint8_t *)dense.codes + dense.blocks * layer->block_bytes;
        dense.start += TQ_DENSE_BLOCK * dense.blocks;
    }
}
