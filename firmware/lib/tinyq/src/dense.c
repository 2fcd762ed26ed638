/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/dense.h>

void tq_run_dense(const tq_dense *layer, const void *input, void *output) {
    tq_run_vector(&layer->weights, &layer->requant, layer->dot, input, layer->inputs,
                  layer->outputs, output);
}
