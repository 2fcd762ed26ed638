/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/depthwise_m0.h>

#include <stddef.h>

#include "inline.h"

enum { TAPS = 9, BLOCK = 4 };

typedef struct planes {
    const int8_t *table;
    uint32_t *words; /* [BLOCK][TAPS] weights of a block of channels */
    uint8_t *plane;
    uint32_t row;  /* first output row of the tile */
    uint32_t rows; /* output rows of the tile */
    tq_copy_m0 copy;
} planes;

static void fill_plane(const tq_depthwise_m0 *layer, uint8_t *plane) {
    uint32_t *words = (uint32_t *)(void *)plane;
    const uint32_t count = (uint32_t)layer->plane_rows * layer->pitch / 4U;
    const uint32_t value = layer->flip * (layer->element_bytes == 1 ? 0x01010101U : 0x00010001U);
    for (uint32_t i = 0; i < count; i++) {
        words[i] = value;
    }
}

/* What of the image a tile's plane holds, and where. */
static tq_copy_m0 place_image(const tq_depthwise_m0 *layer, const planes *p, const uint8_t *input) {
    const tq_kernel *const kernel = &layer->kernel;
    const uint32_t channels = layer->input.channels;
    const uint32_t width = layer->input.width;
    const uint32_t needed = (layer->output.width - 1U) * kernel->col_stride + kernel->width;
    const int32_t top = (int32_t)(p->row * kernel->row_stride) - kernel->top;
    const int32_t end = top + (int32_t)((p->rows - 1U) * kernel->row_stride + kernel->height);
    const int32_t first = top < 0 ? 0 : top;
    const int32_t last = end < (int32_t)layer->input.height ? end : layer->input.height;
    const uint32_t room = needed > kernel->left ? needed - kernel->left : 0;
    const tq_copy_m0 copy = {
        .x = input + (uint32_t)first * width * channels,
        .x_step = channels,
        .x_row_step = width * channels,
        .rows = last > first ? (uint32_t)(last - first) : 0,
        .count = width < room ? width : room,
        .to = p->plane + (uint32_t)(first - top) * layer->pitch +
              (uint32_t)kernel->left * layer->element_bytes,
        .to_row_step = layer->pitch,
        .flip = layer->flip,
    };
    return copy;
}

static void run_channel(const tq_depthwise_m0 *layer, const planes *p, uint32_t channel,
                        uint8_t *output) {
    const tq_column_m0 column = tq_column_of(&layer->requant, channel);
    const uint32_t is_lanes = layer->lanes != NULL;
    const tq_plane_m0 plane = {
        .plane = p->plane + (is_lanes ? layer->element_bytes : 0U),
        .pitch = layer->pitch,
        .weights = p->words + channel % BLOCK * TAPS,
        .start = (uint32_t)layer->requant.start[channel],
        .outputs = output + p->row * layer->output.width * layer->output.channels + channel,
        .output_step = layer->output.channels,
        .width = layer->output.width,
        .height = p->rows,
        .row_step = (uint32_t)layer->pitch * layer->kernel.row_stride,
        .shift = column.shift,
        .span = column.span,
        .lo = column.lo,
        .round = column.round,
        .lanes = is_lanes ? (uint32_t)layer->lanes[channel] * 0x10001U : 0U,
    };
    layer->run(&plane);
}

static void run_tile(const tq_depthwise_m0 *layer, planes *p, const uint8_t *input,
                     uint8_t *output) {
    const uint8_t *codes = layer->codes;
    uint32_t phase = 0; /* of the channel among those that share an input channel */
    fill_plane(layer, p->plane);
    tq_copy_m0 copy = place_image(layer, p, input);
    for (uint32_t channel = 0; channel < layer->output.channels; channel++) {
        if (channel % BLOCK == 0) {
            layer->expand(codes, p->table, BLOCK * TAPS, p->words);
            codes += layer->block_bytes;
        }
        if (phase == 0 && copy.rows > 0 && copy.count > 0) {
            layer->copy(&copy);
        }
        if (++phase == layer->multiplier) {
            phase = 0;
            copy.x++;
        }
        run_channel(layer, p, channel, output);
    }
}

