/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_DENSE_DSP_H
#define TINYQ_DENSE_DSP_H

#include "arith.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The input of a fully connected layer. */
typedef struct tq_dense_x {
    const uint8_t *bytes; /* [count] int8 or uint8 */
    uint32_t count;
    int32_t total; /* sum of all elements; only int4 weights need it */
} tq_dense_x;

/* sums[i] = dot product of x and channel i, i = 0..channels-1, without bias; channels is 8 or the
 * layer's tail. Returns the weights behind those of these channels. */
typedef const uint32_t *(*tq_dense_sums)(const uint32_t *weights, const tq_dense_x *x,
                                         uint32_t channels, int32_t *sums);

/* int8 weights, half unpacked: a 16-bit lane holds 256 * w_b + w_a of channels a and b = a + 1, |w|
 * <= 127. The sum of x times the lanes is 256 * S_b + S_a, that of x times their low bytes is S_a,
 * both modulo 2^32; their difference >> 8 is S_b where |S_b| < 2^23: the exporter proves it. Tail:
 * 2 channels. */
const uint32_t *tq_sum_dense_int8_s8(const uint32_t *weights, const tq_dense_x *x,
                                     uint32_t channels, int32_t *sums);
const uint32_t *tq_sum_dense_int8_u8(const uint32_t *weights, const tq_dense_x *x,
                                     uint32_t channels, int32_t *sums);

/* int4 weights of four channels in one lane: 4096 * w_3 + 256 * (w_2 + 8) + 16 * (w_1 + 8) + (w_0 +
 * 8). Taking away one nibble after the other gives four sums modulo 2^32. Neighbours differ by 2^12
 * * S_3, 2^8 * (S_2 + 8 * X), 2^4 * (S_1 + 8 * X), X being the total of x, which is subtracted
 * before the shift: hence exact where |S_3| < 2^19, the exporter proves it of every channel. Tail:
 * 4 channels. */
const uint32_t *tq_sum_dense_int4_s8(const uint32_t *weights, const tq_dense_x *x,
                                     uint32_t channels, int32_t *sums);
const uint32_t *tq_sum_dense_int4_u8(const uint32_t *weights, const tq_dense_x *x,
                                     uint32_t channels, int32_t *sums);

/* Fully connected layer for cores with the DSP extension; exact everywhere.
 *
 * Four inputs are loaded as one word and extended to the lanes (0, 2) and (1, 3). The weights lie
 * in the order of their use: blocks of 8 channels, then of `tail` channels; in a block for every
 * four inputs, for both pairs of lanes, a word for 2 (int8) or 4 (int4) channels after the other.
 * Inputs and channels are filled up with zeros to whole words. */
typedef struct tq_dense_dsp {
    const uint32_t *weights;
    tq_requant requant;
    tq_dense_sums sum; /* by encoding and type of the input */
    uint32_t inputs;
    uint32_t outputs;
    uint8_t tail;      /* channels of a block after the last one of 8: 2 (int8) or 4 (int4) */
    uint8_t is_signed; /* 1: the input is int8; 0: uint8 */
} tq_dense_dsp;

/* input: [inputs], output: [outputs] elements of one byte; the two must not overlap. */
void tq_run_dense_dsp(const tq_dense_dsp *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
