/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_CONV2D_POT_CODE_H
#define TINYQ_CONV2D_POT_CODE_H

#include "arith.h"
#include "geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where the window of an output pixel lies. */
typedef struct tq_pot_window {
    int32_t top;    /* row of the image under its first row; negative in the padding */
    int32_t left;   /* element of the image's rows under its first element, likewise */
    int32_t offset; /* top * elements of the image's row + left */
} tq_pot_window;

/* Pairs of output pixels, one after another, for the code of a layer. */
typedef struct tq_pot_pairs {
    uint8_t *low;  /* where the first pixel's channels go */
    uint8_t *high; /* where the second's go; of an odd last pixel both are the same */
    const struct tq_conv2d_pot_code *layer;
    const uint8_t *image;  /* the input, or a copy of it with its padding */
    uint8_t *next;         /* the next pixel's channels */
    tq_pot_window window;  /* of the next pixel */
    tq_pot_window line;    /* of the first pixel of its row */
    int32_t height;        /* rows of the image */
    int32_t width;         /* elements of a row of the image */
    uint32_t run;          /* elements of a row of the window */
    uint32_t bytes;        /* of the window's words */
    int32_t column_step;   /* from a window to the next */
    int32_t row_step;      /* likewise, as an offset */
    uint32_t left;         /* pixels still to come */
    uint32_t left_in_line; /* in the row of the next one */
} tq_pot_pairs;

/* Convolution whose weights are the instructions of `code`, which the exporter writes for the
 * layer: for every pair that tq_pot_next gives it puts all channels of both pixels. */
typedef struct tq_conv2d_pot_code {
    void (*code)(tq_pot_pairs *pairs);
    const uint8_t *outputs; /* the output byte of every shifted sum, from the smallest upwards */
    tq_shape input;
    tq_shape output;
    tq_kernel kernel;
    uint8_t is_signed; /* 1: the input is int8; 0: uint8 */
    uint8_t is_copied; /* 1: the scratch memory has room for the input with its padding */
} tq_conv2d_pot_code;

/* input: [input], output: [output] elements of one byte; the two must not overlap. The stack holds
 * a word for every element of the window, and the sums of a few channels.
 * scratch: where is_copied is set [(output.height - 1) * kernel.row_stride + kernel.height]
 * [(output.width - 1) * kernel.col_stride + kernel.width][input.channels], else unused. */
void tq_run_conv2d_pot_code(const tq_conv2d_pot_code *layer, const void *input, void *output,
                            void *scratch);

/* The next pair: 0 if there is none, else 1 and in words[] for every element of the window x0 + x1
 * * 2^16 modulo 2^32, x0 of the first pixel's window, x1 of the second's; 0 in the padding. */
int tq_pot_next(tq_pot_pairs *pairs, uint32_t *words);

/* Stores both lanes of a channel's sum, which are offset by 2^15: shifted, then looked up in the
 * layer's table, whose entry `zero` belongs to 0. The exporter proves that no sum lies beyond it.
 */
static inline void tq_pot_put(const tq_pot_pairs *pairs, const uint8_t *outputs, uint32_t channel,
                              uint32_t lanes, uint32_t shift, uint32_t zero) {
    const uint32_t start = zero - (0x8000U >> shift);
    pairs->low[channel] = outputs[start + ((lanes & 0xFFFFU) >> shift)];
    pairs->high[channel] = outputs[start + ((lanes >> 16) >> shift)];
}

#ifdef __cplusplus
}
#endif

#endif
