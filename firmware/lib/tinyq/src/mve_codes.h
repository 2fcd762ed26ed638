/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: the weights of a block as the C twins of the Helium routines read them. */
#ifndef TINYQ_MVE_CODES_H
#define TINYQ_MVE_CODES_H

#include <tinyq/mve.h>

enum { NIBBLE_SCALE = 16 };

/* The 4-bit code of a block's channel that meets element `index`. */
static inline uint32_t tq_mve_nibble(const uint8_t *codes, uint32_t index, uint32_t channel) {
    const uint32_t vector = 2 * (index / TQ_MVE_BYTES) + channel / 2;
    const uint32_t pair = codes[vector * TQ_MVE_BYTES + index % TQ_MVE_BYTES];
    return channel % 2 == 0 ? pair & 15U : pair >> 4;
}

/* The image of a block's channel's int8 code. */
static inline int32_t tq_mve_weight_int8(const uint8_t *codes, const int8_t *table, uint32_t index,
                                         uint32_t channel) {
    const uint32_t vector = index / TQ_MVE_BYTES * TQ_MVE_CHANNELS + channel;
    (void)table;
    return (int8_t)codes[vector * TQ_MVE_BYTES + index % TQ_MVE_BYTES];
}

/* 16 times the image of an int4 code. */
static inline int32_t tq_mve_weight_int4(const uint8_t *codes, const int8_t *table, uint32_t index,
                                         uint32_t channel) {
    (void)table;
    return ((int32_t)(tq_mve_nibble(codes, index, channel) ^ 8U) - 8) * NIBBLE_SCALE;
}

/* The image of a code that is an index. */
static inline int32_t tq_mve_weight_table(const uint8_t *codes, const int8_t *table, uint32_t index,
                                          uint32_t channel) {
    return table[tq_mve_nibble(codes, index, channel)];
}

/* A function of one of these names. */
typedef int32_t (*tq_mve_weight)(const uint8_t *codes, const int8_t *table, uint32_t index,
                                 uint32_t channel);

#endif
