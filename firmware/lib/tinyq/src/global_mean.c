/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/global_mean.h>

#include <tinyq/arith.h>

void tq_run_global_mean(const tq_global_mean *layer, const void *input, void *output) {
    const uint32_t channels = layer->input.channels;
    const uint32_t pixels = (uint32_t)layer->input.height * layer->input.width;
    const int32_t sign = tq_sign_bit(layer->is_signed);
    const int32_t factor = layer->factor;
    const uint8_t *const image = input;
    uint8_t *out = output;

    for (uint32_t c = 0; c < channels; c++) {
        const uint8_t *p = image + c;
        int32_t sum = 0;
        for (uint32_t left = pixels; left > 0; left--, p += channels) {
            sum += tq_read(*p, sign);
        }
        const int32_t mean = tq_round_shift_tflite(sum * factor, layer->shift);
        out[c] = (uint8_t)tq_clamp(mean, layer->lo, layer->hi);
    }
}