void tq_run_depthwise_m0(const tq_depthwise_m0 *layer, const void *input, void *output,
                         void *scratch) {
    const uint32_t height = layer->output.height;
    uint32_t *words = scratch;
    planes p = {.table = layer->table};
    if (layer->has_pairs) {
        tq_pairs_m0(layer->table, scratch);
        p.table = scratch;
        words += TQ_PAIRS_M0_BYTES / sizeof *words;
    }
    p.words = words;
    p.plane = (uint8_t *)(words + BLOCK * TAPS);
    for (; p.row < height; p.row += layer->tile_rows) {
        const uint32_t left = height - p.row;
        p.rows = left < layer->tile_rows ? left : layer->tile_rows;
        run_tile(layer, &p, input, output);
    }
}

/* What depthwise_m0_thumb1.S has in assembly. */
#if !defined(__ARM_ARCH_6M__)

void tq_copy_m0_bytes(const tq_copy_m0 *copy) {
    for (uint32_t row = 0; row < copy->rows; row++) {
        const uint8_t *x = copy->x + row * copy->x_row_step;
        uint8_t *to = (uint8_t *)copy->to + row * copy->to_row_step;
        for (uint32_t i = 0; i < copy->count; i++, x += copy->x_step) {
            to[i] = (uint8_t)(*x ^ copy->flip);
        }
    }
}

void tq_copy_m0_lanes(const tq_copy_m0 *copy) {
    for (uint32_t row = 0; row < copy->rows; row++) {
        const uint8_t *x = copy->x + row * copy->x_row_step;
        uint32_t *to = (uint32_t *)(void *)((uint8_t *)copy->to + row * copy->to_row_step);
        uint32_t before = copy->flip;
        for (uint32_t i = 0; i < copy->count; i++, x += copy->x_step) {
            const uint32_t element = *x ^ copy->flip;
            to[i] = before + (element << 16);
            before = element;
        }
        to[copy->count] = before + (copy->flip << 16);
    }
}

ALWAYS_INLINE uint8_t finish(const tq_plane_m0 *p, uint32_t sum, int is_tflite) {
    const int32_t acc = (int32_t)sum;
    const int32_t rounded = is_tflite ? acc - (acc < 0 ? 2 : 0) + p->round : acc;
    return (uint8_t)(p->lo + tq_clamp((rounded >> p->shift) + p->span, 0, p->span));
}

ALWAYS_INLINE void run_bytes(const tq_plane_m0 *p, uint32_t stride, int is_tflite) {
    uint8_t *outputs = p->outputs;
    for (uint32_t y = 0; y < p->height; y++) {
        for (uint32_t i = 0; i < p->width; i++, outputs += p->output_step) {
            const uint8_t *x = (const uint8_t *)p->plane + y * p->row_step + i * stride;
            uint32_t sum = p->start;
            for (uint32_t tap = 0; tap < TAPS; tap++) {
                sum += x[tap / 3 * p->pitch + tap % 3] * p->weights[tap];
            }
            *outputs = finish(p, sum, is_tflite);
        }
    }
}

ALWAYS_INLINE void run_lanes(const tq_plane_m0 *p, int is_tflite) {
    const uint32_t pitch = p->pitch / 4U;
    uint8_t *outputs = p->outputs;
    for (uint32_t y = 0; y < p->height; y++) {
        const uint32_t *row = (const uint32_t *)p->plane + y * (p->row_step / 4U);
        for (uint32_t i = 0; i < p->width; i += 2) {
            uint32_t sum = p->lanes;
            for (uint32_t tap = 0; tap < TAPS; tap++) {
                sum += row[i + tap / 3 * pitch + tap % 3] * p->weights[tap];
            }
            const int32_t low = (int32_t)((sum & 0xFFFFU) ^ 0x8000U) - 0x8000;
            const int32_t high = (int32_t)(sum - (uint32_t)low) >> 16;
            *outputs = finish(p, (uint32_t)low + p->start, is_tflite);
            outputs += p->output_step;
            if (i + 1 < p->width) {
                *outputs = finish(p, (uint32_t)high + p->start, is_tflite);
                outputs += p->output_step;
            }
        }
    }
}

void tq_plane_m0_1(const tq_plane_m0 *plane) {
    run_bytes(plane, 1, 0);
}
void tq_plane_m0_1_tflite(const tq_plane_m0 *plane) {
    run_bytes(plane, 1, 1);
}
void tq_plane_m0_2(const tq_plane_m0 *plane) {
    run_bytes(plane, 2, 0);
}
void tq_plane_m0_2_tflite(const tq_plane_m0 *plane) {
    run_bytes(plane, 2, 1);
}
void tq_plane_m0_lanes(const tq_plane_m0 *plane) {
    run_lanes(plane, 0);
}
void tq_plane_m0_lanes_tflite(const tq_plane_m0 *plane) {
    run_lanes(plane, 1);
}

#endif
