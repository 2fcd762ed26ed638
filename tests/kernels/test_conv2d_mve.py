# SPDX-License-Identifier: Apache-2.0
"""Conv2D in Helium vectors against tinyq.ops: any window, every form of weights, any tile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lanes import extreme_inputs, full_graph

from kernels.chosen import KernelCase, in_kernel
from kernels.harness import Case, Check
from kernels.random_layers import codes, label, linear_parameters, random_input, random_window
from tinyq.kernels import conv2d_mve
from tinyq.ops import Conv2D
from tinyq.tensors import Shape

ENCODINGS = ("int8", "int4", "lut4", "pot4", "apot4")


def random_case(
    rng: np.random.Generator, encoding: str, shape: Shape, outputs: int, window: dict[str, object]
) -> KernelCase:
    """A convolution of an image ``shape``."""
    x = random_input(rng, shape)
    parameters, y = linear_parameters(rng, encoding, (outputs, *window["kernel"], shape[2]), x)
    if rng.random() < 0.4:  # the commonest output has a routine of its own
        parameters |= {"activation": "relu"}
        y = replace(y, dtype="uint8", bits=8)
    op = Conv2D(**parameters, strides=window["strides"], padding=window["padding"])
    out = replace(y, shape=op.infer_shape([shape]))
    return in_kernel(Case(op, (x,), out, (codes(rng, x),), label=label(op, x)), "conv2d_mve", "m55")


def windows_of_all_kinds(rng: np.random.Generator, encoding: str) -> list[KernelCase]:
    """Random ones, and those that have a way of their own."""
    cases = []
    for _ in range(10):
        size, window = random_window(rng, 4)
        channels, outputs = rng.choice([1, 2, 3, 5, 8, 16, 17, 33]), rng.choice([1, 2, 4, 5, 9])
        cases.append(random_case(rng, encoding, (*size, int(channels)), int(outputs), window))
    one = {"kernel": (1, 1), "strides": (1, 1), "padding": (0, 0, 0, 0)}
    cases.append(random_case(rng, encoding, (3, 5, 20), 6, one))
    cases.append(random_case(rng, encoding, (1, 1, 7), 3, one))
    cases.extend(random_case(rng, encoding, (2, 4, c), 7, one) for c in (1, 8, 15, 16))
    cases.append(random_case(rng, encoding, (5, 6, 16), 4, one | {"strides": (2, 2)}))
    cases.append(random_case(rng, encoding, (4, 3, 2), 5, one | {"padding": (1, 0, 1, 2)}))
    return cases


def test_every_routine_is_tested() -> None:
    rng = np.random.default_rng(1)
    cases = [c for encoding in ENCODINGS for c in windows_of_all_kinds(rng, encoding)]
    fields = [case.layer().fields for case in cases]
    assert {f["dot"] for f in fields} == {f"tq_mve_dot_{n}" for n in ("any", "nudge", "short")}
    expansions = {None, "tq_mve_expand_int4", "tq_mve_expand_table"}
    assert {f.get("expand") for f in fields} == expansions


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_windows(encoding: str, check: Check) -> None:
    check(windows_of_all_kinds(np.random.default_rng(1), encoding))


@pytest.mark.parametrize("encoding", ["int8", "int4", "lut4"])
def test_tiles_of_part_of_a_row(
    encoding: str, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv2d_mve, "BUDGET", 40)
    monkeypatch.setattr(conv2d_mve, "EXPANDED_BUDGET", 40)
    rng = np.random.default_rng(2)
    cases = windows_of_all_kinds(rng, encoding)
    cases.append(
        random_case(
            rng, encoding, (3, 11, 3), 3,
            {"kernel": (3, 3), "strides": (1, 2), "padding": (1, 1, 2, 2)},
        )
    )  # fmt: skip
    assert any(c.layer().fields["tile_cols"] < c.layer().fields["output"]["width"] for c in cases)
    check(cases)


def test_rows_and_columns_change_places_in_narrow_images(check: Check) -> None:
    rng = np.random.default_rng(4)
    window = {"kernel": (5, 2), "strides": (2, 1), "padding": (1, 2, 1, 0)}
    cases = [random_case(rng, "int8", (12, 3, c), 5, window) for c in (1, 3, 16)]
    assert all(c.layer().fields["output"]["height"] == 3 for c in cases)
    check(cases)


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_sums_at_the_bound_of_the_scaled_form(activation: str, check: Check) -> None:
    graphs = [full_graph("int4", d, b, 0, activation) for d in ("uint8", "int8") for b in (8, 4)]
    check([case_of(graph) for graph in graphs])


def case_of(graph: object) -> KernelCase:
    ((node, op),) = graph.linear_nodes()
    x, y = graph.tensors["x"], graph.out(node)
    return in_kernel(Case(op, (x,), y, (extreme_inputs(graph),)), "conv2d_mve", "m55")


def test_four_bits_stay_four_bits_and_others_stay_away() -> None:
    rng = np.random.default_rng(3)
    window = {"kernel": (2, 2), "strides": (1, 1), "padding": (0, 0, 0, 0)}
    for encoding in ("int8", "int4", "lut4"):
        table = random_case(rng, encoding, (4, 4, 16), 4, window).layer().fields["codes"]
        assert len(table.values) == 4 * 64 // (1 if encoding == "int8" else 2)
    for encoding in ("int3", "int2", "lut3", "lut2", "pot3", "apot3"):
        assert random_case(rng, encoding, (4, 4, 16), 4, window).choice() is None
    other = random_case(rng, "int8", (4, 4, 16), 4, window)
    assert in_kernel(other, "conv2d_mve", "m4").choice() is None
