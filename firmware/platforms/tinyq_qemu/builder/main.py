# SPDX-License-Identifier: Apache-2.0
"""SCons script of the platform. An environment with a board is built for that emulated core, one
without a board (native) for this computer. Flags come from flags.json and the board's JSON, which
tinyq's own builds (tinyq/toolchain.py) read too."""

from SCons.Script import DefaultEnvironment

env = DefaultEnvironment()
env.SConscript("cortex_m.py" if "BOARD" in env else "native.py")
