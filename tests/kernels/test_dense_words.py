# SPDX-License-Identifier: Apache-2.0
"""Dense on words against tinyq.ops: sizes, encodings, segments and pairs at their bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from kernels.harness import Case, Check, run_program
from kernels.random_layers import codes, label, linear_parameters, random_input
from tinyq import proof
from tinyq.cores import CORES
from tinyq.encodings import ENCODINGS, Weights, encode_image
from tinyq.graph import Graph, Node
from tinyq.kernels import Request, dense_words
from tinyq.ops import Dense
from tinyq.ops.clayer import CLayer
from tinyq.tensors import Tensor


def choose(op: Dense, x: Tensor, out: Tensor, core: str = "m3") -> CLayer | None:
    node = Node("n", op, (x.name,), (out.name,))
    graph = Graph("g", {x.name: x, out.name: out}, (node,), node.inputs, node.outputs)
    bounds, proved = (proof.intervals(graph)[x.name],), proof.prove(graph)["n"]
    plain = op.to_c((x,), out)
    return dense_words.choose(Request(CORES[core], graph, node, plain, proved, bounds))


@dataclass(frozen=True, eq=False)
class WordsCase(Case):
    """A dense layer that runs in the kernel of words."""

    def layer(self) -> CLayer:
        layer = choose(self.op, self.ins[0], self.out)
        assert layer is not None
        return layer


def any_case(rng: np.random.Generator, encoding: str, inputs: int, outputs: int) -> WordsCase:
    x = random_input(rng, (inputs,))
    parameters, y = linear_parameters(rng, encoding, (outputs, inputs), x)
    op = Dense(**parameters)
    out = replace(y, shape=(outputs,))
    return WordsCase(op, (x,), out, (codes(rng, x),), label=label(op, x))


def random_case(rng: np.random.Generator, encoding: str, inputs: int, outputs: int) -> WordsCase:
    """One that is chosen: with a table, sums beyond 24 bits are not."""
    case = any_case(rng, encoding, inputs, outputs)
    while choose(case.op, case.ins[0], case.out) is None:
        assert encoding not in ("int8", "int4")
        case = any_case(rng, encoding, inputs, outputs)
    return case


@pytest.mark.parametrize("encoding", ["int8", "int4", "lut4", "pot4", "apot4"])
def test_random_sizes(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(31)
    sizes = [(1, 1), (2, 8), (3, 9), (8, 128), (15, 7), (16, 16), (17, 20), (64, 10), (128, 8)]
    sizes += [(129, 17), (131, 150), (23, 2), (31, 300)]
    check([random_case(rng, encoding, *size) for size in sizes for _ in range(2)])


def dot_case(image: np.ndarray, bias: int, encoding: str, xs: np.ndarray) -> WordsCase:
    x = Tensor("x", (image.shape[1],), "int8", 8, 0)
    out = Tensor("y", (len(image),), "int8", 8, 9)
    if encoding == "lut4":
        weights = encode_image(image, ENCODINGS[encoding], np.zeros(1, np.int32))
    else:
        weights = Weights(encoding, image.astype(np.int8), np.zeros(1, np.int32))
    op = Dense(weights, np.full(len(image), bias, np.int32), "linear", "half_up")
    return WordsCase(op, (x,), out, (xs.astype(np.int8),), label=f"dot {image.shape} {bias}")


def test_segments_that_fill_16_bits(check: Check) -> None:
    """64 weights of 4 times -128 are -2**15, in either lane, whatever is in the other."""
    rng = np.random.default_rng(32)
    image = rng.choice([4, -4], (19, 320))
    image[:3] = 4
    signs = np.where(image[:8] > 0, -128, 127)
    xs = np.concatenate([np.full((1, 320), -128), np.full((1, 320), 127), signs, -1 - signs])
    cases = [dot_case(image, bias, "int4", xs) for bias in (0, 163840, -163840)]
    assert list(cases[0].layer().fields["segments"].values) == [32] * 5
    check(cases)


def test_one_beyond_a_segment_would_be_wrong(library: Path, tmp_path: Path) -> None:
    case = dot_case(np.full((8, 320), 4), 163840, "int4", np.full((1, 320), -128))
    layer = case.layer()
    segments = replace(layer.fields["segments"], values=np.array([33, 31, 32, 32, 32], np.uint16))

    class Late(WordsCase):
        def layer(self) -> CLayer:
            return replace(layer, fields={**layer.fields, "segments": segments})

    late = Late(case.op, case.ins, case.out, case.xs)
    (got,) = run_program([late], library, tmp_path)
    assert not np.array_equal(got.astype(np.int64), late.expected())


def test_pairs_of_a_table_fill_24_bits(check: Check) -> None:
    """512 weights of 127 reach 2**23 with the bias; one more is left to another kernel."""
    image = np.full((9, 512), 127)
    image[1::2] = -127
    xs = np.stack([np.full(512, v) for v in (-128, 127)])
    top = 2**23 - 512 * 127 * 128
    least, greatest = -top - 256, top - 257  # 256: the rounding constant
    cases = [dot_case(image, bias, "lut4", xs) for bias in (least, greatest)]
    beyond = [dot_case(image, bias, "lut4", xs) for bias in (least - 1, greatest + 1)]
    assert [choose(case.op, case.ins[0], case.out) for case in beyond] == [None, None]
    check(cases)


def test_what_is_not_chosen() -> None:
    rng = np.random.default_rng(33)
    case = random_case(rng, "int8", 8, 8)
    for core in ("generic", "m0", "m4", "m55"):
        assert choose(case.op, case.ins[0], case.out, core) is None
    for encoding in ("int3", "int2", "lut3", "lut2", "pot3", "apot3"):
        other = any_case(rng, encoding, 8, 8)
        assert choose(other.op, other.ins[0], other.out) is None


def test_weights_of_four_bits_stay_four_bits() -> None:
    rng = np.random.default_rng(34)
    for encoding in ("int4", "lut4", "pot4", "apot4"):
        layer = random_case(rng, encoding, 64, 16).layer()
        assert layer.fields["codes"].values.nbytes == 64 * 16 // 2
