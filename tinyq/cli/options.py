# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that several commands share."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from tinyq.encodings import ENCODINGS
from tinyq.errors import InputError
from tinyq.kernels.program import PORTABLE


def number(value: str | float) -> float:
    """A number or a fraction: ``0.5847029``, ``1/255``."""
    text = str(value)  # a default comes as a number
    try:
        return float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"'{text}' is not a number; write 0.0039 or 1/255") from error


def memory(value: str | int) -> int:
    """Bytes: ``40960``, or ``40k`` for 40 x 1024."""
    text = str(value)  # a default comes as a number
    digits, unit = (text[:-1], 1024) if text[-1:] in ("k", "K") else (text, 1)
    if not digits.isdecimal() or int(digits) == 0:
        raise typer.BadParameter(f"'{text}' is not a number of bytes; write 40960 or 40k")
    return int(digits) * unit


Model = Annotated[Path, typer.Argument(help="A quantized model (.tq).", metavar="M.tq")]
KerasModel = Annotated[
    Path, typer.Argument(help="A Keras model: .h5, .keras or a SavedModel folder.", metavar="MODEL")
]
AnyModel = Annotated[
    Path, typer.Argument(help="A Keras model or a quantized model (.tq).", metavar="MODEL")
]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write the result to this file.", metavar="FILE")
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Arrays x, y or x_train, y_train, x_test, y_test.", metavar="FILE.npz"
    ),
]
NeededData = Annotated[
    Path,
    typer.Option(
        "--data", help="Arrays x, y or x_train, y_train, x_test, y_test.", metavar="FILE.npz"
    ),
]
Scale = Annotated[
    float,
    typer.Option(
        parser=number, metavar="S", help="The model's input is (x - O) * S of the file's x."
    ),
]
Offset = Annotated[float, typer.Option(parser=number, metavar="O", help="See --scale.")]
Weights = Annotated[str, typer.Option(help=f"One of {', '.join(ENCODINGS)}.")]
FirstLast = Annotated[
    str, typer.Option(metavar="same|int8", help="Encoding of the first and the last layers.")
]
PerChannel = Annotated[
    bool,
    typer.Option(
        "--per-channel/--per-tensor", help="One weight exponent per output channel, or per layer."
    ),
]
Samples = Annotated[int, typer.Option(metavar="N", help="At most so many samples calibrate.")]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Of every random choice.")]
DataFree = Annotated[
    bool, typer.Option("--data-free", help="Calibrate on batch-norm statistics, without data.")
]
DropSoftmax = Annotated[
    bool, typer.Option("--drop-softmax", help="Leave out a softmax at the output.")
]
Name = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of the model in C; MODEL's by default.")
]
Count = Annotated[int | None, typer.Option(metavar="N", help="Only the first N samples.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="M.tq", help="The file to write.")]
Core = Annotated[str, typer.Option(metavar="CORE", help="m0, m3, m4, m7, m33, m55 or rv32ec.")]
AnyCore = Annotated[
    str, typer.Option("--core", metavar="CORE", help="generic, or a core: whose kernels.")
]
Kernel = Annotated[
    list[str] | None,
    typer.Option(
        "--kernel",
        metavar="LAYER=STEM",
        help="Kernel of a layer, or of all that a pattern fits; may be repeated.",
    ),
]
Kernels = Annotated[
    str, typer.Option(metavar="portable|fast", help="Those of any core, or the best for this one.")
]


Ram = Annotated[
    int | None,
    typer.Option(
        parser=memory,
        metavar="BYTES",
        help="Most that the arena may have: 40960 or 40k; the first layers then run in bands.",
    ),
]


def overrides(kernel: list[str] | None, kernels: str) -> dict[str, str]:
    """What ``--kernel`` and ``--kernels`` say, as ``Target.overrides``; the former goes before."""
    if kernels not in ("portable", "fast"):
        raise InputError(f"--kernels {kernels} is unknown; choose portable or fast")
    chosen = {}
    for text in kernel or []:
        layer, equals, stem = text.rpartition("=")
        if not (layer and equals and stem):
            raise InputError(f"--kernel {text}: write LAYER=STEM, for example conv1=portable")
        chosen[layer] = stem
    return chosen | ({} if kernels == "fast" or "*" in chosen else {"*": PORTABLE})
