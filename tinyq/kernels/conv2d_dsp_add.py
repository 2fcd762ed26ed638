# SPDX-License-Identifier: Apache-2.0
"""Convolution on cores with DSP instructions, and the addition that follows, in one pass.

The convolution's own rounding and clamp remain; the sum overwrites the tensor that is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tinyq.kernels import conv2d_dsp
from tinyq.kernels.request import Request
from tinyq.ops.clayer import CLayer, CStruct


def choose(request: Request) -> CLayer | None:
    """Where an addition alone reads a convolution that conv2d_dsp can do."""
    if request.follower is None:
        return None
    layer = conv2d_dsp.build(request, end_fields)
    if layer is None:
        return None
    return replace(layer, stem="conv2d_dsp_add", in_place=(1,), fuses=True)


def end_fields(request: Request) -> CStruct:
    """A pass that adds, where there is one for both ends, else the finish that does any."""
    plain = dict(conv2d_dsp.end_fields(request))
    addition = add_fields(request)
    name = fast_pass(plain.pop("pass", None), addition)
    if name is not None:
        return plain | {"add": addition, "pass": name}
    starts = conv2d_dsp.starts_table(request, adjusted=False)
    return plain | {"add": addition, "finish": "tq_dsp_finish_add_any", "starts": starts}


def fast_pass(plain: str | None, addition: Mapping[str, Any]) -> str | None:
    """For what residual networks have: a linear convolution, a clamp to uint8, room for 2**16."""
    limits, shift = (addition["lo"], addition["hi"]), addition["shift"]
    reach = 255 * (addition["y_raised"] + addition["other_raised"]) + 2**15
    if plain != conv2d_dsp.TFLITE_PASS or limits != (0, 255) or shift > 16 or reach >= 2**31:
        return None
    return f"tq_dsp_pass_add_{'s8' if addition['other_signed'] else 'u8'}"


def add_fields(request: Request) -> dict[str, Any]:
    """A ``tq_dsp_add``: y is the convolution's output, whichever of the two it is.

    A shift of 0 becomes one of 1 with doubled factors, so that half a unit exists.
    """
    node = request.follower
    assert node is not None
    ins, out = request.graph.ins(node), request.graph.out(node)
    plain = node.op.to_c(ins, out).fields
    y, other = ("a", "b") if node.inputs[0] == request.node.output else ("b", "a")
    double = int(plain["shift"] == 0)
    factors = [plain[f"{each}_factor"] << double for each in (y, other)]
    raised = [factor << max(16 - plain["shift"] - double, 0) for factor in factors]
    return {
        "y_factor": factors[0],
        "other_factor": factors[1],
        "y_raised": raised[0],
        "other_raised": raised[1],
        "other_signed": plain[f"{other}_signed"],
        "shift": plain["shift"] + double,
        "lo": plain["lo"],
        "hi": plain["hi"],
    }
