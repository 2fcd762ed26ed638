/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution with the DSP extension: four output channels by two output pixels at a time.
 *
 * Weights lie as 16-bit lanes 256 * w_b + w_a, channels a and b side by side, two taps in a word.
 * SMLAD on such a word gives 256 * S_b + S_a for two taps; SXTB16 keeps the low byte of each lane,
 * w_a, and a second SMLAD gives S_a. So int8 weights take a byte each and need no unpacking.
 *
 * Exact modulo 2^32, hence right if both ends fit 32 bits: S_a always does (the proof of every
 * layer), 256 * S_b does if -2^23 <= S_b < 2^23, bias and rounding constant included. A lane fits
 * 16 bits if -128 <= w_a <= 127 and -127 <= w_b <= 127: then it is within +-32640. The exporter
 * proves both for every channel and every input.
 *
 * Activations are widened to 16 bits: rows of the input, padded, for a few output rows at a time,
 * in scratch memory (a tile). A window is then a few segments of consecutive elements. SXTB16
 * widens bytes 0 and 2, then 1 and 3: where it can, the tile keeps that order in every four
 * elements, and the exporter orders the weights likewise.
 *
 * Codes of 4 bits and fewer stay packed in flash; blocks of four channels are expanded in scratch
 * memory through a table of all pairs of codes, which is made there first.
 */
#ifndef TINYQ_CONV2D_DSP_H
#define TINYQ_CONV2D_DSP_H

#include "arith.h"
#include "geometry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Words of a block's starts: s0, s0 + 256 * s1, s2, s2 + 256 * s3 modulo 2^32, where s are the
 * starts of the four sums; then the right shifts of the sums, one a byte from the lowest on, 8 more
 * for channels 1 and 3, at most 31. */
#define TQ_DSP_STARTS 5U

/* Shift of a block's channel 0..3. */
static inline uint32_t tq_dsp_shift(const int32_t *starts, uint32_t channel) {
    return (uint32_t)starts[4] >> 8U * channel & 255U;
}

/* Windows against blocks of four output channels. The assembly knows the offsets. */
typedef struct tq_dsp_blocks {
    const uint32_t *weights; /* [blocks][segments][words][2]: channels 0 and 1, channels 2 and 3 */
    const int32_t *starts;   /* [blocks][TQ_DSP_STARTS] */
    uint32_t blocks;         /* >= 1 */
    uint32_t segments;       /* of a window, >= 1 */
    uint32_t words;          /* of a segment, two elements each, >= 1 */
    uint32_t pitch;          /* bytes from a segment to the next */
    uint32_t own[8];         /* from tq_dsp_prepare */
    int32_t factors[2];      /* of tq_dsp_pass_add: the convolution's, the other's */
} tq_dsp_blocks;

/* What follows from segments, words and pitch alone; before anything else. */
void tq_dsp_prepare(tq_dsp_blocks *work);

/* What a block's eight sums are: channels 0..3 of the first window, then of the second one. Those
 * of channels 1 and 3 are 256 times the sum. */
enum { TQ_DSP_SUMS = 8 };

/* sums: [blocks][TQ_DSP_SUMS]. first, second: windows of 16-bit elements, at any even address; they
 * may be the same. */
void tq_dsp_sums(const tq_dsp_blocks *work, const int16_t *first, const int16_t *second,
                 int32_t *sums);

/* Two output pixels; and, for a fused addition, the bytes that are added to them. */
typedef struct tq_dsp_pixels {
    uint8_t *outputs[2];
    const uint8_t *others[2]; /* may be the outputs */
} tq_dsp_pixels;

/* Sums, rounded, shifted and clamped: output channels 0..4 * blocks-1 of both windows. The two
 * pixels may be the same if the windows are.
 *   u8          rounding folded into the starts, 0..255; shifted sums fit 16 bits (proved)
 *   s8          rounding folded into the starts, -128..127
 *   tflite_s8   TQ_ROUND_TFLITE, int8: shifts of at least 2; starts hold bias + 2^(n-1) - 1
 *   add_u8, s8  tflite_s8, then (y * factors[0] + other * factors[1] + 2^15) >> 16 clamped to
 *               uint8; the other tensor is uint8 or int8
 */
typedef void (*tq_dsp_pass)(const tq_dsp_blocks *work, const int16_t *first, const int16_t *second,
                            const tq_dsp_pixels *pixels);
#define TQ_DSP_DECLARE_PASS(name)                                                                  \
    void tq_dsp_pass_##name(const tq_dsp_blocks *work, const int16_t *first,                       \
                            const int16_t *second, const tq_dsp_pixels *pixels)
TQ_DSP_DECLARE_PASS(u8);
TQ_DSP_DECLARE_PASS(s8);
TQ_DSP_DECLARE_PASS(tflite_s8);
TQ_DSP_DECLARE_PASS(add_u8);
TQ_DSP_DECLARE_PASS(add_s8);

struct tq_conv2d_dsp;

/* What the layer's `rounding`, `lo` and `hi` say, for `count` channels, whose sums and starts are
 * given; `add_any`: and then the addition. */
typedef void (*tq_dsp_finish)(const struct tq_conv2d_dsp *layer, const int32_t *starts,
                              const int32_t *sums, uint32_t count, const tq_dsp_pixels *pixels);
