/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every weight is used once: nothing is expanded, codes are taken apart in registers, a block of
 * outputs at a time.
 */
#include <tinyq/dense_m0.h>

#include <stddef.h>

typedef struct work {
    const uint8_t *x;
    const int8_t *pairs;
    const uint8_t *codes;  /* of the next block */
    const uint32_t *lanes; /* of the next block */
    uint32_t *sums;        /* [TQ_DENSE_M0_CHUNK] */
    uint32_t *totals;      /* [segment_count] sums of x */
} work;

static void flip_inputs(const uint8_t *x, uint32_t count, uint8_t flip, uint8_t *to) {
    for (; count > 0; count--) {
        *to++ = *x++ ^ flip;
    }
}

static void add_up(const tq_dense_m0 *layer, const uint8_t *x, uint32_t *totals) {
    for (uint32_t i = 0; i < layer->segment_count; i++) {
        uint32_t total = 0;
        for (uint32_t left = layer->segments[i]; left > 0; left--) {
            total += *x++;
        }
        totals[i] = total;
    }
}

static void run_block(const tq_dense_m0 *layer, work *w, uint32_t *sums) {
    tq_row_m0 row = {.x = w->x, .pairs = w->pairs, .sums = sums};
    for (uint32_t i = 0; i < layer->segment_count; i++) {
        row.codes = w->codes;
        row.start = w->lanes;
        row.count = layer->segments[i];
        row.total = w->totals[i];
        layer->dot(&row);
        row.x += row.count;
        w->codes += row.count * layer->tap_bytes;
        w->lanes += w->lanes != NULL ? 4 : 0;
    }
}

/* Outputs first..first+count-1. */
static void run_chunk(const tq_dense_m0 *layer, work *w, uint32_t first, uint32_t count,
                      uint8_t *outputs) {
    const int32_t *const start = layer->requant.start + first;
    for (uint32_t i = 0; i < count; i += layer->block) {
        for (uint32_t j = i; j < i + layer->block; j++) {
            w->sums[j] = (uint32_t)start[j];
        }
        run_block(layer, w, w->sums + i);
    }
    tq_requantize_m0_row(&layer->requant, first, count, w->sums, outputs + first);
}

void tq_run_dense_m0(const tq_dense_m0 *layer, const void *input, void *output, void *scratch) {
    uint32_t *const sums = scratch;
    uint32_t *const totals = sums + TQ_DENSE_M0_CHUNK;
    uint8_t *next = (uint8_t *)(totals + layer->segment_count);
    work w = {.x = input, .codes = layer->codes, .lanes = layer->lanes};
    w.sums = sums;
    w.totals = totals;
    if (layer->table != NULL) {
        tq_pairs_m0(layer->table, (int8_t *)next);
        w.pairs = (const int8_t *)next;
        next += TQ_PAIRS_M0_BYTES;
    }
    if (layer->flip != 0) {
        flip_inputs(input, layer->inputs, layer->flip, next);
        w.x = next;
    }
    add_up(layer, w.x, totals);
    for (uint32_t first = 0; first < layer->outputs; first += TQ_DENSE_M0_CHUNK) {
        const uint32_t left = layer->outputs - first;
        const uint32_t count = left < TQ_DENSE_M0_CHUNK ? left : TQ_DENSE_M0_CHUNK;
        run_chunk(layer, &w, first, count, output);
    }
}

/* What dense_m0_thumb1.S has in assembly. */
#if !defined(__ARM_ARCH_6M__)

void tq_dot_row_m0_8(const tq_row_m0 *row) {
    const uint32_t *words = row->codes;
    uint32_t low[2] = {0, 0};
    uint32_t both[2] = {0, 0};
    for (uint32_t i = 0; i < row->count; i++) {
        for (uint32_t j = 0; j < 2; j++) {
            const int32_t half = (int32_t)((words[i] >> (16 * j) & 0xFFFFU) ^ 0x8000U) - 0x8000;
            both[j] += row->x[i] * (uint32_t)half;
            low[j] += row->x[i] * (uint32_t)tq_read((uint8_t)half, 128);
        }
    }
    for (uint32_t j = 0; j < 2; j++) {
        row->sums[2 * j] += low[j];
        row->sums[2 * j + 1] += (uint32_t)((int32_t)(both[j] - low[j]) >> 8);
    }
}

void tq_dot_row_m0_4(const tq_row_m0 *row) {
    const uint8_t *codes = row->codes;
    for (uint32_t i = 0; i < row->count; i++) {
        for (uint32_t j = 0; j < 4; j += 2, codes++) {
            row->sums[j] += row->x[i] * (uint32_t)row->pairs[*codes];
            row->sums[j + 1] += row->x[i] * (uint32_t)row->pairs[256 + *codes];
        }
    }
}

void tq_dot_row_m0_lanes(const tq_row_m0 *row) {
    const uint32_t *words = row->codes;
    for (uint32_t j = 0; j < 4; j++) {
        uint32_t lanes = row->start[j] - row->total * 0x80008U;
        for (uint32_t i = 0; i < row->count; i++) {
            lanes += row->x[i] * (words[i] >> (4 * j) & 0xF000FU);
        }
        const int32_t low = (int32_t)((lanes & 0xFFFFU) ^ 0x8000U) - 0x8000;
        row->sums[j] += (uint32_t)low;
        row->sums[j + 4] += (uint32_t)((int32_t)(lanes - (uint32_t)low) >> 16);
    }
}

#endif
