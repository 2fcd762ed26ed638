# SPDX-License-Identifier: Apache-2.0
"""Encodings with fixed levels shift: no compiler may turn their dot products into products."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kernels.harness import LIBRARY
from tinyq.encodings import ENCODINGS

GCC, OBJDUMP = (f"arm-none-eabi-{tool}" for tool in ("gcc", "objdump"))
SHIFTING = [name for name, form in ENCODINGS.items() if form.levels is not None]
PRODUCT = re.compile(r"\t(mul|mla|mls|smul|smla|umul|umla)")

pytestmark = pytest.mark.skipif(
    shutil.which(GCC) is None or shutil.which(OBJDUMP) is None, reason=f"{GCC} is not on PATH"
)


def products(encoding: str, core: str, name: str, folder: Path) -> int:
    """Multiplications in the code of one function of an encoding."""
    target = folder / "dot.o"
    flags = ["-std=c99", "-O2", "-mthumb", f"-mcpu=cortex-{core}", f"-I{LIBRARY / 'include'}"]
    source = LIBRARY / "src" / f"dot_{encoding}.c"
    subprocess.run(
        [GCC, *flags, "-ffunction-sections", "-c", str(source), "-o", str(target)], check=True
    )
    text = subprocess.run(
        [OBJDUMP, "-d", "-j", f".text.{name}", str(target)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert f"<{name}>:" in text
    return len(PRODUCT.findall(text))


@pytest.mark.parametrize("core", ["m0", "m3", "m4"])
@pytest.mark.parametrize("encoding", SHIFTING)
@pytest.mark.parametrize("form", ["tq_dot_{}_s8", "tq_dot_{}_u8", "tq_dot_lanes_{}"])
def test_no_weight_is_multiplied(form: str, encoding: str, core: str, tmp_path: Path) -> None:
    """One product, at most, is the address of the first channel."""
    assert products(encoding, core, form.format(encoding), tmp_path) <= 1


def test_other_encodings_multiply(tmp_path: Path) -> None:
    assert products("int4", "m4", "tq_dot_int4_s8", tmp_path) > 8
