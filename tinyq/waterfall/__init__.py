# SPDX-License-Identifier: Apache-2.0
"""Where a quantized model loses accuracy: by cause, by layer, and what would help most cheaply."""

from tinyq.waterfall.layers import LayerLoss
from tinyq.waterfall.remedies import Remedy
from tinyq.waterfall.report import Explanation, explain
from tinyq.waterfall.stages import CAUSES, Stage

__all__ = ["CAUSES", "Explanation", "LayerLoss", "Remedy", "Stage", "explain"]
