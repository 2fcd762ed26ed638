/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/dense_dsp.h>

#include "dense_blocks.h"
#include "lanes_dsp.h"

enum { BLOCK = 8 };

/* x times a word of two channels: sums[0] of the low bytes, sums[1] of the lanes. */
TQ_INLINE void add_word(uint32_t x, uint32_t lanes, uint32_t *sums) {
    sums[1] = tq_smlad(x, lanes, sums[1]);
    sums[0] = tq_smlad(x, tq_sxtb16(lanes), sums[0]);
}

/* Four inputs; channels: 2 or 8. */
TQ_INLINE const uint32_t *add_group(const uint32_t *weights, uint32_t bytes, uint32_t channels,
                                    uint32_t *sums, int is_signed) {
    const uint32_t even = even_lanes(bytes, is_signed);
    const uint32_t odd = odd_lanes(bytes, is_signed);
    for (uint32_t i = 0; i < channels; i += 2) {
        add_word(even, *weights++, sums + i);
    }
    for (uint32_t i = 0; i < channels; i += 2) {
        add_word(odd, *weights++, sums + i);
    }
    return weights;
}

TQ_INLINE const uint32_t *add_groups(const uint32_t *weights, const uint8_t *x, uint32_t groups,
                                     uint32_t channels, uint32_t *sums, int is_signed) {
    for (; groups > 0; groups--, x += 4) {
        weights = add_group(weights, tq_load32(x), channels, sums, is_signed);
    }
    return weights;
}

#if !TQ_DSP_ASSEMBLY
const uint32_t *tq_add_dense_int8_s8(const uint32_t *weights, const uint8_t *x, uint32_t groups,
                                     uint32_t *sums) {
    return add_groups(weights, x, groups, BLOCK, sums, 1);
}

const uint32_t *tq_add_dense_int8_u8(const uint32_t *weights, const uint8_t *x, uint32_t groups,
                                     uint32_t *sums) {
    return add_groups(weights, x, groups, BLOCK, sums, 0);
}
#endif

TQ_INLINE const uint32_t *sum(const uint32_t *weights, const tq_dense_x *x, uint32_t channels,
                              int32_t *to, int is_signed) {
    const uint32_t groups = x->count / 4;
    const uint32_t rest = x->count % 4;
    uint32_t sums[BLOCK] = {0, 0, 0, 0, 0, 0, 0, 0};
    if (channels < BLOCK) {
        weights = add_groups(weights, x->bytes, groups, 2, sums, is_signed);
    } else if (groups > 0) {
        weights = is_signed ? tq_add_dense_int8_s8(weights, x->bytes, groups, sums)
                            : tq_add_dense_int8_u8(weights, x->bytes, groups, sums);
    }
    if (rest > 0) {
        const uint32_t bytes = load_last(x->bytes + 4 * groups, rest);
        weights = add_group(weights, bytes, channels, sums, is_signed);
    }
    for (uint32_t i = 0; i < channels; i += 2) {
        to[i] = (int32_t)sums[i];
        to[i + 1] = (int32_t)(sums[i + 1] - sums[i]) >> 8;
    }
    return weights;
}

const uint32_t *tq_sum_dense_int8_s8(const uint32_t *weights, const tq_dense_x *x,
                                     uint32_t channels, int32_t *sums) {
    return sum(weights, x, channels, sums, 1);
}

const uint32_t *tq_sum_dense_int8_u8(const uint32_t *weights, const tq_dense_x *x,
                                     uint32_t channels, int32_t *sums) {
    return sum(weights, x, channels, sums, 0);
}
