/* SPDX-License-Identifier: Apache-2.0 */
/* What dense_mve_m55.S computes, for every other machine. */
#include <tinyq/dense_mve.h>

#if !TQ_HAS_MVE

#include <stddef.h>

#include "mve_codes.h"

/* Accumulator of a block's channel. */
static int32_t dot(const tq_dense_mve *layer, const uint8_t *codes, const uint8_t *x,
                   uint32_t channel, int32_t bias, tq_mve_weight weight) {
    uint32_t sum = (uint32_t)bias;
    for (uint32_t i = 0; i < layer->inputs; i++) {
        const int32_t w = weight(codes, layer->table, i, channel);
        sum += (uint32_t)(tq_mve_read(x[i], (uint8_t)layer->flip) * w);
    }
    return (int32_t)sum;
}

/* vector_bytes: codes of a block for one vector of inputs. */
static void run(const tq_dense_mve *layer, const uint8_t *x, uint8_t *output, tq_mve_weight weight,
                uint32_t vector_bytes, int has_nudge) {
    const tq_mve_requant *const r = &layer->requant;
    const uint32_t vectors = (layer->inputs + TQ_MVE_BYTES - 1) / TQ_MVE_BYTES;
    for (uint32_t o = 0; o < layer->outputs; o++) {
        const uint8_t *const codes = layer->codes + o / TQ_MVE_CHANNELS * vectors * vector_bytes;
        const int32_t sum = dot(layer, codes, x, o % TQ_MVE_CHANNELS, r->bias[o], weight);
        const int32_t nudge = has_nudge ? r->nudge[o] : 0;
        output[o] = (uint8_t)tq_mve_requantize(sum, r->shift[o], nudge, r->lo, r->hi);
    }
}

enum { INT8_BYTES = 64, NIBBLE_BYTES = 32 };

#define DEFINE_DENSE(form, vector_bytes)                                                           \
    void tq_mve_dense_##form(const tq_dense_mve *layer, const uint8_t *x, uint8_t *output) {       \
        run(layer, x, output, tq_mve_weight_##form, vector_bytes, 0);                              \
    }                                                                                              \
    void tq_mve_dense_##form##_nudge(const tq_dense_mve *layer, const uint8_t *x,                  \
                                     uint8_t *output) {                                            \
        run(layer, x, output, tq_mve_weight_##form, vector_bytes, 1);                              \
    }
DEFINE_DENSE(int8, INT8_BYTES)
DEFINE_DENSE(int4, NIBBLE_BYTES)
DEFINE_DENSE(table, NIBBLE_BYTES)

#else

typedef int tq_dense_mve_parts_are_assembly; /* a translation unit must declare something */

#endif
