/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: the window under a kernel at one output pixel, and its elements as a vector. */
#ifndef TINYQ_WINDOW_H
#define TINYQ_WINDOW_H

#include <tinyq/conv2d.h>

#include <stddef.h>
#include <string.h>

typedef struct window {
    const uint8_t *image;
    int32_t top;    /* row of the image under the kernel's first row; negative in the padding */
    int32_t left;   /* element of the image's rows under the kernel's first element, likewise */
    int32_t height; /* rows of the image */
    int32_t width;  /* elements of a row of the image: width * channels */
    uint32_t row_elements; /* elements of a row of the kernel */
    uint32_t elements;     /* elements of the kernel */
} window;

/* Elements first..first+count-1 of one row of the window. */
static inline void gather_row(const window *w, uint32_t row, uint32_t first, uint32_t count,
                              uint8_t *to) {
    const int32_t y = w->top + (int32_t)row;
    const int32_t begin = w->left + (int32_t)first;
    const int32_t end = begin + (int32_t)count;
    const int32_t from = begin < 0 ? 0 : begin;
    const int32_t until = end < w->width ? end : w->width;
    if (y < 0 || y >= w->height || from >= until) {
        memset(to, 0, count);
        return;
    }
    if (until - from < (int32_t)count) {
        memset(to, 0, count);
    }
    memcpy(to + (from - begin), w->image + y * w->width + from, (size_t)(until - from));
}

/* Elements first..first+count-1 of the window. */
static inline void gather(const window *w, uint32_t first, uint32_t count, uint8_t *to) {
    uint32_t row = 0;
    for (; first >= w->row_elements; first -= w->row_elements) {
        row++;
    }
    while (count > 0) {
        const uint32_t room = w->row_elements - first;
        const uint32_t part = count < room ? count : room;
        gather_row(w, row++, first, part, to);
        to += part;
        count -= part;
        first = 0;
    }
}

/* The window of the first output pixel. */
static inline window first_window(const void *image, const tq_shape *input,
                                  const tq_kernel *kernel) {
    const int32_t channels = input->channels;
    const uint32_t row_elements = (uint32_t)kernel->width * input->channels;
    const window w = {
        .image = image,
        .top = -(int32_t)kernel->top,
        .left = -(int32_t)kernel->left * channels,
        .height = input->height,
        .width = input->width * channels,
        .row_elements = row_elements,
        .elements = kernel->height * row_elements,
    };
    return w;
}

#endif
