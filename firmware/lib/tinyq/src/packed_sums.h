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
/* Code that profits from registers of its own. */
#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE
#endif

/* The value, kept in a register: Arm's instructions can shift another operand, then. */
TQ_INLINE uint32_t in_register(uint32_t value) {
#if defined(__GNUC__)
    __asm__("" : "+r"(value));
#endif
    return value;
}

/* What a driver runs through; assembly reads it by the offset of its members. */
typedef struct tq_sum_plan {
    const uint16_t *segments; /* steps of each */
    uint32_t segment_count;
    uint32_t places;  /* positions along x, each with accumulators of its own */
    uint32_t x_bytes; /* from one place to the next */
} tq_sum_plan;

/* Sets the segments of a block of channels, which fill `steps`; returns those of the next one. */
static inline const uint16_t *set_segments(tq_sum_plan *plan, const uint16_t *segments,
                                           uint32_t steps) {
    plan->segments = segments;
    while (steps > 0) {
        steps -= *segments++;
    }
    plan->segment_count = (uint32_t)(segments - plan->segments);
    return segments;
}

/*
 * Drivers: for every place the sums of its pixels, [pixel][BLOCK], of all segments. Assembly where
 * there is the DSP extension. w: four words a step, one a channel.
 */

/* Three pixels a place, x: a word a step. Every sum starts at TRIPLE_CENTER a segment. carries:
 * four words a segment, what a place leaves for the next one. A segment is a multiple of 6 steps.
 */
void tq_sum_triples(const uint32_t *x, const uint32_t *w, uint32_t *sums, const tq_sum_plan *plan,
                    uint32_t *carries);
#define TRIPLE_CENTER 4096U

/* Four pixels a place, x: two words a step, of pixels 0 and 1, 2 and 3. Sums of pixels 0 and 2
 * start at PAIR_CENTER a segment, the others at 0. A segment is a multiple of 4 steps. */
void tq_sum_packed(const uint32_t *x, const uint32_t *w, uint32_t *sums, const tq_sum_plan *plan);
#define PAIR_CENTER 2048U

static inline void clear_words(uint32_t *to, uint32_t count) {
    for (; count > 0; count--) {
        *to++ = 0;
    }
}

/* `to` may lie before `from` and overlap it. */
static inline void copy_words(uint32_t *to, const uint32_t *from, uint32_t count) {
    for (; count > 1; count -= 2, from += 2, to += 2) {
        const uint32_t first = from[0];
        to[1] = from[1];
        to[0] = first;
    }
    if (count > 0) {
        *to = *from;
    }
}

/* How a channel's sums become outputs. */
typedef struct tq_finish tq_finish;
struct tq_finish {
    /* Outputs of `count` pixels, an even one first; sums: BLOCK words apart; outputs: stride bytes
     * apart. */
    void (*run)(const tq_finish *finish, const uint32_t *sums, uint32_t count, uint32_t stride,
                uint8_t *outputs);
    uint32_t even; /* added to the sums of even pixels, modulo 2^32 */
    uint32_t odd;  /* and of odd ones */
    uint32_t shift;
    int32_t lo;
    int32_t hi;
    uint8_t rounding;
};

/* `even` and `odd` are the bias. */
tq_finish tq_finish_of(const tq_requant *requant, uint32_t channel);

#endif
