/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to src/: what the kernels for 4-bit weights and 4-bit activations share.
 *
 * Several sums travel in one accumulator, in lanes; a segment is a run of steps after which no lane
 * can have overflowed (the exporter finds the segments from the weights). A driver leaves the raw
 * accumulators of every segment, and the finish takes them apart.
 */
#ifndef TINYQ_PACKED_SUMS_H
#define TINYQ_PACKED_SUMS_H

#include <tinyq/arith.h>
#include <tinyq/dsp.h>

/* Output channels that are computed together. */
#define BLOCK 4U
/* Words of the raw accumulators of a block and one place, of one segment. */
#define RAW 8U

/* What a driver runs through; assembly reads it by the offset of its members. */
typedef struct tq_sum_plan {
    const uint16_t *segments; /* steps of each */
    uint32_t segment_count;
    uint32_t places;  /* positions along x, each with accumulators of its own */
    uint32_t x_bytes; /* from one place to the next */
} tq_sum_plan;

/* Drivers: for every place and segment RAW words, the accumulators that start at a constant and
 * take up the segment's steps. Assembly where there is the DSP extension. */

/* x: a word a step; w: four words a step, one a channel; sums: the 64-bit accumulators of the
 * channels. A segment is a multiple of 6 steps. */
void tq_sum_triples(const uint32_t *x, const uint32_t *w, uint32_t *sums, const tq_sum_plan *plan);

/* x: two words a step, of two pixels each; w: four words a step, one a channel; sums: the 32-bit
 * accumulators of the channels for the first word, then those for the second. A segment is a
 * multiple of 4 steps. */
void tq_sum_pairs(const uint32_t *x, const uint32_t *w, uint32_t *sums, const tq_sum_plan *plan);

/* The code i of a word of signed 4-bit codes. */
TQ_INLINE int32_t signed_nibble(uint32_t codes, uint32_t i) {
    return (int32_t)(codes << (28U - 4U * i)) >> 28;
}

/* How a channel's sums become outputs. */
typedef struct finish {
    int32_t start; /* added to every sum */
    int32_t half;  /* 2^(n-1) + 1, for FINISH_INT4 */
    int32_t lo;
    int32_t hi;
    uint32_t shift;
    uint8_t rounding;
} finish;

/* The common cases have code of their own. */
typedef enum finish_kind {
    FINISH_UINT4, /* folded rounding, outputs 0..15 */
    FINISH_INT4,  /* the TFLite rule with n >= 2, outputs -8..7 */
    FINISH_ANY
} finish_kind;

static inline finish finish_of(const tq_requant *requant, uint32_t channel) {
    const uint32_t n = requant->shift[channel * requant->shift_step];
    const finish f = {
        .start = requant->bias[channel],
        .half = n >= 2 ? (int32_t)(UINT32_C(1) << (n - 1U)) + 1 : 0,
        .lo = requant->lo,
        .hi = requant->hi,
        .shift = n,
        .rounding = requant->rounding,
    };
    return f;
}

static inline finish_kind kind_of(const finish *f) {
    if (f->rounding == TQ_ROUND_FOLDED && f->lo == 0 && f->hi == 15) {
        return FINISH_UINT4;
    }
    const int is_int4 = f->lo == -8 && f->hi == 7;
    return f->rounding == TQ_ROUND_TFLITE && f->shift >= 2U && is_int4 ? FINISH_INT4 : FINISH_ANY;
}

/* The output for a finished sum, `start` included. */
TQ_INLINE uint8_t finish_sum(const finish *f, finish_kind kind, int32_t sum) {
    if (kind == FINISH_UINT4) {
        return (uint8_t)TQ_USAT(sum >> f->shift, 4);
    }
    if (kind == FINISH_INT4) {
        /* + h + sgn(sum), where 0 may count as positive: h + 1 < 2^n. */
        const int32_t sign = sum >> 31;
        return (uint8_t)TQ_SSAT((sum + f->half + sign + sign) >> f->shift, 4);
    }
    return (uint8_t)tq_clamp(tq_round_shift(sum, f->shift, f->rounding), f->lo, f->hi);
}

#endif
