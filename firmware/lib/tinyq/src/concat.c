/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/concat.h>

#include <stddef.h>
#include <string.h>

void tq_run_concat(const tq_concat *layer, const void *const *inputs, void *output) {
    uint8_t *out = output;
    for (uint32_t block = 0; block < layer->outer; block++) {
        for (uint32_t i = 0; i < layer->count; i++) {
            const size_t bytes = layer->block_bytes[i];
            memcpy(out, (const uint8_t *)inputs[i] + block * bytes, bytes);
            out += bytes;
        }
    }
}
