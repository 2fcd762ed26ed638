/* SPDX-License-Identifier: Apache-2.0 */
/* Two pixels of four channels are two words, and make one word of each of the four planes. */
#include "spread_dsp.h"

#include <tinyq/depthwise_conv2d_dsp.h>

const tq_spreading tq_spreading_s8 = {tq_spread_four_s8, tq_spread_two_s8, 1};
const tq_spreading tq_spreading_u8 = {tq_spread_four_u8, tq_spread_two_u8, 0};

#if !TQ_DSP_ASSEMBLY

#include <string.h>

#include "lanes_dsp.h"

static void store32(uint8_t *to, uint32_t lanes) {
    memcpy(to, &lanes, sizeof lanes);
}

static void store16(uint8_t *to, uint32_t lanes) {
    const uint16_t low = (uint16_t)(lanes & 0xFFFFU);
    memcpy(to, &low, sizeof low);
}

TQ_INLINE void spread_row(const tq_spread *job, const uint8_t *x, uint8_t *to, int is_signed) {
    const uint32_t plane = job->plane_bytes;
    uint32_t width = job->width;
    for (; width >= 2; width -= 2) {
        const uint32_t first = tq_load32(x);
        const uint32_t second = tq_load32(x + job->step);
        const uint32_t low = tq_pkhbt(first, second);
        const uint32_t high = tq_pkhtb(first, second);
        store32(to, even_lanes(low, is_signed));
        store32(to + plane, odd_lanes(low, is_signed));
        store32(to + 2 * plane, even_lanes(high, is_signed));
        store32(to + 3 * plane, odd_lanes(high, is_signed));
        x += 2 * job->step;
        to += 4;
    }
    if (width > 0) {
        const uint32_t even = even_lanes(tq_load32(x), is_signed);
        const uint32_t odd = odd_lanes(tq_load32(x), is_signed);
        store16(to, even);
        store16(to + plane, odd);
        store16(to + 2 * plane, even >> 16);
        store16(to + 3 * plane, odd >> 16);
    }
}

TQ_INLINE void spread_four(const tq_spread *job, int is_signed) {
    const uint8_t *x = job->x;
    uint8_t *to = (uint8_t *)job->to;
    for (uint32_t rows = job->rows; rows > 0; rows--) {
        spread_row(job, x, to, is_signed);
        x += job->row_bytes;
        to += TQ_PLANE_ROW_BYTES;
    }
}

TQ_INLINE void spread_two(const tq_spread *job, int is_signed) {
    const int32_t sign = tq_sign_bit(is_signed);
    const uint8_t *row = job->x;
    uint8_t *to_row = (uint8_t *)job->to;
    for (uint32_t rows = job->rows; rows > 0; rows--) {
        const uint8_t *x = row;
        uint8_t *to = to_row;
        for (uint32_t width = job->width; width > 0; width--, x += job->step, to += 2) {
            store16(to, (uint32_t)tq_read(x[0], sign));
            store16(to + job->plane_bytes, (uint32_t)tq_read(x[1], sign));
        }
        row += job->row_bytes;
        to_row += TQ_PLANE_ROW_BYTES;
    }
}

void tq_spread_four_s8(const tq_spread *job) {
    spread_four(job, 1);
}

void tq_spread_four_u8(const tq_spread *job) {
    spread_four(job, 0);
}

void tq_spread_two_s8(const tq_spread *job) {
    spread_two(job, 1);
}

void tq_spread_two_u8(const tq_spread *job) {
    spread_two(job, 0);
}

#endif
