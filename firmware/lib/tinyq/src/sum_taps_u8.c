/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>

#define ELEMENT uint8_t

#include "sum_taps_impl.h"

void tq_sum_taps_u8(const tq_taps *taps, uint32_t count, int32_t *sums) {
    sum_taps(taps, count, sums);
}
