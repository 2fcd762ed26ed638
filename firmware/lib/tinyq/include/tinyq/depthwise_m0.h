/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_DEPTHWISE_M0_H
#define TINYQ_DEPTHWISE_M0_H

#include "blocks_m0.h"
#include "geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One channel of an image, to be laid into a plane whose border is already there. The assembly
 * knows the offsets. */
typedef struct tq_copy_m0 {
    const uint8_t *x;     /* the channel's first element */
    uint32_t x_step;      /* elements from one to the next in a row: the image's channels */
    uint32_t x_row_step;  /* elements from a row to the next */
    uint32_t rows;        /* >= 1 */
    uint32_t count;       /* elements of a row, >= 1 */
    void *to;             /* the first */
    uint32_t to_row_step; /* bytes */
    uint32_t flip;        /* 128: int8 elements, which are raised by 128; 0: uint8 */
} tq_copy_m0;

typedef void (*tq_copy_plane_m0)(const tq_copy_m0 *copy);
/* One byte an element. */
void tq_copy_m0_bytes(const tq_copy_m0 *copy);
/* One word an element, and one more in front of the row: word i = element i - 1 + element i * 2^16.
 * Elements outside are `flip`, as padding is. */
void tq_copy_m0_lanes(const tq_copy_m0 *copy);

/* One channel's windows of 3 x 3. The assembly knows the offsets. */
typedef struct tq_plane_m0 {
    const void *plane;       /* first element of the first window */
    uint32_t pitch;          /* bytes from a row of the plane to the next */
    const uint32_t *weights; /* [9] */
    uint32_t start;          /* where a sum starts; lanes: what is added to it at its end */
    uint8_t *outputs;        /* pixel by pixel */
    uint32_t output_step;    /* bytes from a pixel to the next */
    uint32_t width;          /* pixels of a row, >= 1 */
    uint32_t height;         /* rows of pixels, >= 1 */
    uint32_t row_step;       /* bytes of the plane from a row of windows to the next */
    uint32_t shift;          /* as in tq_column_m0, as all that follows */
    int32_t span;
    int32_t lo;
    int32_t round;
    uint32_t lanes; /* lanes: the start of both in one word */
} tq_plane_m0;

typedef void (*tq_run_plane_m0)(const tq_plane_m0 *plane);
/* Bytes; columns 1 or 2 apart; rounding constant in the start, or TFLite's rule for n >= 2. */
void tq_plane_m0_1(const tq_plane_m0 *plane);
void tq_plane_m0_1_tflite(const tq_plane_m0 *plane);
void tq_plane_m0_2(const tq_plane_m0 *plane);
void tq_plane_m0_2_tflite(const tq_plane_m0 *plane);
/* Words of two elements, columns 1 apart: two pixels at once. The exporter proves that both sums
 * end, from where they start, in -32768..32767. */
void tq_plane_m0_lanes(const tq_plane_m0 *plane);
void tq_plane_m0_lanes_tflite(const tq_plane_m0 *plane);

/* Depthwise convolution of 3 x 3, channel by channel: a channel is laid into a padded plane. Codes:
 * [block of 4 channels][kernel row][kernel column] channel by channel, each block starting at a
 * byte. */
typedef struct tq_depthwise_m0 {
    const void *codes;
    const int8_t *table;   /* images of codes of fewer than 8 bits */
    tq_expand_m0 expand;   /* tq_expand_m0_<bits> */
    tq_copy_plane_m0 copy; /* tq_copy_m0_bytes or tq_copy_m0_lanes */
    tq_run_plane_m0 run;   /* tq_plane_m0_<...> */
    tq_requant_m0 requant; /* starts: for x in 0..255; lanes: less what they start from */
    const int32_t *lanes;  /* [channels] where lanes start; NULL: bytes */
    tq_shape input;
    tq_shape output;
    tq_kernel kernel;      /* 3 x 3 */
    uint16_t multiplier;   /* output.channels / input.channels, >= 1 */
    uint16_t tile_rows;    /* output rows whose plane fits the scratch memory */
    uint16_t pitch;        /* bytes of a row of the plane: a multiple of 4 */
    uint16_t plane_rows;   /* rows of the plane of a tile */
    uint8_t block_bytes;   /* of the codes of a block */
    uint8_t element_bytes; /* 1, lanes: 4 */
    uint8_t flip;          /* 128: the input is int8; 0: uint8 */
    uint8_t has_pairs;     /* 1: 4-bit codes */
} tq_depthwise_m0;

/* input: [input], output: [output] elements of one byte. output may be input where tile_rows ==
 * output.height, both have one shape and multiplier is 1. scratch: TQ_PAIRS_M0_BYTES if has_pairs,
 * 36 words, plane_rows * pitch bytes. The exporter proves that no final sum, with rounding constant
 * and less hi * 2^n, leaves 32 bits. */
void tq_run_depthwise_m0(const tq_depthwise_m0 *layer, const void *input, void *output,
                         void *scratch);

#ifdef __cplusplus
}
#endif

#endif
