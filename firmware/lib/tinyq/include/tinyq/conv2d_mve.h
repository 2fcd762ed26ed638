/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_CONV2D_MVE_H
#define TINYQ_CONV2D_MVE_H

#include "add_mve.h"
#include "geometry.h"
#include "mve.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where the pixels of a tile lie. */
typedef struct tq_mve_pixels {
    uint32_t vectors;  /* of a window, >= 1 */
    uint32_t step;     /* bytes from a pixel's window to the next one's */
    uint32_t channels; /* bytes from an output pixel to the next */
    uint32_t count;    /* pixels, even, >= 2 */
    int32_t lo;
    int32_t hi;
} tq_mve_pixels;

/* The channels of a block for every pixel, two at a time. x: the first window, any address. Codes
 * of the block: [vectors][4][16] int8. */
typedef void (*tq_mve_dot)(const tq_mve_pixels *pixels, const tq_mve_block *block, const uint8_t *x,
                           uint8_t *output);
void tq_mve_dot_any(const tq_mve_pixels *pixels, const tq_mve_block *block, const uint8_t *x,
                    uint8_t *output);
/* With the block's nudge. */
void tq_mve_dot_nudge(const tq_mve_pixels *pixels, const tq_mve_block *block, const uint8_t *x,
                      uint8_t *output);
/* For windows of one vector and outputs of 0..255. */
void tq_mve_dot_short(const tq_mve_pixels *pixels, const tq_mve_block *block, const uint8_t *x,
                      uint8_t *output);

/* A block's 4-bit codes, [vectors][2][16] bytes, as int8 weights [vectors][4][16]; elements from
 * `elements` on are 0. table: [16] images; the int4 routine reads none, and its weights are 16
 * times the image, so that bias and nudge must be 16 times the layer's, and n 4 more. */
typedef void (*tq_mve_expand)(const uint8_t *codes, const int8_t *table, uint8_t *weights,
                              uint32_t elements);
void tq_mve_expand_table(const uint8_t *codes, const int8_t *table, uint8_t *weights,
                         uint32_t elements);
void tq_mve_expand_int4(const uint8_t *codes, const int8_t *table, uint8_t *weights,
                        uint32_t elements);

/* Convolution of int8 vectors. Rows and columns may have changed places: shapes, kernel and codes
 * are then those of the transposed image, and the steps say where its elements lie.
 *
 * A window is the vector of its columns: [kernel.width][kernel.height][input.channels], continued
 * to whole vectors with elements that meet weights of zero. Codes: [blocks][vectors], and in each
 * vector's place four vectors of int8 (channel 0, 1, 2, 3 of the block), or two vectors of 4-bit
 * codes (low nibbles: channels 0 and 2; high ones: 1 and 3). */
typedef struct tq_conv2d_mve {
    const uint8_t *codes;
    const int8_t *table;  /* [16] images of 4-bit codes, if `expand` reads them */
    tq_mve_expand expand; /* NULL: the codes are int8 */
    tq_mve_dot dot;
    uint32_t block_bytes; /* codes of a block */
    tq_mve_requant requant;
    tq_shape input;
    tq_shape output;
    tq_kernel kernel;
    uint32_t in_row;  /* bytes from a row of the image to the next */
    uint32_t in_col;  /* bytes from a column of the image to the next */
    uint32_t out_row; /* the same of the output */
    uint32_t out_col;
    uint16_t tile_rows;    /* output rows in scratch at a time; 1 unless tile_cols is the width */
    uint16_t tile_cols;    /* output columns in scratch at a time */
    uint16_t col_step;     /* input columns from one in scratch to the next: 1, or kernel.col_stride
                            * where kernel.width is 1 and no column is padding */
    uint8_t flip;          /* 0x80: the input is uint8; 0: int8 */
    const tq_add_mve *add; /* read by tq_run_conv2d_mve_add alone */
} tq_conv2d_mve;

/* input: [input], output: [output] elements of one byte; the two must not overlap. scratch, in
 * this order: 64 * vectors bytes if codes are expanded; the tile's columns of kernel.height *
 * input.channels bytes; 15 bytes. */
void tq_run_conv2d_mve(const tq_conv2d_mve *layer, const void *input, void *output, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
