/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_CONV2D_PAIRS_H
#define TINYQ_CONV2D_PAIRS_H

#include "geometry.h"
#include "pairs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How windows get into the scratch memory. */
typedef enum tq_pair_layout {
    /* Rows of the image with their padding; a pair is a pixel of the left and one of the right half
     * of an output row, ceil(width / 2) apart. */
    TQ_PAIRS_HALVES = 0,
    /* Windows side by side; a pair is two pixels in the order of the output. */
    TQ_PAIRS_WINDOWS = 1
} tq_pair_layout;

/* tq_conv2d with the multiplications of pairs.h.
 *
 * scratch: words of one block [elements][4] | sums [pairs][2][4], twice that where flushed |
 * activations. Where input.channels is a multiple of 4, elements 1 and 2 of every four are swapped,
 * in the scratch memory and in the weights alike. */
typedef struct tq_conv2d_pairs {
    tq_shape input;
    tq_shape output;
    tq_kernel kernel;
    tq_weights weights; /* as make_words wants them */
    tq_make_words make_words;
    tq_sum_pairs_function sum_pairs;
    tq_finish_pairs finish;
    const uint32_t *start;     /* [blocks][4], or [blocks][8] where flushed */
    const uint16_t *runs;      /* [][2] */
    const uint16_t *run_first; /* [blocks + 1] first run of a block; [2] where block_runs is 0 */
    const uint8_t *shift;      /* [output.channels] or [1] */
    uint8_t shift_step;
    uint8_t block_runs;     /* 1: every block has its own runs; 0: all have the same */
    uint8_t block_channels; /* 4, lanes: 8 */
    uint8_t flushed;        /* 1: sum_pairs is tq_sum_pairs_flushed */
    uint8_t blocks_outer;   /* 1: words are made once and windows for every block; 0: vice versa */
    uint8_t layout;         /* a tq_pair_layout */
    uint8_t flip;           /* 128: the input is uint8; 0: int8 */
    uint16_t tile;          /* HALVES: output rows, WINDOWS: pairs that the scratch memory holds */
    uint16_t pairs;         /* pairs that sums has room for */
    int16_t lo;             /* clamp of the output */
    int16_t hi;
} tq_conv2d_pairs;

/* input: [input], output: [output] elements of one byte; the two must not overlap. scratch: aligned
 * to 4. */
void tq_run_conv2d_pairs(const tq_conv2d_pairs *layer, const void *input, void *output,
                         void *scratch);

#ifdef __cplusplus
}
#endif

#endif
