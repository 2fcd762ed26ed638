/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_AVERAGE_POOL2D_MVE_H
#define TINYQ_AVERAGE_POOL2D_MVE_H

#include "average_pool2d.h"
#include "mve.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Elements of a window that 16 bits can add up. */
#define TQ_MVE_POOL_MAX 257U

/* tq_average_pool2d with the sums of eight channels in 16-bit lanes: kernel.height * kernel.width
 * <= TQ_MVE_POOL_MAX. */
typedef tq_average_pool2d tq_average_pool2d_mve;

/* input: [input], output: [output] elements of one byte; the two must not overlap. */
void tq_run_average_pool2d_mve(const tq_average_pool2d_mve *layer, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
