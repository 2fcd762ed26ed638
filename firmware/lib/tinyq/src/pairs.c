/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of pairs in C, for cores that src/pairs_m3.S is not for, and what becomes of the sums. */
#include <tinyq/dsp.h>
#include <tinyq/pairs.h>

#include "inline.h"

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

/* How an accumulator becomes an output. */
typedef enum form { U8, S8, TFLITE_S8, FOLDED, TFLITE } form;

/* Constants of one channel: out = clamp((acc + add + (acc < 0 ? less : 0)) >> n). */
typedef struct channel {
    uint32_t n;
    int32_t add;
    int32_t less;
} channel;

static inline channel channel_of(const tq_pair_outputs *to, uint32_t index) {
    const uint32_t n = to->shift[index * to->shift_step];
    /* n = 0: acc;  n = 1: acc + 1;  n >= 2: acc + 2^(n-1) + sgn(acc), where acc = 0 may count as
     * positive. */
    channel c = {n, 0, 0};
    if (n > 0) {
        c.add = (int32_t)(UINT32_C(1) << (n - 1)) + (n > 1);
        c.less = n > 1 ? -2 : 0;
    }
    return c;
}

ALWAYS_INLINE uint8_t requantized(int32_t acc, channel c, form form, const tq_pair_outputs *to) {
    if (form == TFLITE_S8 || form == TFLITE) {
        acc = (acc + ((acc >> 31) & c.less) + c.add) >> c.n;
    } else {
        acc >>= c.n;
    }
    if (form == U8) {
        return (uint8_t)TQ_USAT(acc, 8);
    }
    if (form == S8 || form == TFLITE_S8) {
        return (uint8_t)TQ_SSAT(acc, 8);
    }
    return (uint8_t)tq_clamp(acc, to->lo, to->hi);
}

/* Sums of two channels. */
typedef struct two {
    int32_t even;
    int32_t odd;
} two;

ALWAYS_INLINE two split(const int32_t *sums, words_kind kind) {
    two acc = {sums[0], sums[1]};
    if (kind == LANES) {
        acc.even = tq_low((uint32_t)sums[0]);
        acc.odd = (int32_t)((uint32_t)sums[0] - (uint32_t)acc.even) >> 16;
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
    const channel a = channel_of(to, index);
    const channel b = channel_of(to, index + odd);
    const int32_t *sums = to->sums + (kind == LANES ? index / 2 : index);
    uint8_t *out = to->outputs + index;

    for (uint32_t left = to->count; left > 0; left--) {
        two acc = split(sums + pair / 2, kind);
        out[second + odd] = requantized(acc.odd, b, form, to);
        out[second] = requantized(acc.even, a, form, to);
        acc = split(sums, kind);
        out[odd] = requantized(acc.odd, b, form, to);
        out[0] = requantized(acc.even, a, form, to);
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
