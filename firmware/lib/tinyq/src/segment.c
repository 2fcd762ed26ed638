/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/weights.h>

void tq_run_segment(const tq_weights *weights, const tq_requant *requant, tq_dot dot,
                    const tq_segment *segment, uint32_t channels, uint8_t *outputs) {
    int32_t sums[TQ_CHANNEL_CHUNK];
    for (uint32_t first = 0; first < channels; first += TQ_CHANNEL_CHUNK) {
        const uint32_t left = channels - first;
        const uint32_t count = left < TQ_CHANNEL_CHUNK ? left : TQ_CHANNEL_CHUNK;
        tq_start_sums(requant, first, count, sums);
        dot(weights, segment, first, count, sums);
        tq_requantize(requant, first, count, sums, outputs + first);
    }
}
