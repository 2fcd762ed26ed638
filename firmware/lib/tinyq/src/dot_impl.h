/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of every dot product, private to src/dot_<encoding>.c, which defines two things first:
 * CODE_BITS, the bits of a code, 1..8, and image(raw, table), the value of the code in raw's low
 * CODE_BITS (the bits above are rubbish). It then wraps dot() and unpack() into its public
 * functions. An encoding that needs no multiplication also defines ADD_PRODUCT, the name of a
 * function (sum, x, raw) that returns sum + x * image(raw, NULL), all of them uint32_t: modulo 2^32
 * it serves numbers of both signs and pairs of them in one word.
 *
 * Two output channels at a time, so that an activation is loaded once for two multiplications;
 * eight codes at a time, because eight codes of any size end at a byte boundary and their bit
 * positions are constants.
 */
#ifndef TINYQ_DOT_IMPL_H
#define TINYQ_DOT_IMPL_H

#include <tinyq/weights.h>

#include "inline.h"

enum { GROUP_CODES = 8, GROUP_BYTES = CODE_BITS };

typedef struct pair {
    int32_t a;
    int32_t b;
} pair;

/* Code `index` counted from a byte boundary, below rubbish. Reads no byte that holds none of its
 * bits. */
ALWAYS_INLINE uint32_t raw_at(const uint8_t *codes, uint32_t index) {
    const uint32_t bit = index * CODE_BITS;
    const uint32_t shift = bit % 8U;
    uint32_t raw = (uint32_t)codes[bit / 8U] >> shift;
    if (8 % CODE_BITS != 0 && shift + CODE_BITS > 8U) {
        raw |= (uint32_t)codes[bit / 8U + 1U] << (8U - shift);
    }
    return raw;
}

ALWAYS_INLINE int32_t add_product(int32_t sum, int32_t x, uint32_t raw, const int8_t *table) {
#ifdef ADD_PRODUCT
    (void)table;
    return (int32_t)ADD_PRODUCT((uint32_t)sum, (uint32_t)x, raw);
#else
    return sum + x * image(raw, table);
#endif
}

ALWAYS_INLINE pair step(pair sum, int32_t x, const uint8_t *a, const uint8_t *b, uint32_t index,
                        const int8_t *table) {
    sum.a = add_product(sum.a, x, raw_at(a, index), table);
    sum.b = add_product(sum.b, x, raw_at(b, index), table);
    return sum;
}

ALWAYS_INLINE int32_t activation(uint8_t byte, int is_signed) {
    return is_signed ? (int32_t)(int8_t)byte : (int32_t)byte;
}

ALWAYS_INLINE pair step_group(pair sum, const uint8_t *x, const uint8_t *a, const uint8_t *b,
                              const int8_t *table, int is_signed) {
    sum = step(sum, activation(x[0], is_signed), a, b, 0, table);
    sum = step(sum, activation(x[1], is_signed), a, b, 1, table);
    sum = step(sum, activation(x[2], is_signed), a, b, 2, table);
    sum = step(sum, activation(x[3], is_signed), a, b, 3, table);
    sum = step(sum, activation(x[4], is_signed), a, b, 4, table);
    sum = step(sum, activation(x[5], is_signed), a, b, 5, table);
    sum = step(sum, activation(x[6], is_signed), a, b, 6, table);
    sum = step(sum, activation(x[7], is_signed), a, b, 7, table);
    return sum;
}

/* The codes at a and b times the `length` activations at x. */
ALWAYS_INLINE pair dot_pair(pair sum, const uint8_t *x, uint32_t length, const uint8_t *a,
                            const uint8_t *b, const int8_t *table, int is_signed) {
    for (; length >= GROUP_CODES; length -= GROUP_CODES) {
        sum = step_group(sum, x, a, b, table, is_signed);
        x += GROUP_CODES;
        a += GROUP_BYTES;
        b += GROUP_BYTES;
    }
    for (uint32_t i = 0; i < length; i++) {
        sum = step(sum, activation(x[i], is_signed), a, b, i, table);
    }
    return sum;
}

