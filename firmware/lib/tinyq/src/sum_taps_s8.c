/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>

#define ELEMENT int8_t

#include "sum_taps_impl.h"

void tq_sum_taps_s8(const tq_taps *taps, uint32_t count, int32_t *sums) {
    sum_taps(taps, count, sums);
}
