/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to src/: bytes [row][column][channel] to planes of 16-bit numbers, in C or, for cores
 * with the DSP extension, in assembly (spread_dsp_m4.S).
 */
#ifndef TINYQ_SPREAD_DSP_H
#define TINYQ_SPREAD_DSP_H

#include <stdint.h>

#include "dsp_assembly.h"

typedef struct tq_spread {
    const uint8_t *x;     /* first element */
    int16_t *to;          /* of the first plane; rows are TQ_PLANE_ROW_BYTES apart */
    uint32_t step;        /* bytes from one pixel to the next */
    uint32_t plane_bytes; /* from one plane to the next */
    uint32_t width;       /* pixels of a row, >= 1 */
    uint32_t rows;        /* >= 1 */
    uint32_t row_bytes;   /* from one row of the image to the next */
} tq_spread;

/* Four or two channels, of int8 or uint8. */
void tq_spread_four_s8(const tq_spread *job);
void tq_spread_four_u8(const tq_spread *job);
void tq_spread_two_s8(const tq_spread *job);
void tq_spread_two_u8(const tq_spread *job);

#endif
