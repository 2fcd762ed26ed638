/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_CONV2D_M0_H
#define TINYQ_CONV2D_M0_H

#include "blocks_m0.h"
#include "geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A box of the kernel's taps whose weights are expanded at a time. Its rows lie side by side in the
 * image: all channels of one or more columns, or some channels of one column. */
typedef struct tq_part_m0 {
    uint16_t row;      /* of the kernel */
    uint16_t rows;     /* >= 1 */
    uint16_t col;      /* of the kernel */
    uint16_t cols;     /* >= 1 */
    uint16_t channel;  /* of the input */
    uint16_t channels; /* >= 1; all where cols > 1 */
    uint16_t bytes;    /* of its codes, in one block of output channels */
} tq_part_m0;

/* Numbers of a part in tq_conv2d_m0.parts: the fields in their order. */
#define TQ_PART_M0_NUMBERS 7U

/* 2D convolution whose weights are expanded, a block of output channels at a time, for a tile of
 * output rows. Codes: [block][part][row][column][input channel][channel of the block], each part
 * of a block starting at a byte. */
typedef struct tq_conv2d_m0 {
    const void *codes;
    const int8_t *table;   /* images of codes of fewer than 8 bits */
    tq_expand_m0 expand;   /* tq_expand_m0_<bits> or tq_expand_m0_lanes_<bits> */
    tq_dot_m0 dot;         /* tq_dot_m0_<type> or tq_dot_m0_lanes_<type> */
    tq_dot_m0 whole;       /* tq_whole_m0_<...> likewise where one part is the whole kernel and
                            * rounding is folded; else NULL */
    tq_requant_m0 requant; /* starts: less what the lanes' starts add up to */
    const uint32_t *lanes; /* [block][part][4] starts of lanes; NULL: plain */
    const uint16_t *parts; /* [part_count][7]; each part's lanes are proved to end in 16 bits */
    tq_shape input;
    tq_shape output;
    tq_kernel kernel;
    uint16_t tile_rows;      /* output rows of a tile */
    uint16_t word_count;     /* greatest number of words of a part, a multiple of 4 */
    uint16_t windows_offset; /* of the gathered windows in the scratch memory */
    uint16_t gathered;       /* taps of the kernel, where windows are gathered; else 0 */
    uint8_t part_count;      /* 1 where windows are gathered */
    uint8_t block;           /* output channels: 4, lanes: 8 */
    uint8_t has_pairs;       /* 1: 4-bit codes */
    uint8_t flip;            /* windows are gathered and 128: from int8 elements, raised by 128 */
} tq_conv2d_m0;

/* input: [input], output: [output] elements of one byte; the two must not overlap. scratch:
 * TQ_PAIRS_M0_BYTES if has_pairs, word_count words; unless `whole` finishes all blocks, tile_rows *
 * output.width * block words; tile_rows * output.width * gathered bytes. The exporter proves that
 * no final sum, with rounding constant and less hi * 2^n, leaves 32 bits. */
void tq_run_conv2d_m0(const tq_conv2d_m0 *layer, const void *input, void *output, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
