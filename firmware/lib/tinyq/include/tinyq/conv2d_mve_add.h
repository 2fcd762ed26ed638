/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINYQ_CONV2D_MVE_ADD_H
#define TINYQ_CONV2D_MVE_ADD_H

#include "conv2d_mve.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A convolution and the addition of its output (a) and another tensor (b). Rows and columns are as
 * they are in memory: out_col = output.channels, out_row = output.width * out_col. */
typedef tq_conv2d_mve tq_conv2d_mve_add;

/* input: [input]; other, output: [output] elements of one byte; output may be other. scratch:
 * tile_rows * tile_cols * output.channels bytes, then that of tq_run_conv2d_mve. */
void tq_run_conv2d_mve_add(const tq_conv2d_mve_add *layer, const void *input, const void *other,
                           void *output, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
