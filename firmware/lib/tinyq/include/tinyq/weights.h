/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed weights and the functions that know an encoding.
 *
 * Packing: every output channel starts at a byte; code i of a channel occupies bits [i*b, (i+1)*b)
 * of the channel's byte string, least significant bit first; the channel is padded to whole bytes.
 * Every code has an exact image in -127..127:
 *   int8, int4, int3, int2   two's complement in b bits
 *   lut4, lut3, lut2         index into a table of 2^b int8 entries
 *
 * An encoding is one file, src/dot_<encoding>.c, with three functions:
 *   tq_dot_<encoding>_s8, tq_dot_<encoding>_u8   dot products with int8 or uint8 activations
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
    const uint8_t *codes; /* [channels][channel_bytes] packed codes; no alignment needed */
    const int8_t *table;  /* [2^b] images of the codes of a lut encoding; NULL for int encodings */
    uint32_t channel_bytes; /* ceil(codes per channel * b / 8) */
} tq_weights;

/* The activations under a window, as `rows` runs of `length` elements that lie side by side, and
 * the codes that they meet. */
typedef struct tq_window {
    const uint8_t *x;   /* first element of the first run */
    uint32_t x_step;    /* elements from the start of a run to the start of the next one */
    uint32_t code;      /* index, within a channel, of the code that meets x[0] */
    uint32_t code_step; /* codes from the start of a run to the start of the next one */
    uint32_t rows;      /* runs; 0 is allowed */
    uint32_t length;    /* elements of a run */
} tq_window;

/* Adds the dot products of the window with two output channels, a and b (which may be the same
 * one), to sums[0] and sums[1]. The exporter proves that no partial sum overflows 32 bits. */
typedef void (*tq_dot)(const tq_weights *weights, const tq_window *window, uint32_t a, uint32_t b,
                       int32_t sums[2]);

/* Writes the images of a channel's codes 0..count-1 to image[0], image[step], image[2*step] ... */
typedef void (*tq_unpack)(const tq_weights *weights, uint32_t channel, uint32_t count,
                          int8_t *image, uint32_t step);

/* One window times all output channels: outputs[o] = requantize(bias[o] + dot(o)). Convolution and
 * dense layers are loops around this. */
void tq_run_window(const tq_weights *weights, const tq_requant *requant, tq_dot dot,
                   const tq_window *window, uint32_t channels, uint8_t *outputs);

#define TQ_DECLARE_ENCODING(encoding)                                                              \
    void tq_dot_##encoding##_s8(const tq_weights *weights, const tq_window *window, uint32_t a,    \
                                uint32_t b, int32_t sums[2]);                                      \
    void tq_dot_##encoding##_u8(const tq_weights *weights, const tq_window *window, uint32_t a,    \
                                uint32_t b, int32_t sums[2]);                                      \
    void tq_unpack_##encoding(const tq_weights *weights, uint32_t channel, uint32_t count,         \
                              int8_t *image, uint32_t step)

TQ_DECLARE_ENCODING(int8);
TQ_DECLARE_ENCODING(int4);
TQ_DECLARE_ENCODING(int3);
TQ_DECLARE_ENCODING(int2);
TQ_DECLARE_ENCODING(lut4);
TQ_DECLARE_ENCODING(lut3);
TQ_DECLARE_ENCODING(lut2);

#ifdef __cplusplus
}
#endif

#endif
