# SPDX-License-Identifier: Apache-2.0
"""What other systems need for the MLPerf Tiny models, with the source of every figure.

Counted for this project under QEMU 7.2 like tinyq's own figures, unless the source says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Figure:
    """One system on one model; ``None`` where it was not measured.

    ``ram_bytes`` is the arena, ``flash_bytes`` the model and the code.
    """

    model: str
    core: str
    weights: str
    system: str
    source: str
    instructions: int
    ram_bytes: int | None = None
    flash_bytes: int | None = None


MODELS: Final = ("ic", "kws", "vww", "ad")
_TFLM: Final = (
    "tflite-micro 90b983c2, CMSIS-NN 4ab83cc3, release flags, GCC 12.2.1; "
    "outputs byte-equal to the PyPI wheel"
)
_BAKENN: Final = "bakeNN 1.0.0, GCC 12.2.1"
_TINYENGINE: Final = "TinyEngine 47bb283c, GCC 12.2.1; its output was not verified"


def _figures(
    core: str,
    weights: str,
    system: str,
    source: str,
    instructions: tuple[int, ...],
    ram: tuple[int, ...] = (),
    flash: tuple[int, ...] = (),
) -> tuple[Figure, ...]:
    return tuple(
        Figure(
            model, core, weights, system, source, count,
            ram[i] if ram else None, flash[i] if flash else None,
        )
        for i, (model, count) in enumerate(zip(MODELS, instructions, strict=True))
    )  # fmt: skip


#: model and INT8-only code on the M4; static data beside the arena
_M4_FLASH: Final = (98_496 + 57_792, 53_936 + 54_328, 333_288 + 54_324, 276_976 + 29_124)
_M4_ARENA: Final = tuple(arena + 560 for arena in (54_996, 22_820, 100_708, 2_580))
_BAKENN_FLASH: Final = (92_500, 44_500, 261_000, 273_700)

FIELD: Final[tuple[Figure, ...]] = (
    *_figures("m4", "int8", "TFLM, CMSIS-NN", _TFLM,
              (29_863_190, 7_696_437, 24_101_947, 582_953), _M4_ARENA, _M4_FLASH),
    *_figures("m4", "int4", "TFLM, CMSIS-NN", _TFLM,
              (51_865_877, 14_165_930, 42_732_863, 1_373_167)),
    *_figures("m4", "int8", "TFLM, reference kernels", _TFLM,
              (107_401_773, 43_039_581, 100_254_093, 1_952_268)),
    *_figures("m3", "int8", "TFLM, CMSIS-NN", _TFLM,
              (41_847_478, 10_531_285, 31_959_099, 955_990)),
    *_figures("m3", "int4", "TFLM, CMSIS-NN", _TFLM,
              (44_560_267, 13_882_241, 41_651_459, 1_399_737)),
    *_figures("m55", "int8", "TFLM, CMSIS-NN (Helium)", _TFLM,
              (4_911_703, 1_812_140, 6_558_324, 150_007)),
    *_figures("m4", "int8", "bakeNN", _BAKENN,
              (79_600_000, 22_100_000, 45_800_000, 576_108), (), _BAKENN_FLASH),
    Figure("vww", "m4", "int8", "TinyEngine", _TINYENGINE, 19_730_000, 60_728),
)  # fmt: skip
