/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shapes of images and of the windows that slide over them. Tensors are [height][width][channels],
 * one byte an element. Padding is always explicit; its elements count as the integer 0 in
 * convolutions and do not take part in pooling: a window is clipped where it leaves the image.
 */
#ifndef TINYQ_GEOMETRY_H
#define TINYQ_GEOMETRY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tq_shape {
    uint16_t height;
    uint16_t width;
    uint16_t channels;
} tq_shape;

typedef struct tq_kernel {
    uint16_t height;     /* rows of the window, >= 1 */
    uint16_t width;      /* columns of the window, >= 1 */
    uint16_t row_stride; /* >= 1 */
    uint16_t col_stride; /* >= 1 */
    uint16_t top;        /* rows of padding above the image */
    uint16_t left; /* columns of padding to its left; below and right follow from the output */
} tq_kernel;

/* The part of one axis of a window that lies inside the image. */
typedef struct tq_span {
    uint32_t image;  /* first row or column of the image */
    uint32_t kernel; /* first row or column of the kernel */
    uint32_t count;  /* how many; 0 when the whole window lies in the padding */
} tq_span;

/* Clips the window of output row (or column) `out`. All numbers are below 2^16, so that the
 * products fit 32 bits: the exporter checks (out - 1) * stride + window < 2^31. */
static inline tq_span tq_clip(uint32_t out, uint32_t stride, uint32_t before, uint32_t window,
                              uint32_t size) {
    const int32_t begin = (int32_t)(out * stride) - (int32_t)before;
    const int32_t end = begin + (int32_t)window;
    const int32_t first = begin < 0 ? 0 : begin;
    const int32_t last = end < (int32_t)size ? end : (int32_t)size;
    tq_span span = {(uint32_t)first, (uint32_t)(first - begin), 0};
    if (last > first) {
        span.count = (uint32_t)(last - first);
    }
    return span;
}

static inline tq_span tq_clip_rows(const tq_kernel *kernel, const tq_shape *input, uint32_t out) {
    return tq_clip(out, kernel->row_stride, kernel->top, kernel->height, input->height);
}

static inline tq_span tq_clip_cols(const tq_kernel *kernel, const tq_shape *input, uint32_t out) {
    return tq_clip(out, kernel->col_stride, kernel->left, kernel->width, input->width);
}

#ifdef __cplusplus
}
#endif

#endif
