/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of pairs in C, for cores that src/pairs_m3.S is not for, and what becomes of the sums. */
#include <tinyq/dsp.h>
#include <tinyq/pairs.h>

#include "channel_forms.h"

#if !defined(__ARM_ARCH_7M__)
enum { ACCUMULATORS = 2 * TQ_PAIR_WORDS };

/* One run: x and words are moved behind it. */
static void sum_run(const uint16_t *run, const int8_t **x, const uint32_t **words, uint32_t *sums) {
    const int8_t *from = *x + run[1];
    const uint32_t *weight = *words;

    for (uint32_t left = run[0] & ~TQ_RUN_FLUSH; left > 0; left--) {
        for (uint32_t word = 0; word < TQ_PAIR_WORDS; word++) {
            sums[word] += (uint32_t)from[0] * weight[word];
            sums[TQ_PAIR_WORDS + word] += (uint32_t)from[1] * weight[word];
        }
        from += 2;
        weight += TQ_PAIR_WORDS;
    }
    *x = from;
    *words = weight;
}

void tq_sum_pairs(const tq_pairs *pairs) {
    const int8_t *x = pairs->x;
    int32_t *out = pairs->sums;

    for (uint32_t left = pairs->count; left > 0; left--) {
        const int8_t *at = x;
        const uint32_t *words = pairs->words;
        uint32_t sums[ACCUMULATORS];
        memcpy(sums, pairs->start, sizeof sums);
        for (const uint16_t *run = pairs->runs; run != pairs->runs_end; run += 2) {
            sum_run(run, &at, &words, sums);
        }
        memcpy(out, sums, sizeof sums);
        out += ACCUMULATORS;
        x += pairs->x_step;
    }
}

void tq_sum_pairs_flushed(const tq_pairs *pairs) {
    const uint32_t half = UINT32_C(1) << 15;
    const int8_t *x = pairs->x;
    int32_t *out = pairs->sums;

    for (uint32_t left = pairs->count; left > 0; left--) {
        const int8_t *at = x;
        const uint32_t *words = pairs->words;
        uint32_t totals[2 * ACCUMULATORS];
        uint32_t sums[ACCUMULATORS];
        memcpy(totals, pairs->start, sizeof pairs->start);
        memcpy(totals + ACCUMULATORS, pairs->start, sizeof pairs->start);
        for (uint32_t i = 0; i < ACCUMULATORS; i++) {
            sums[i] = half;
        }
        for (const uint16_t *run = pairs->runs; run != pairs->runs_end; run += 2) {
            sum_run(run, &at, &words, sums);
            for (uint32_t i = 0; (run[0] & TQ_RUN_FLUSH) != 0 && i < ACCUMULATORS; i++) {
                totals[2 * i] += sums[i];
                totals[2 * i + 1] += (uint32_t)tq_high(sums[i]);
                sums[i] = half;
            }
        }
        memcpy(out, totals, sizeof totals);
        out += 2 * ACCUMULATORS;
        x += pairs->x_step;
    }
}
#endif

/* --- finishing ---------------------------------------------------------------------------------
 */

/* What a word of sums is. */
typedef enum words_kind { SUMS, LANES, FLUSHED } words_kind;

/* Sums of two channels. */
typedef struct two {
    int32_t even;
    int32_t odd;
} two;

ALWAYS_INLINE two split(const int32_t *sums, words_kind kind, form form) {
    two acc = {sums[0], sums[1]};
    if (kind == LANES) {
        acc.even = even_lane((uint32_t)sums[0]);
        acc.odd = odd_lane((uint32_t)sums[0], form);
    } else if (kind == FLUSHED) {
        acc.even = (int32_t)((uint32_t)sums[0] - ((uint32_t)sums[1] << 16));
    }
    return acc;
}

/* Channels index and index + 1 of every pixel. What is to be dropped is stored first, where it is
 * overwritten. */
ALWAYS_INLINE void finish_two(const tq_pair_outputs *to, uint32_t index, words_kind kind,
                              form form) {
    const uint32_t step = to->step;
    const uint32_t second = to->second;
    const uint32_t pair = kind == FLUSHED ? 16 : 8; /* numbers of a pair in sums */
    const uint32_t odd = index + 1 < to->channels ? 1 : 0;
    const uint8_t *const shift = to->shift + index * to->shift_step;
    const channel a = make_channel(shift[0], to->lo, to->hi);
    const channel next = make_channel(shift[odd * to->shift_step], to->lo, to->hi);
    const channel b = kind == LANES ? odd_channel(next, form) : next;
    const int32_t *sums = to->sums + (kind == LANES ? index / 2 : index);
    uint8_t *out = to->outputs + index;

    for (uint32_t left = to->count; left > 0; left--) {
        two acc = split(sums + pair / 2, kind, form);
        out[second + odd] = requantized(acc.odd, b, form);
        out[second] = requantized(acc.even, a, form);
        acc = split(sums, kind, form);
        out[odd] = requantized(acc.odd, b, form);
        out[0] = requantized(acc.even, a, form);
        sums += pair;
        out += step;
    }
}

ALWAYS_INLINE void finish(const tq_pair_outputs *to, words_kind kind, form form) {
    const tq_pair_outputs copy = *to; /* no store to the outputs can change it */
    for (uint32_t index = 0; index < copy.channels; index += 2) {
        finish_two(&copy, index, kind, form);
    }
}

#define DEFINE_FINISH(words, KIND)                                                                 \
    void tq_finish_##words##_u8(const tq_pair_outputs *to) {                                       \
        finish(to, KIND, U8);                                                                      \
    }                                                                                              \
    void tq_finish_##words##_s8(const tq_pair_outputs *to) {                                       \
        finish(to, KIND, S8);                                                                      \
    }                                                                                              \
    void tq_finish_##words##_tflite_s8(const tq_pair_outputs *to) {                                \
        finish(to, KIND, TFLITE_S8);                                                               \
    }                                                                                              \
    void tq_finish_##words##_folded(const tq_pair_outputs *to) {                                   \
        finish(to, KIND, FOLDED);                                                                  \
    }                                                                                              \
    void tq_finish_##words##_tflite(const tq_pair_outputs *to) {                                   \
        finish(to, KIND, TFLITE);                                                                  \
    }

DEFINE_FINISH(sums, SUMS)
DEFINE_FINISH(lanes, LANES)
DEFINE_FINISH(flushed, FLUSHED)