/* A tq_dot, with the signedness of the activations as a constant. */
ALWAYS_INLINE void dot(const tq_weights *weights, const tq_segment *segment, uint32_t first,
                       uint32_t count, int32_t *sums, int is_signed) {
    const uint32_t bytes = weights->channel_bytes;
    const int8_t *const table = weights->table;
    const uint8_t *const x = segment->x;
    const uint32_t length = segment->length;
    const uint8_t *a = weights->codes + first * bytes + segment->code / GROUP_CODES * GROUP_BYTES;

    for (uint32_t i = 0; i < count; i += 2) {
        const uint32_t j = i + 1 < count ? i + 1 : i; /* an odd last channel pairs with itself */
        pair sum = {sums[i], sums[j]};
        sum = dot_pair(sum, x, length, a, a + (j - i) * bytes, table, is_signed);
        sums[i] = sum.a;
        sums[j] = sum.b;
        a += 2 * bytes;
    }
}

ALWAYS_INLINE uint32_t add_lanes(uint32_t sum, uint32_t x, uint32_t raw, const int8_t *table) {
#ifdef ADD_PRODUCT
    (void)table;
    return ADD_PRODUCT(sum, x, raw);
#else
    return sum + (uint32_t)image(raw, table) * x;
#endif
}

typedef struct lane_pair {
    uint32_t a;
    uint32_t b;
} lane_pair;

ALWAYS_INLINE lane_pair step_lanes(lane_pair sum, uint32_t x, const uint8_t *a, const uint8_t *b,
                                   uint32_t index, const int8_t *table) {
    sum.a = add_lanes(sum.a, x, raw_at(a, index), table);
    sum.b = add_lanes(sum.b, x, raw_at(b, index), table);
    return sum;
}

ALWAYS_INLINE lane_pair step_lane_group(lane_pair sum, const uint32_t *x, const uint8_t *a,
                                        const uint8_t *b, const int8_t *table) {
    sum = step_lanes(sum, x[0], a, b, 0, table);
    sum = step_lanes(sum, x[1], a, b, 1, table);
    sum = step_lanes(sum, x[2], a, b, 2, table);
    sum = step_lanes(sum, x[3], a, b, 3, table);
    sum = step_lanes(sum, x[4], a, b, 4, table);
    sum = step_lanes(sum, x[5], a, b, 5, table);
    sum = step_lanes(sum, x[6], a, b, 6, table);
    sum = step_lanes(sum, x[7], a, b, 7, table);
    return sum;
}

ALWAYS_INLINE lane_pair dot_lane_pair(lane_pair sum, const uint32_t *x, uint32_t length,
                                      const uint8_t *a, const uint8_t *b, const int8_t *table) {
    for (; length >= GROUP_CODES; length -= GROUP_CODES) {
        sum = step_lane_group(sum, x, a, b, table);
        x += GROUP_CODES;
        a += GROUP_BYTES;
        b += GROUP_BYTES;
    }
    for (uint32_t i = 0; i < length; i++) {
        sum = step_lanes(sum, x[i], a, b, i, table);
    }
    return sum;
}

/* A tq_dot_lanes: dot() with two activations in each word, and two sums. */
ALWAYS_INLINE void dot_lanes(const tq_weights *weights, const tq_lanes *lanes, uint32_t first,
                             uint32_t count, uint32_t *sums) {
    const uint32_t bytes = weights->channel_bytes;
    const int8_t *const table = weights->table;
    const uint32_t *const x = lanes->x;
    const uint32_t length = lanes->length;
    const uint8_t *a = weights->codes + first * bytes + lanes->code / GROUP_CODES * GROUP_BYTES;

    for (uint32_t i = 0; i < count; i += 2) {
        const uint32_t j = i + 1 < count ? i + 1 : i; /* an odd last channel pairs with itself */
        lane_pair sum = {sums[i], sums[j]};
        sum = dot_lane_pair(sum, x, length, a, a + (j - i) * bytes, table);
        sums[i] = sum.a;
        sums[j] = sum.b;
        a += 2 * bytes;
    }
}

/* A tq_unpack. */
ALWAYS_INLINE void unpack(const tq_weights *weights, uint32_t channel, uint32_t count,
                          int8_t *images, uint32_t image_step) {
    const uint8_t *const codes = weights->codes + channel * weights->channel_bytes;
    for (uint32_t i = 0; i < count; i++) {
        images[i * image_step] = (int8_t)image(raw_at(codes, i), weights->table);
    }
}

#endif
