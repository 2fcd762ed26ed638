# SPDX-License-Identifier: Apache-2.0
"""Builds for this computer with the C compiler on PATH."""

import json
from pathlib import Path

from SCons.Script import Default, DefaultEnvironment

env = DefaultEnvironment()
here = Path(env.PioPlatform().get_dir())
flags = json.loads((here / "flags.json").read_text(encoding="utf-8"))
env.Append(
    CCFLAGS=["-Wall", "-Wextra", *[flag for flag in flags["compile"] if flag != "-std=c99"]],
    CFLAGS=["-std=c99"],
)
Default([env.BuildProgram()])
