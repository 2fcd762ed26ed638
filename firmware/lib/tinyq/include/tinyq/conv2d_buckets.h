/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_CONV2D_BUCKETS_H
#define TINYQ_CONV2D_BUCKETS_H

#include "conv2d_pot_code.h"
#include "weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Elements of the largest window. */
#define TQ_BUCKETS_WORDS 320U

/* Convolution with codes of 4 bits for cores that multiply slowly: the activations that share a
 * code are added up, and only these 16 sums are multiplied, by shifts and additions that the
 * exporter writes for the layer's 16 weights. Two output pixels lie in one word. */
typedef struct tq_conv2d_buckets {
    tq_conv2d_pot_code windows; /* code is tq_put_buckets, outputs is not used */
    /* Adds buckets[c] * weight of code c, c = 0..15, of the low lanes to *low, of the high to
     * *high, both 0 at first. The exporter proves that no sum of buckets with the signs of one
     * digit of the weights leaves a lane. */
    void (*multiply)(const uint32_t *buckets, uint32_t *low, uint32_t *high);
    tq_weights weights; /* table is NULL: multiply knows it */
    tq_requant requant;
} tq_conv2d_buckets;

/* As tq_run_conv2d_pot_code; kernel.height * kernel.width * input.channels is at most
 * TQ_BUCKETS_WORDS, so many words are on the stack. */
void tq_run_conv2d_buckets(const tq_conv2d_buckets *layer, const void *input, void *output,
                           void *scratch);

/* All channels of all pairs; pairs->layer is the first member of a tq_conv2d_buckets. */
void tq_put_buckets(tq_pot_pairs *pairs);

/* Doubles both sums and adds a word's lanes, each in -32768..32767, to them. */
static inline void tq_add_digit(uint32_t lanes, uint32_t *low, uint32_t *high) {
    const uint32_t first = ((lanes & 0xFFFFU) ^ 0x8000U) - 0x8000U;
    const uint32_t second = (((lanes + 0x8000U) >> 16) ^ 0x8000U) - 0x8000U;
    *low = *low * 2U + first;
    *high = *high * 2U + second;
}

#ifdef __cplusplus
}
#endif

#endif
