# SPDX-License-Identifier: Apache-2.0
"""Builds for this computer with the C compiler on PATH."""

import json
from pathlib import Path

from SCons.Script import Default

Import("env")  # noqa: F821 (SCons puts it into every script)

flags = json.loads(
    (Path(env.PioPlatform().get_dir()) / "flags.json").read_text(encoding="utf-8")  # noqa: F821
)
env.Append(  # noqa: F821
    CCFLAGS=["-Wall", "-Wextra", *[flag for flag in flags["compile"] if flag != "-std=c99"]],
    CFLAGS=["-std=c99"],
    LINKFLAGS=["-Wl,--gc-sections"] if env["PLATFORM"] == "posix" else [],  # noqa: F821
)
Default([env.BuildProgram()])  # noqa: F821
