# SPDX-License-Identifier: Apache-2.0
"""Sums that fill 16-bit accumulators to the last unit, on every backend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from c_model import model_part
from lanes import extreme_inputs, full_graph

from tinyq import executor
from tinyq.backends.emulated import pack_samples
from tinyq.emulators import RunRequest, build, emulator
from tinyq.project import render_model
from tinyq.toolchain import library_part


@pytest.mark.parametrize(("encoding", "dtype"), [("int8", "uint8"), ("int4", "int8")])
def test_inputs_that_reach_the_bound(
    backend: str, encoding: str, dtype: str, tmp_path: Path
) -> None:
    graph = full_graph(encoding, dtype)
    files = render_model(graph, "net")
    assert "tq_run_conv2d_lanes(&conv_layer" in files["net/src/net.c"]
    codes = {"x": extreme_inputs(graph)}
    chosen = emulator(backend)
    image = build(chosen, [model_part(files, tmp_path), library_part()], "net_model")
    count = len(codes["x"])
    result = chosen.run(RunRequest(image, pack_samples(graph, codes), count, selftest=True))
    expected = executor.run(graph, codes)["y"]
    assert result.selftest == 0
    assert b"".join(result.outputs) == np.ascontiguousarray(expected).tobytes()
