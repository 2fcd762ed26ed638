# SPDX-License-Identifier: Apache-2.0
"""Runs a test program on this computer, or under QEMU where its environment has a board.

Unity's line format without Unity itself, so that `pio test` needs no registry; the programs include
tq_test.h instead.
"""

from pathlib import Path

import click
from platformio.test.runners.readers.native import NativeTestOutputReader
from platformio.test.runners.unity import UnityTestRunner


class QemuReader(NativeTestOutputReader):
    def get_testing_command(self):
        runner = self.test_runner
        name = runner.test_suite.env_name
        board = runner.platform.board_config(runner.project_config.get(f"env:{name}", "board"))
        build_dir = runner.project_config.get("platformio", "build_dir")
        return [
            "qemu-system-arm",
            "-M",
            board.get("tinyq.machine"),
            *["-display", "none", "-monitor", "none", "-serial", "none", "-no-reboot"],
            *["-semihosting-config", "enable=on,target=native", "-kernel"],
            str(Path(build_dir) / name / "firmware.elf"),
        ]


class CustomTestRunner(UnityTestRunner):
    EXTRA_LIB_DEPS = None

    def configure_build_env(self, env):
        """Unity's own hook would generate a configuration for Unity."""
        return env

    def stage_testing(self):
        if self.options.without_testing:
            return None
        board = self.project_config.get(f"env:{self.test_suite.env_name}", "board", None)
        click.secho("Testing under QEMU..." if board else "Testing...", bold=True)
        reader = QemuReader if board else NativeTestOutputReader
        return reader(self).begin()
