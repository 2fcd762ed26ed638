/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_DENSE_LUT_DSP_H
#define TINYQ_DENSE_LUT_DSP_H

#include "arith.h"
#include "dense_dsp.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Inputs that are expanded to lanes on the stack, at most. */
#define TQ_DENSE_LUT_EXPANDED 128U

void tq_run_dense_lut_s8(tq_dense_dsp_blocks *job);
void tq_run_dense_lut_u8(tq_dense_dsp_blocks *job);
void tq_run_dense_lut_lanes(tq_dense_dsp_blocks *job); /* x: lanes, at most TQ_DENSE_LUT_EXPANDED */

/* Fully connected layer whose weights have 16 different images, for cores with the DSP extension;
 * exact everywhere.
 *
 * A byte of `codes` stands for the weights of two inputs: position p, 0..255, in the cyclic
 * sequence of codes 0, 0 1, 0 2, ... 0 15, 1, 1 2, 1 3, ... 1 15, 2, ... 15, in which every code
 * is followed once by every code. The images of that sequence are laid out as 16-bit lanes, so that
 * the word at lane p holds both weights: 257 lanes serve for 256 pairs. They take 516 bytes of
 * stack, inputs as lanes up to 256 more.
 *
 * Four inputs are loaded as one word and extended to the lanes (0, 2) and (1, 3). The codes lie in
 * the order of their use: blocks of 8 channels, then single channels; in a block for every four
 * inputs, for both pairs of lanes, one byte a channel. Inputs are filled up to four with any code.
 */
typedef struct tq_dense_lut_dsp {
    const uint8_t *codes;
    const int8_t *table; /* [16] image of every code, -127..127 */
    tq_requant requant;
    tq_dense_dsp_run run; /* for whole blocks, by number and type of inputs; 0: inputs are left
                          over, or outputs need more than tq_dense_dsp_blocks offers */
    uint32_t inputs;
    uint32_t outputs;
    uint8_t is_signed; /* 1: the input is int8; 0: uint8 */
} tq_dense_lut_dsp;

/* input: [inputs], output: [outputs] elements of one byte; the two must not overlap. */
void tq_run_dense_lut_dsp(const tq_dense_lut_dsp *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
