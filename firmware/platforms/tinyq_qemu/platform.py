# SPDX-License-Identifier: Apache-2.0
"""PlatformIO platform that needs no registry: it uses the arm-none-eabi-gcc on PATH and the SCons
of this Python, and asks the registry only for what is missing."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
from pathlib import Path

from platformio.dependencies import get_core_dependencies
from platformio.platform.base import PlatformBase

SHIM = "import sys\n\nfrom SCons.Script import main\n\nsys.exit(main())\n"


def scons_package_version(version: str) -> str:
    """PlatformIO's number for a release of SCons: 4.11.1 is 4.41101.0."""
    major, minor, patch = (int(n) for n in re.findall(r"\d+", version)[:3])
    return f"4.{major}{minor:02d}{patch:02d}.0"


def write_scons_package(folder: Path, version: str) -> None:
    """Write the package that PlatformIO starts SCons from, around the SCons of this Python."""
    spec = {
        "owner": "platformio",
        "id": None,
        "name": "tool-scons",
        "requirements": None,
        "uri": None,
    }
    manifest = {
        "name": "tool-scons",
        "version": version,
        "description": "SCons of this Python",
    }
    piopm = {"type": "tool", "name": "tool-scons", "version": version, "spec": spec}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scons.py").write_text(SHIM, encoding="utf-8")
    (folder / "package.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / ".piopm").write_text(json.dumps(piopm), encoding="utf-8")


class Tinyq_qemuPlatform(PlatformBase):  # noqa: N801 (PlatformIO derives the name from the folder)
    def configure_default_packages(self, options, targets):
        if "board" in options and not shutil.which("arm-none-eabi-gcc"):
            self.packages["toolchain-gccarmnoneeabi"]["optional"] = False
        self._provide_scons()
        return super().configure_default_packages(options, targets)

    def _provide_scons(self):
        """An installed tool-scons is left alone; a SCons of another release is not used."""
        wanted = get_core_dependencies()["tool-scons"]
        if self.pm.get_package(self.pm.ensure_spec(f"platformio/tool-scons@{wanted}")):
            return
        try:
            version = scons_package_version(importlib.metadata.version("SCons"))
        except importlib.metadata.PackageNotFoundError:
            return
        if version == wanted.lstrip("~^= "):
            packages = Path(self.config.get("platformio", "packages_dir"))
            write_scons_package(packages / "tool-scons", version)
            self.pm.memcache_reset()

    def configure_debug_session(self, debug_config):
        """PlatformIO calls this on every platform; there is nothing to configure."""
