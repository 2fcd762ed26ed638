/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernels for Helium vectors (Cortex-M55) share. Their inner routines are assembly where
 * the core has the vector extension, and C of the same meaning everywhere else.
 *
 * Activations are multiplied as int8. A uint8 tensor's bytes are flipped by 0x80 on the way, which
 * reads them as x - 128; the bias holds 128 * sum(w) to make up for it. Accumulators wrap modulo
 * 2^32, and the finished sum is the layer's own, so that the exporter's proof covers it.
 */
#ifndef TINYQ_MVE_H
#define TINYQ_MVE_H

#include <stdint.h>

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define TQ_HAS_MVE 1
#else
#define TQ_HAS_MVE 0
#endif

#define TQ_MVE_BYTES    16U /* of a vector */
#define TQ_MVE_CHANNELS 4U  /* output channels in a block, padded with channels of zeros */

#ifdef __cplusplus
extern "C" {
#endif

/* From accumulators to output integers: acc += clamp(acc, -nudge, nudge), then a shift right by n,
 * rounded half up, then the clamp. nudge = 1 is the TFLite rule. Tables hold whole blocks. */
typedef struct tq_mve_requant {
    const int32_t *bias;  /* start of each accumulator, without any rounding constant */
    const int8_t *shift;  /* -n, -31..0 */
    const uint8_t *nudge; /* NULL: 0 for all */
    int32_t lo;           /* smallest output */
    int32_t hi;           /* greatest output */
} tq_mve_requant;

/* Four output channels. */
typedef struct tq_mve_block {
    const uint8_t *codes;
    const int32_t *bias;  /* [4] */
    const int8_t *shift;  /* [4] -n */
    const uint8_t *nudge; /* [4], or NULL */
    uint32_t count;       /* channels to store, 1..4 */
} tq_mve_block;

/* The vectors' requantization of one accumulator. */
static inline int32_t tq_mve_requantize(int32_t acc, int32_t shift, int32_t nudge, int32_t lo,
                                        int32_t hi) {
    acc += acc > nudge ? nudge : acc < -nudge ? -nudge : acc;
    if (shift < 0) {
        acc = ((acc >> (-shift - 1)) >> 1) + ((acc >> (-shift - 1)) & 1);
    }
    return acc < lo ? lo : acc > hi ? hi : acc;
}

/* The int8 that a byte of a tensor is multiplied as. flip: 0x80 for uint8, 0 for int8. */
static inline int32_t tq_mve_read(uint8_t byte, uint8_t flip) {
    return (int32_t)((byte ^ flip) ^ 0x80U) - 0x80;
}

#ifdef __cplusplus
}
#endif

#endif
