# SPDX-License-Identifier: Apache-2.0
"""PlatformIO pre-script: tells the harness which model to run, and exports it again when the model
file has changed.

custom_tinyq_name    name of the model: its sources are in lib/<name>, its API is <name>_...
custom_tinyq_model   optional, a .tq file relative to the project; without it lib/<name> stays

The SHA-256 of the model file that was exported last is kept in .pio/tinyq/<name>.sha256.
"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

Import("env")  # noqa: F821 (SCons puts it into every script)


def model_digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_current(project, name, digest):
    stamp = project / ".pio" / "tinyq" / f"{name}.sha256"
    exported = (project / "lib" / name).is_dir()
    return exported and stamp.is_file() and stamp.read_text(encoding="utf-8") == digest


def export(project, model, name):
    """Run `tinyq export` with this Python; a failure stops the build with tinyq's own message."""
    target = str(project)
    command = [sys.executable, "-m", "tinyq", "export", str(model), "-o", target]
    command += ["--name", name, "--format", "platformio"]
    print(f"Exporting {model.name} as lib/{name}")
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(f"Error: tinyq export of {model} failed, see above")


def export_if_changed(project, model, name):
    if not model.is_file():
        sys.exit(f"Error: custom_tinyq_model: {model} does not exist")
    digest = model_digest(model)
    if is_current(project, name, digest):
        return
    export(project, model, name)
    stamp = project / ".pio" / "tinyq" / f"{name}.sha256"
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(digest, encoding="utf-8")


def main(env):
    project = Path(env.subst("$PROJECT_DIR"))
    name = env.GetProjectOption("custom_tinyq_name")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        sys.exit(f"Error: custom_tinyq_name = {name} is not a C identifier")
    model = env.GetProjectOption("custom_tinyq_model", "")
    if model and not env.IsCleanTarget():
        export_if_changed(project, project / model, name)
    env.Append(CPPDEFINES=[("TQ_MODEL", f"{name}_model")])


main(env)  # noqa: F821
