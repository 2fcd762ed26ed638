/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: inner routines of conv2d_mve.c, in assembly or in C (conv2d_mve_parts.c). */
#ifndef TINYQ_CONV2D_MVE_PARTS_H
#define TINYQ_CONV2D_MVE_PARTS_H

#include <tinyq/conv2d_mve.h>

/* Columns of an image that are copied into columns of the scratch memory. */
typedef struct columns {
    uint32_t to_step;   /* bytes from a column to the next */
    uint32_t from_step; /* likewise */
    uint32_t bytes;     /* of a column, >= 1 */
    uint32_t flip;      /* xored into every byte */
    uint32_t together;  /* columns in a vector, >= 2, which lie side by side; or 0: one at a time */
    uint8_t offsets[TQ_MVE_BYTES]; /* of a vector's bytes, where columns go together */
} columns;

/* count: columns, >= 1. */
void tq_mve_copy_columns(const columns *columns, uint8_t *to, const uint8_t *from, uint32_t count);

/* count: bytes, >= 1. */
void tq_mve_fill(uint8_t *to, uint32_t value, uint32_t count);

/* Where a tile's outputs go, and what is done with them. */
typedef struct tile_sink {
    uint8_t *first; /* outputs of every tile, as if they were the first ones */
    void (*finish)(const struct tile_sink *sink, uint32_t offset, uint32_t count);
    const tq_add_mve *add;
    const uint8_t *other;
    uint8_t *output;
} tile_sink;

/* A convolution tile by tile. sink: NULL, or what takes the bytes offset..offset+count-1 of the
 * output, whose rows and columns are then as they are in memory. */
void tq_mve_run_tiles(const tq_conv2d_mve *layer, const void *input, uint8_t *output,
                      uint8_t *scratch, const tile_sink *sink);

#endif
