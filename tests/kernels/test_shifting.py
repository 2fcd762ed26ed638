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


def products(encoding: str, core: str, folder: Path) -> dict[str, int]:
    """Multiplications in the code of each function of an encoding."""
    target = folder / "dot.o"
    flags = ["-std=c99", "-O2", "-mthumb", f"-mcpu=cortex-{core}", f"-I{LIBRARY / 'include'}"]
    source = LIBRARY / "src" / f"dot_{encoding}.c"
    subprocess.run(
        [GCC, *flags, "-ffunction-sections", "-c", str(source), "-o", str(target)], check=True
    )
    text = subprocess.run(
        [OBJDUMP, "-d", str(target)], check=True, capture_output=True, text=True
    ).stdout
    parts = re.split(r"^[0-9a-f]+ <(\w+)>:$", text, flags=re.M)
    code = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {name: len(PRODUCT.findall(text)) for name, text in code.items()}


@pytest.mark.parametrize("core", ["m0", "m3", "m4"])
@pytest.mark.parametrize("encoding", SHIFTING)
def test_no_weight_is_multiplied(encoding: str, core: str, tmp_path: Path) -> None:
    """One product, at most, is the address of the first channel."""
    found = products(encoding, core, tmp_path)
    for form in ("tq_dot_{}_s8", "tq_dot_{}_u8", "tq_dot_lanes_{}"):
        assert found[form.format(encoding)] <= 1


def test_other_encodings_multiply(tmp_path: Path) -> None:
    assert products("int4", "m4", tmp_path)["tq_dot_int4_s8"] > 8
