/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_PAD2D_H
#define TINYQ_PAD2D_H

#include "geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Copies an image into a frame of zeros. */
typedef struct tq_pad2d {
    tq_shape input;
    uint16_t top;    /* rows added above */
    uint16_t bottom; /* rows added below */
    uint16_t left;   /* columns added to the left */
    uint16_t right;  /* columns added to the right */
} tq_pad2d;

/* input: [input] elements of one byte; output: the same with the frame; they must not overlap. */
void tq_run_pad2d(const tq_pad2d *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
