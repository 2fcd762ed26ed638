# SPDX-License-Identifier: Apache-2.0
"""The rows of ``accuracy.py``: how a float model becomes integers, on which tasks and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from tinyq.qat import PRESETS, QuantConfig, TrainConfig

SEEDS: Final = (0, 1, 2)


@dataclass(frozen=True)
class Method:
    """One row.

    Attributes:
        name: in the table.
        ptq: weight encoding of a post-training quantization of the float model.
        config: of a quantization-aware training.
        schedule: what differs from the task's schedule.
        headline: every task has it, with all seeds but on ``cifar`` and ``kws``.
    """

    name: str
    ptq: str = ""
    config: QuantConfig | None = None
    schedule: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    headline: bool = False

    def recipe(self) -> dict[str, Any]:
        """What of the method a result depends on."""
        config = None if self.config is None else asdict(replace(self.config, overrides={}))
        overrides = {} if self.config is None else dict(self.config.overrides)
        return {"ptq": self.ptq, "config": config, "overrides": overrides, **self.schedule}

    def training(self, base: TrainConfig, seed: int) -> TrainConfig:
        """The schedule of a task with what is special about the method."""
        return replace(base, seed=seed, **self.schedule)


def _preset(name: str, preset: str, headline: bool = False, **schedule: Any) -> Method:
    return Method(name, "", PRESETS[preset], MappingProxyType(schedule), headline)


def _table(bits: int, learning: str) -> Method:
    """Table weights whose entries are learned in another way."""
    config = replace(PRESETS[f"w{bits}a8_lut"], table_learning=learning)
    return Method(f"w{bits}a8 lut {learning}", "", config)


#: 2-bit tables but for the first and the last layer
_WIDE_ENDS: Final = replace(PRESETS["w2a8_lut"], first_last="int8")


#: powers of two but for the first and the last layer
_POT_ENDS: Final = replace(PRESETS["w4a8_pot"], first_last="int8")


#: ResNet8: 8 bits for what is only added or averaged, that is for no factor of a product
_WIDE_SUMS: Final = replace(
    PRESETS["w4a4_llsq"],
    overrides={name: {"activation_bits": 8} for name in ("conv2d_[24578]", "add_2")},
)


FLOAT: Final = Method("float", headline=True)
METHODS: Final = (
    FLOAT,
    Method("ptq int8", ptq="int8"),
    Method("ptq lut4", ptq="lut4"),
    _preset("w8a8", "w8a8"),
    Method("w4a8 per tensor", "", replace(PRESETS["w4a8"], scale="per_tensor"), headline=True),
    _preset("w4a8 per channel", "w4a8", True),
    _preset("w4a8 lut", "w4a8_lut", True),
    _preset("w3a8 lut", "w3a8_lut"),
    _preset("w2a8 lut", "w2a8_lut"),
    Method("w2a8 lut, int8 ends", "", _WIDE_ENDS),
    _preset("w4a8 pot", "w4a8_pot", True),
    _preset("w4a8 apot", "w4a8_apot", True),
    _preset("w4a4 llsq", "w4a4_llsq", True),
    _preset("w3a3 llsq", "w3a3_llsq"),
    _preset("w2a2 llsq", "w2a2_llsq"),
    _preset("w8a8 a2q P=20", "w8a8_a2q20"),
    _preset("w8a8 a2q P=18", "w8a8_a2q18"),
    _preset("w8a8 a2q P=16", "w8a8_a2q16", True),
    _preset("w8a8 a2q+ P=16", "w8a8_a2q_plus16"),
    *(
        _preset(f"w4a4 {method} P={bits}", f"w4a4_{stem}{bits}")
        for method, stem in (("a2q", "a2q"), ("a2q+", "a2q_plus"))
        for bits in (16, 14, 12)
    ),
)
#: how table entries are learned; the first rule, by gradient, is ``METHODS``'
TABLE_RULES: Final = tuple(
    _table(bits, learning)
    for bits in (4, 2)
    for learning in ("recluster", "fixed:nf4", "fixed:laplace")
)
WIDE_SUMS: Final = Method("w4a4 llsq, 8-bit sums", "", _WIDE_SUMS)
POT_ENDS: Final = Method("w4a8 pot, int8 ends", "", _POT_ENDS, headline=True)
CIFAR: Final = ("w8a8",)
KWS: Final = ("float", "ptq int8", "ptq lut4", "w4a8 lut")


def methods_of(task: str) -> tuple[Method, ...]:
    """The rows of a task."""
    if task == "fashion":
        return (*METHODS, *TABLE_RULES, POT_ENDS)
    if task == "cifar":
        bounded = "w8a8 a2q P=16"
        common = (m for m in METHODS if (m.headline and m.name != bounded) or m.name in CIFAR)
        return (*common, WIDE_SUMS)
    return tuple(m for m in METHODS if task != "kws" or m.name in KWS)


def units_of(task: str) -> Iterator[tuple[Method, int]]:
    """Every method with its seeds, those that most depends on first."""
    for seed in SEEDS:
        for method in methods_of(task):
            if seed == SEEDS[0] or (method.headline and task in ("fashion", "digits")):
                yield method, seed
