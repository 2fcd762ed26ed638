/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_DEPTHWISE_CONV2D_MVE_H
#define TINYQ_DEPTHWISE_CONV2D_MVE_H

#include "geometry.h"
#include "mve.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TQ_MVE_DEPTHWISE_ROWS 3U /* most rows of a kernel */
#define TQ_MVE_DEPTHWISE_COLS 4U /* most columns */

/* What is the same for all channels of a tile. Scratch holds columns of 64 bytes: for each of 16
 * channels the elements of three rows and one byte that meets a weight of zero. The assembly knows
 * the offsets of these fields. */
typedef struct tq_mve_windows {
    uint32_t rows;     /* output rows of the tile, >= 1 */
    uint32_t cols;     /* output columns, >= 1 */
    uint32_t step;     /* bytes from a window to the next one in its row */
    uint32_t skip;     /* bytes from the end of a row of windows to the next one's */
    uint32_t channels; /* bytes from an output pixel to the next */
    int32_t out_skip;  /* bytes from the end of a row of outputs to the next one's */
    int32_t lo;
    int32_t hi;
    const int8_t *table;           /* [16] images of 4-bit codes */
    uint32_t taps;                 /* codes of a channel */
    uint32_t mask;                 /* bit i: element i of a window has a weight */
    uint8_t offsets[TQ_MVE_BYTES]; /* index of that weight */
} tq_mve_windows;

/* All windows of a tile for a block of channels. x: the first window, of the block's channels. */
typedef void (*tq_mve_depthwise)(const tq_mve_windows *windows, const tq_mve_block *block,
                                 const uint8_t *x, uint8_t *output);
void tq_mve_depthwise_int8(const tq_mve_windows *windows, const tq_mve_block *block,
                           const uint8_t *x, uint8_t *output);
void tq_mve_depthwise_table(const tq_mve_windows *windows, const tq_mve_block *block,
                            const uint8_t *x, uint8_t *output);
/* For outputs of 0..255 without a nudge. */
void tq_mve_depthwise_int8_u8(const tq_mve_windows *windows, const tq_mve_block *block,
                              const uint8_t *x, uint8_t *output);
void tq_mve_depthwise_table_u8(const tq_mve_windows *windows, const tq_mve_block *block,
                               const uint8_t *x, uint8_t *output);

/* Depthwise convolution of int8 vectors, one output channel to an input channel.
 * Rows and columns may have changed places: shapes, kernel and codes are then those of the
 * transposed image, and the steps say where its elements lie.
 *
 * Codes: [blocks][4][kernel.width][kernel.height] int8, or [blocks][2][..] bytes of two 4-bit codes
 * (low nibbles: channels 0 and 2 of the block; high ones: 1 and 3). */
typedef struct tq_depthwise_conv2d_mve {
    const uint8_t *codes;
    const int8_t *table; /* [16] images of 4-bit codes; NULL: the codes are int8 */
    tq_mve_depthwise run;
    tq_mve_requant requant;
    tq_shape input;
    tq_shape output;
    tq_kernel kernel; /* at most TQ_MVE_DEPTHWISE_ROWS x TQ_MVE_DEPTHWISE_COLS */
    uint32_t in_row;  /* bytes from a row of the image to the next */
    uint32_t in_col;  /* bytes from a column of the image to the next */
    uint32_t out_row; /* the same of the output */
    uint32_t out_col;
    uint16_t tile_rows; /* output rows in scratch at a time */
    uint8_t flip;       /* 0x80: the input is uint8; 0: int8 */
} tq_depthwise_conv2d_mve;

/* input: [input], output: [output] elements of one byte; the two must not overlap. scratch:
 * tile_rows rows of (output.width - 1) * col_stride + 4 columns of 64 bytes. */
void tq_run_depthwise_conv2d_mve(const tq_depthwise_conv2d_mve *layer, const void *input,
                                 void *output, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
