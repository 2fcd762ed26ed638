/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling on cores with the DSP extension: a word holds four channels. */
#ifndef TINYQ_POOL_DSP_H
#define TINYQ_POOL_DSP_H

#include "geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The part of a window that lies inside the image. */
typedef struct tq_pool_window {
    const uint8_t *corner; /* first channel of the first pixel */
    uint32_t rows;
    uint32_t cols;     /* rows without a gap between them are one row */
    uint32_t channels; /* and the bytes from a pixel to the next */
    uint32_t row_skip; /* bytes from behind a row's last pixel to the next row */
} tq_pool_window;

struct tq_pool_dsp;

/* Computes all channels of an output pixel. */
typedef void tq_pool_run(const struct tq_pool_dsp *layer, const tq_pool_window *window,
                         uint8_t *out);

typedef struct tq_pool_dsp {
    tq_shape input;   /* at least 4 channels */
    tq_shape output;  /* the same number of channels */
    tq_kernel kernel; /* no window may lie wholly in the padding */
    int16_t lo;       /* smallest output */
    int16_t hi;       /* greatest output */
    tq_pool_run *run;
} tq_pool_dsp;

/* Runs every window. input: [input], output: [output] elements of one byte; the two must not
 * overlap. */
void tq_pool_windows(const tq_pool_dsp *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
