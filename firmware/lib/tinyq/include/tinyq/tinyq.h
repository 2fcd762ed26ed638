/* SPDX-License-Identifier: Apache-2.0 */
/* Everything. */
#ifndef TINYQ_TINYQ_H
#define TINYQ_TINYQ_H

#include "add.h"
#include "arith.h"
#include "average_pool2d.h"
#include "blocks_m0.h"
#include "concat.h"
#include "conv2d.h"
#include "conv2d_lanes.h"
#include "conv2d_m0.h"
#include "conv2d_mve.h"
#include "conv2d_nibbles.h"
#include "conv2d_pairs.h"
#include "conv2d_pot_code.h"
#include "conv2d_smlal.h"
#include "crc32.h"
#include "dense.h"
#include "dense_dsp.h"
#include "dense_lut_dsp.h"
#include "dense_m0.h"
#include "dense_mve.h"
#include "depthwise_conv2d.h"
#include "depthwise_conv2d_dsp.h"
#include "depthwise_conv2d_mve.h"
#include "geometry.h"
#include "lookup.h"
#include "max_pool2d.h"
#include "model.h"
#include "pad2d.h"
#include "pairs.h"
#include "relu.h"
#include "softmax.h"
#include "version.h"
#include "weights.h"

#endif