#define TQ_DSP_DECLARE_FINISH(name)                                                                \
    void tq_dsp_finish_##name(const struct tq_conv2d_dsp *layer, const int32_t *starts,            \
                              const int32_t *sums, uint32_t count, const tq_dsp_pixels *pixels)
TQ_DSP_DECLARE_FINISH(any);
TQ_DSP_DECLARE_FINISH(add_any);

/* Output pixels of a tile. */
typedef struct tq_dsp_area {
    uint32_t top;
    uint32_t left;
    uint32_t rows;
    uint32_t cols;
} tq_dsp_area;

/* Widens what an area needs of the input into the tile.
 *   rows     padded rows, or parts of rows, in their order
 *   rows4    the same, elements of every four in the order 0, 2, 1, 3; channels are multiples of 4
 *   pixels   1x1 kernels without padding: only the pixels that are read, ordered as in rows4 but
 *            for the last channels % 4 elements of a pixel
 */
typedef void (*tq_dsp_fill)(const struct tq_conv2d_dsp *layer, const uint8_t *input,
                            const tq_dsp_area *area, int16_t *tile);
#define TQ_DSP_DECLARE_FILL(name)                                                                  \
    void tq_dsp_fill_##name(const struct tq_conv2d_dsp *layer, const uint8_t *input,               \
                            const tq_dsp_area *area, int16_t *tile)
TQ_DSP_DECLARE_FILL(rows_s8);
TQ_DSP_DECLARE_FILL(rows_u8);
TQ_DSP_DECLARE_FILL(rows4_s8);
TQ_DSP_DECLARE_FILL(rows4_u8);
TQ_DSP_DECLARE_FILL(pixels_s8);
TQ_DSP_DECLARE_FILL(pixels_u8);

/* Weights in codes of `bits` bits: [blocks][segments][words] of 8 codes each, the first in the
 * lowest bits: word 0 (first tap of channels 0, 1; second tap), word 1 (channels 2, 3). */
typedef struct tq_dsp_codes {
    const uint8_t *codes;
    const int8_t *levels; /* [2^bits] image of every code, -127..127 */
} tq_dsp_codes;

/* table[a + b * 2^bits] = lane of codes a and b. */
void tq_dsp_make_table(const int8_t *levels, uint32_t bits, uint16_t *table);

/* to[0..2*count-1] = words of `count` groups of 8 codes. */
typedef void (*tq_dsp_expand)(const uint8_t *codes, uint32_t count, const uint16_t *table,
                              uint32_t *to);
void tq_dsp_expand_4(const uint8_t *codes, uint32_t count, const uint16_t *table, uint32_t *to);
void tq_dsp_expand_3(const uint8_t *codes, uint32_t count, const uint16_t *table, uint32_t *to);
void tq_dsp_expand_2(const uint8_t *codes, uint32_t count, const uint16_t *table, uint32_t *to);

/* An addition after the convolution: acc = y * y_factor + other * other_factor, then
 * (acc + half) >> shift, halves away from zero, clamped. 1 <= shift <= 20. */
typedef struct tq_dsp_add {
    int32_t y_factor;
    int32_t other_factor;
    int32_t y_raised; /* both times 2^(16 - shift), for the passes; |acc| + 2^15 < 2^31 */
    int32_t other_raised;
    uint8_t other_signed;
    uint8_t shift;
    int16_t lo;
    int16_t hi;
} tq_dsp_add;

typedef struct tq_conv2d_dsp {
    const uint32_t *weights; /* as in tq_dsp_blocks; NULL where they are codes */
    tq_dsp_codes packed;     /* used with expand */
    tq_dsp_expand expand;    /* NULL where weights is not */
    const int32_t *starts;   /* [blocks][TQ_DSP_STARTS] */
    tq_dsp_fill fill;
    tq_dsp_pass pass;     /* one of the two */
    tq_dsp_finish finish; /* the other one is NULL */
    tq_shape input;
    tq_shape output;
    tq_kernel kernel;
    uint16_t tile_rows;  /* output rows of a tile */
    uint16_t tile_cols;  /* output columns of a tile */
    uint16_t row_pitch;  /* elements of a row of the tile */
    uint16_t col_step;   /* elements from an output pixel's window to the next one's */
    uint16_t row_step;   /* elements from an output row's windows to the next one's */
    uint16_t segments;   /* of a window */
    uint16_t words;      /* of a segment, two elements each */
    uint16_t group;      /* blocks that are expanded at a time; all where nothing is expanded */
    uint8_t bits;        /* of a code */
    uint8_t gathers;     /* windows are copied together before they are multiplied */
    uint8_t rounding;    /* a tq_rounding, for finish */
    int16_t lo;          /* smallest output of the convolution */
    int16_t hi;          /* greatest */
    tq_dsp_add add;      /* of tq_run_conv2d_dsp_add */
    uint16_t at_windows; /* byte offsets in scratch: two windows if gathers */
    uint16_t at_sums;    /* sums of TQ_DSP_CHUNK blocks at most */
    uint16_t at_table;   /* pairs of codes; may overlay the tile, where it is filled again */
    uint16_t at_weights; /* expanded */
} tq_conv2d_dsp;

/* Blocks whose sums are kept at a time. */
#define TQ_DSP_CHUNK 8U

/* input: [input], output: [output] elements of one byte, no overlap. scratch: aligned to 4, its
 * size is the exporter's. */
void tq_run_conv2d_dsp(const tq_conv2d_dsp *layer, const void *input, void *output, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
