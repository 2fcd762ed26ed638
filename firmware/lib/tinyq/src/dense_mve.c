/* SPDX-License-Identifier: Apache-2.0 */
#include <tinyq/dense_mve.h>

void tq_run_dense_mve(const tq_dense_mve *layer, const void *input, void *output) {
    layer->run(layer, input, output);
}
