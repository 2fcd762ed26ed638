# SPDX-License-Identifier: Apache-2.0
"""Tiny models in C, and what models/double.c computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyq.toolchain import Part, library_part

MODELS = Path(__file__).parent / "models"
WIDTH = 16


def double(*defines: str) -> list[Part]:
    """models/double.c; ``DOUBLE_...`` defines change it."""
    return [Part("model", (MODELS / "double.c",), (), defines), library_part()]


def counted(first: int, second: int) -> list[Part]:
    """models/counted.c with its two numbers of turns."""
    defines = (f"FIRST={first}", f"SECOND={second}")
    return [Part("model", (MODELS / "counted.c",), (), defines), library_part()]


def samples(count: int, seed: int = 0) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8]]:
    """Random inputs x [count, 16] and g [count, 1]."""
    random = np.random.default_rng(seed)
    x = random.integers(-128, 128, (count, WIDTH)).astype(np.int8)
    return x, random.integers(0, 256, (count, 1)).astype(np.uint8)


def packed(x: npt.NDArray[np.int8], g: npt.NDArray[np.uint8]) -> bytes:
    """The input file of these samples."""
    return np.concatenate([x.view(np.uint8), g], axis=1).tobytes()


def layers(
    x: npt.NDArray[np.int8], g: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """What the two layers give: y [count, 16] and z [count, 1]."""
    y = np.clip(3 * x.astype(np.int64) + np.arange(WIDTH), -128, 127)
    z = np.clip((y.sum(axis=1, keepdims=True) >> 3) + g.astype(np.int64), -128, 127)
    return y.astype(np.int8), z.astype(np.int8)
