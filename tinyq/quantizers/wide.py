# SPDX-License-Identifier: Apache-2.0
"""Eight bits without variables: the stand-in for a weight quantizer early in a gradual training.

e = the smallest exponent with max|w| < 2**(e + 7), from the kernel itself, so that nothing has to
be learned or saved; q = clip(floor(w / 2**e + 1/2), +-127), gradient 1 inside the range.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tinyq.quantizers.base import Variables, WeightQuantizer, bounded_spread
from tinyq.quantizers.functions import Tensor, exp2, exponent_above, round_half_up

MAGNITUDE_BITS: Final = 7
LARGEST: Final = 127.0


class Wide(WeightQuantizer):
    """Uniform 8-bit codes; ``weights`` holds the kernel itself under "kernel"."""

    @property
    def encoding(self) -> str:
        return "int8"

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        return {}

    def exponent(self, weights: Variables) -> Tensor:
        kernel = tf.stop_gradient(weights["kernel"])
        kept = {axis % len(kernel.shape) for axis in self.scale_axes}
        others = [axis for axis in range(len(kernel.shape)) if axis not in kept]
        peaks = tf.reduce_max(tf.abs(kernel), others, keepdims=True)
        return bounded_spread(exponent_above(peaks) - float(MAGNITUDE_BITS))

    def codes(self, inputs: Tensor, weights: Variables, exponent: Tensor) -> Tensor:
        return tf.clip_by_value(round_half_up(inputs / exp2(exponent)), -LARGEST, LARGEST)

    def initialize(self, values: npt.NDArray[np.float32], weights: Variables) -> None:
        """Nothing to set."""
