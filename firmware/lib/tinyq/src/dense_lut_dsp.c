/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/dense_lut_dsp.h>

#include <stddef.h>

#include "dense_blocks.h"

enum { CODES = 16, LANES = CODES * CODES + 1 };

/* The images of the sequence in which every code is followed once by every code. */
static void lay_out(const int8_t *table, int16_t *lanes) {
    for (uint32_t i = 0; i < CODES; i++) {
        *lanes++ = table[i];
        for (uint32_t j = i + 1; j < CODES; j++) {
            *lanes++ = table[i];
            *lanes++ = table[j];
        }
    }
    *lanes = table[0];
}

/* Two inputs twice; channels: 1 or 8. */
TQ_INLINE const uint8_t *add_lanes(const uint8_t *codes, uint32_t even, uint32_t odd,
                                   const int16_t *lanes, uint32_t channels, uint32_t *sums) {
    for (uint32_t i = 0; i < channels; i++) {
        sums[i] = tq_smlad(even, tq_load32(lanes + *codes++), sums[i]);
    }
    for (uint32_t i = 0; i < channels; i++) {
        sums[i] = tq_smlad(odd, tq_load32(lanes + *codes++), sums[i]);
    }
    return codes;
}

/* Four inputs. */
TQ_INLINE const uint8_t *add_group(const uint8_t *codes, uint32_t bytes, const int16_t *lanes,
                                   uint32_t channels, uint32_t *sums, int is_signed) {
    return add_lanes(codes, even_lanes(bytes, is_signed), odd_lanes(bytes, is_signed), lanes,
                     channels, sums);
}

TQ_INLINE const uint8_t *add_groups(const uint8_t *codes, const uint8_t *x, uint32_t groups,
                                    const int16_t *lanes, uint32_t channels, uint32_t *sums,
                                    int is_signed) {
    for (; groups > 0; groups--, x += 4) {
        codes = add_group(codes, tq_load32(x), lanes, channels, sums, is_signed);
    }
    return codes;
}

#if !TQ_DSP_ASSEMBLY
TQ_INLINE void run(tq_dense_dsp_blocks *job, int is_signed) {
    while (job->blocks > 0) {
        uint32_t sums[BLOCK] = {0, 0, 0, 0, 0, 0, 0, 0};
        job->weights =
            add_groups(job->weights, job->x, job->groups, job->lanes, BLOCK, sums, is_signed);
        finish_block(job, (const int32_t *)sums);
    }
}

void tq_run_dense_lut_s8(tq_dense_dsp_blocks *job) {
    run(job, 1);
}

void tq_run_dense_lut_u8(tq_dense_dsp_blocks *job) {
    run(job, 0);
}

void tq_run_dense_lut_lanes(tq_dense_dsp_blocks *job) {
    for (; job->blocks > 0;) {
        const uint8_t *x = job->x;
        uint32_t sums[BLOCK] = {0, 0, 0, 0, 0, 0, 0, 0};
        for (uint32_t i = 0; i < job->groups; i++, x += 8) {
            job->weights =
                add_lanes(job->weights, tq_load32(x), tq_load32(x + 4), job->lanes, BLOCK, sums);
        }
        finish_block(job, (const int32_t *)sums);
    }
}
#endif

/* Inputs as lanes. */
static void expand(const tq_dense_lut_dsp *layer, const uint8_t *x, uint32_t *to) {
    for (uint32_t left = layer->inputs; left >= 4; left -= 4, x += 4, to += 2) {
        const uint32_t bytes = tq_load32(x);
        to[0] = layer->is_signed ? tq_sxtb16(bytes) : tq_uxtb16(bytes);
        to[1] = layer->is_signed ? tq_sxtb16_ror8(bytes) : tq_uxtb16_ror8(bytes);
    }
}

/* Whole blocks; returns the codes behind them. */
static const uint8_t *run_blocks(const tq_dense_lut_dsp *layer, const int16_t *lanes,
                                 const void *input, void *output) {
    uint32_t expanded[TQ_DENSE_LUT_EXPANDED / 2];
    tq_dense_dsp_blocks job =
        blocks_of(&layer->requant, layer->codes, input, layer->inputs, layer->outputs, output);
    job.lanes = lanes;
    if (layer->run == tq_run_dense_lut_lanes) {
        expand(layer, input, expanded);
        job.x = (const uint8_t *)expanded;
    }
    layer->run(&job);
    return job.weights;
}

/* The sums of 1 or 8 channels. */
static const uint8_t *sum(const tq_dense_lut_dsp *layer, const uint8_t *codes, const uint8_t *x,
                          const int16_t *lanes, uint32_t channels, uint32_t *sums) {
    const uint32_t groups = layer->inputs / 4;
    const uint32_t rest = layer->inputs % 4;
    for (uint32_t i = 0; i < channels; i++) {
        sums[i] = 0;
    }
    codes = channels < BLOCK ? add_groups(codes, x, groups, lanes, 1, sums, layer->is_signed)
                             : add_groups(codes, x, groups, lanes, BLOCK, sums, layer->is_signed);
    if (rest > 0) {
        const uint32_t bytes = load_last(x + 4 * groups, rest);
        codes = add_group(codes, bytes, lanes, channels, sums, layer->is_signed);
    }
    return codes;
}

void tq_run_dense_lut_dsp(const tq_dense_lut_dsp *layer, const void *input, void *output) {
    const uint8_t *codes = layer->codes;
    uint8_t *const outputs = output;
    int16_t lanes[LANES];
    int32_t sums[BLOCK];
    uint32_t done = 0;

    lay_out(layer->table, lanes);
    if (layer->run != NULL && layer->outputs >= BLOCK) {
        codes = run_blocks(layer, lanes, input, output);
        done = layer->outputs / BLOCK * BLOCK;
    }
    for (uint32_t first = done; first < layer->outputs;) {
        const uint32_t channels = layer->outputs - first < BLOCK ? 1 : BLOCK;
        codes = sum(layer, codes, input, lanes, channels, (uint32_t *)sums);
        finish_sums(&layer->requant, first, channels, sums, outputs + first);
        first += channels;
    }
}
