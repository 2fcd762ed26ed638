/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_DEPTHWISE_CONV2D_DSP_H
#define TINYQ_DEPTHWISE_CONV2D_DSP_H

#include "arith.h"
#include "geometry.h"
#include "weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a row of the planes in scratch memory, a constant of the assembly kernels. */
#define TQ_PLANE_ROW_BYTES 256U

/* The shift that channels share where their own can be folded into weights, a constant too. */
#define TQ_PLANE_SHIFT 12U

/* Some output rows of one channel. */
typedef struct tq_plane_rows {
    const int16_t *x;        /* element under the kernel's first one at the first output, 4-aligned;
                                rows are TQ_PLANE_ROW_BYTES apart */
    uint8_t *output;         /* first output */
    uint32_t output_step;    /* bytes from one output to the next, also from row to row */
    uint32_t width;          /* outputs of a row, >= 1 */
    uint32_t height;         /* rows, >= 1 */
    const uint32_t *weights; /* lanes, row by row of the kernel; see the functions */
    int32_t bias;            /* start of the accumulators */
    uint32_t shift;          /* 0..31 */
    const tq_requant *limits; /* rounding, lo, hi */
    const tq_kernel *kernel;
} tq_plane_rows;

typedef void (*tq_run_plane)(const tq_plane_rows *rows);

/* 3x3, stride 1 or 2 both ways: for each row of the kernel the words (w0, w1) and (w1, w2). */
void tq_run_plane_3x3(const tq_plane_rows *rows);
void tq_run_plane_3x3_stride2(const tq_plane_rows *rows);
/* Any kernel and strides: for each row of the kernel (width + 1) / 2 words (w0, w1), (w2, w3) ...,
 * the last lane of an odd width being 0. */
void tq_run_plane_any(const tq_plane_rows *rows);

/* Private to the library: how channels of int8 or of uint8 are spread into planes. */
struct tq_spread;
typedef struct tq_spreading {
    void (*four)(const struct tq_spread *job); /* channels at a time */
    void (*two)(const struct tq_spread *job);
    int is_signed;
} tq_spreading;

extern const tq_spreading tq_spreading_s8;
extern const tq_spreading tq_spreading_u8;

/* Depthwise convolution with multiplier 1 for cores with the DSP extension; exact everywhere.
 *
 * Some channels at a time are spread into planes of 16-bit numbers with zeros around them, side by
 * side in rows of TQ_PLANE_ROW_BYTES; if not all rows fit, a band of rows at a time, which keeps
 * the rows that the next band needs too. Each channel is then a dense image.
 *
 * The weights and the bias of a channel whose shift n is fold_from..TQ_PLANE_SHIFT are multiplied
 * by 2^(TQ_PLANE_SHIFT - n), so that one shift serves all these: the exporter proves that weights
 * then fit 16 bits, and accumulators 32. */
typedef struct tq_depthwise_conv2d_dsp {
    tq_weights weights; /* codes [channels][kernel.height][kernel.width]; of 4 bits: with a table of
                           images for every encoding */
    tq_requant requant;
    tq_unpack unpack;              /* tq_unpack_<encoding>, of fewer than 4 bits; else 0 */
    tq_run_plane run;              /* by kernel and strides */
    const tq_spreading *spreading; /* by the type of the input */
    tq_shape input;
    tq_shape output; /* the same number of channels */
    tq_kernel kernel;
    uint16_t plane_width;  /* elements of a plane's row, even; planes * plane_width * 2 <=
                              TQ_PLANE_ROW_BYTES */
    uint16_t planes;       /* channels at a time */
    uint16_t band;         /* output rows at a time */
    uint16_t weight_words; /* of a channel */
    uint8_t bits;          /* of a code */
    uint8_t fold_from;     /* see above; more than TQ_PLANE_SHIFT: all shifts stay */
} tq_depthwise_conv2d_dsp;

/* input: [input], output: [output] elements of one byte. They must not overlap, except that they
 * may be the same where shapes are equal and strides 1. scratch: ((band - 1) * row_stride +
 * kernel.height) rows of TQ_PLANE_ROW_BYTES, 8 bytes, planes * weight_words words, and
 * kernel.height * kernel.width + 1 bytes. */
void tq_run_depthwise_conv2d_dsp(const tq_depthwise_conv2d_dsp *layer, const void *input,
                                 void *output, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
