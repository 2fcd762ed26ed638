/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/dense_lut_dsp.h>

#include "dense_blocks.h"
#include "lanes_dsp.h"

enum { CODES = 16, LANES = CODES * CODES + 1, BLOCK = 8 };

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

/* Four inputs; channels: 1 or 8. */
TQ_INLINE const uint8_t *add_group(const uint8_t *codes, uint32_t bytes, const int16_t *lanes,
                                   uint32_t channels, uint32_t *sums, int is_signed) {
    const uint32_t even = even_lanes(bytes, is_signed);
    const uint32_t odd = odd_lanes(bytes, is_signed);
    for (uint32_t i = 0; i < channels; i++) {
        sums[i] = tq_smlad(even, tq_load32(lanes + *codes++), sums[i]);
    }
    for (uint32_t i = 0; i < channels; i++) {
        sums[i] = tq_smlad(odd, tq_load32(lanes + *codes++), sums[i]);
    }
    return codes;
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
const uint8_t *tq_add_dense_lut_s8(const uint8_t *codes, const uint8_t *x, uint32_t groups,
                                   const int16_t *lanes, uint32_t *sums) {
    return add_groups(codes, x, groups, lanes, BLOCK, sums, 1);
}

const uint8_t *tq_add_dense_lut_u8(const uint8_t *codes, const uint8_t *x, uint32_t groups,
                                   const int16_t *lanes, uint32_t *sums) {
    return add_groups(codes, x, groups, lanes, BLOCK, sums, 0);
}
#endif

/* The sums of 1 or 8 channels. */
static const uint8_t *sum(const tq_dense_lut_dsp *layer, const uint8_t *codes, const uint8_t *x,
                          const int16_t *lanes, uint32_t channels, uint32_t *sums) {
    const uint32_t groups = layer->inputs / 4;
    const uint32_t rest = layer->inputs % 4;
    for (uint32_t i = 0; i < channels; i++) {
        sums[i] = 0;
    }
    if (channels < BLOCK) {
        codes = add_groups(codes, x, groups, lanes, 1, sums, layer->is_signed);
    } else if (groups > 0) {
        codes = layer->add(codes, x, groups, lanes, sums);
    }
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

    lay_out(layer->table, lanes);
    for (uint32_t first = 0; first < layer->outputs;) {
        const uint32_t channels = layer->outputs - first < BLOCK ? 1 : BLOCK;
        codes = sum(layer, codes, input, lanes, channels, (uint32_t *)sums);
        finish_sums(&layer->requant, first, channels, sums, outputs + first);
        first += channels;
    }
}
