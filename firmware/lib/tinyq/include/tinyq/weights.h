/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed weights and the functions that know an encoding.
 *
 * Packing: every output channel starts at a byte; code i of a channel occupies bits [i*b, (i+1)*b)
 * of the channel's byte string, least significant bit first; the channel is padded to whole bytes.
 * Every code has an exact image in -127..127:
 *   int8, int4, int3, int2   two's complement in b bits
 *   lut4, lut3, lut2         index into a table of 2^b int8 entries
 *   pot4, pot3               sign above m: 0, else 2^(m-1)
 *   apot4, apot3             sign above magnitude: {0, 1, 8, 4} + {0, 2}; {0, 1} + {0, 2}
 *
 * An encoding is one file, src/dot_<encoding>.c, with four functions:
 *   tq_dot_<encoding>_s8, tq_dot_<encoding>_u8   dot products with int8 or uint8 activations
 *   tq_dot_lanes_<encoding>                      two dot products at once, in 16-bit accumulators
 *   tq_unpack_<encoding>                         images of a channel's first codes
 * A layer's descriptor points at those that it needs; the linker drops the rest.
 */
#ifndef TINYQ_WEIGHTS_H
#define TINYQ_WEIGHTS_H

#include <stdint.h>

#include "arith.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tq_weights {
    const uint8_t *codes;   /* [channels][channel_bytes] packed codes; no alignment needed */
    const int8_t *table;    /* [2^b] images of the codes of a lut encoding; else NULL */
    uint32_t channel_bytes; /* ceil(codes per channel * b / 8) */
} tq_weights;

/* Activations that lie side by side, and where among a channel's codes they belong. */
typedef struct tq_segment {
    const uint8_t *x; /* [length] int8 or uint8 */
    uint32_t code;    /* index, within a channel, of the code that meets x[0]: a multiple of 8 */
    uint32_t length;  /* elements */
} tq_segment;

/* Adds to sums[i] the dot product of the segment and output channel first + i, i = 0..count-1. The
 * exporter proves that no partial sum overflows 32 bits. */
typedef void (*tq_dot)(const tq_weights *weights, const tq_segment *segment, uint32_t first,
                       uint32_t count, int32_t *sums);

/* Activations of two vectors in one array: x[i] = low[i] + high[i] * 2^16 modulo 2^32, -128 <=
 * low[i], high[i] <= 255. */
typedef struct tq_lanes {
    const uint32_t *x; /* [length] */
    uint32_t code;     /* as in tq_segment */
    uint32_t length;   /* elements of one vector */
} tq_lanes;

/* Adds to sums[i] the dot products of both vectors and output channel first + i, i = 0..count-1:
 * that of the low ones, plus that of the high ones times 2^16, modulo 2^32. One multiplication
 * serves both. They can be told apart where both fit 16 bits: the exporter proves it, rounding
 * constant included, for every input and every order of summation. */
typedef void (*tq_dot_lanes)(const tq_weights *weights, const tq_lanes *lanes, uint32_t first,
                             uint32_t count, uint32_t *sums);

/* Writes the images of a channel's codes 0..count-1 to images[0], images[step], images[2*step] ...
 */
typedef void (*tq_unpack)(const tq_weights *weights, uint32_t channel, uint32_t count,
                          int8_t *images, uint32_t step);

/* Output channels whose sums a kernel keeps on its stack at a time; even, for pairs. */
#define TQ_CHANNEL_CHUNK 32U

/* outputs[o] = requantize(bias[o] + dot product of the segment and channel o), o = 0..channels-1.
 */
void tq_run_segment(const tq_weights *weights, const tq_requant *requant, tq_dot dot,
                    const tq_segment *segment, uint32_t channels, uint8_t *outputs);

#define TQ_DECLARE_ENCODING(encoding)                                                              \
    void tq_dot_##encoding##_s8(const tq_weights *weights, const tq_segment *segment,              \
                                uint32_t first, uint32_t count, int32_t *sums);                    \
    void tq_dot_##encoding##_u8(const tq_weights *weights, const tq_segment *segment,              \
                                uint32_t first, uint32_t count, int32_t *sums);                    \
    void tq_dot_lanes_##encoding(const tq_weights *weights, const tq_lanes *lanes, uint32_t first, \
                                 uint32_t count, uint32_t *sums);                                  \
    void tq_unpack_##encoding(const tq_weights *weights, uint32_t channel, uint32_t count,         \
                              int8_t *images, uint32_t step)

TQ_DECLARE_ENCODING(int8);
TQ_DECLARE_ENCODING(int4);
TQ_DECLARE_ENCODING(int3);
TQ_DECLARE_ENCODING(int2);
TQ_DECLARE_ENCODING(lut4);
TQ_DECLARE_ENCODING(lut3);
TQ_DECLARE_ENCODING(lut2);
TQ_DECLARE_ENCODING(pot4);
TQ_DECLARE_ENCODING(pot3);
TQ_DECLARE_ENCODING(apot4);
TQ_DECLARE_ENCODING(apot3);

#ifdef __cplusplus
}
#endif

#endif
