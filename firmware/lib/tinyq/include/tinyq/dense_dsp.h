/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_DENSE_DSP_H
#define TINYQ_DENSE_DSP_H

#include "arith.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Blocks of eight channels whose outputs are full bytes: 0..255 and TQ_ROUND_FOLDED, or -128..127
 * and TQ_ROUND_TFLITE with shifts >= 2. A call moves weights, bias, shift and outputs on. */
typedef struct tq_dense_dsp_blocks {
    const void *weights;
    const uint8_t *x;     /* [4 * groups] */
    uint32_t groups;      /* >= 1 */
    const int32_t *bias;  /* a channel each */
    const uint8_t *shift; /* a channel each */
    uint8_t *outputs;
    uint32_t blocks;      /* >= 1; 0 afterwards */
    uint32_t linear;      /* 0: 0..255; 1: -128..127 */
    uint32_t eight;       /* int4: 8 * total of x */
    const int16_t *lanes; /* tables: the weights of code byte b are the word at lanes + b */
} tq_dense_dsp_blocks;

typedef void (*tq_dense_dsp_run)(tq_dense_dsp_blocks *job);

/* The input of a fully connected layer. */
typedef struct tq_dense_dsp_x {
    const uint8_t *bytes; /* [count] int8 or uint8 */
    uint32_t count;
    int32_t total; /* sum of all elements; only int4 weights need it */
} tq_dense_dsp_x;

/* sums[i] = dot product of x and channel i, i = 0..channels-1, without bias; channels is 8 or the
 * layer's tail. Returns the weights behind those of these channels. */
typedef const uint32_t *(*tq_dense_dsp_sums)(const uint32_t *weights, const tq_dense_dsp_x *x,
                                             uint32_t channels, int32_t *sums);

/* int8 weights, half unpacked: a 16-bit lane holds 256 * w_b + w_a of channels a and b = a + 1, |w|
 * <= 127. The sum of x times the lanes is 256 * S_b + S_a, that of x times their low bytes is S_a,
 * both modulo 2^32; their difference >> 8 is S_b where |S_b| < 2^23: the exporter proves it. Tail:
 * 2 channels. */
const uint32_t *tq_sum_dense_int8_s8(const uint32_t *weights, const tq_dense_dsp_x *x,
                                     uint32_t channels, int32_t *sums);
const uint32_t *tq_sum_dense_int8_u8(const uint32_t *weights, const tq_dense_dsp_x *x,
                                     uint32_t channels, int32_t *sums);
void tq_run_dense_int8_s8(tq_dense_dsp_blocks *job);
void tq_run_dense_int8_u8(tq_dense_dsp_blocks *job);

/* int4 weights of four channels in one lane: 4096 * w_3 + 256 * (w_2 + 8) + 16 * (w_1 + 8) + (w_0 +
 * 8). Taking away one nibble after the other gives four sums modulo 2^32. Neighbours differ by 2^12
 * * S_3, 2^8 * (S_2 + 8 * X), 2^4 * (S_1 + 8 * X), X being the total of x, which is subtracted
 * before the shift: hence exact where |S_3| < 2^19, the exporter proves it of every channel. Tail:
 * 4 channels. */
const uint32_t *tq_sum_dense_int4_s8(const uint32_t *weights, const tq_dense_dsp_x *x,
                                     uint32_t channels, int32_t *sums);
const uint32_t *tq_sum_dense_int4_u8(const uint32_t *weights, const tq_dense_dsp_x *x,
                                     uint32_t channels, int32_t *sums);
void tq_run_dense_int4_s8(tq_dense_dsp_blocks *job);
void tq_run_dense_int4_u8(tq_dense_dsp_blocks *job);

/* Fully connected layer for cores with the DSP extension; exact everywhere.
 *
 * Four inputs are loaded as one word and extended to the lanes (0, 2) and (1, 3). The weights lie
 * in the order of their use: blocks of 8 channels, then of `tail` channels; in a block for every
 * four inputs, for both pairs of lanes, a word for 2 (int8) or 4 (int4) channels after the other.
 * Inputs and channels are filled up with zeros to whole words. */
typedef struct tq_dense_dsp {
    const uint32_t *weights;
    tq_requant requant;
    tq_dense_dsp_sums sum; /* by encoding and type of the input */
    tq_dense_dsp_run run; /* the same for whole blocks; 0: use sum (inputs are left over, or outputs
                          need more than tq_dense_dsp_blocks offers) */
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
