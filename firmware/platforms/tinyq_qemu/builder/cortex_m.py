# SPDX-License-Identifier: Apache-2.0
"""Builds a bare-metal image for a Cortex-M board and adds the target that runs it under QEMU."""

import json
import shutil
from pathlib import Path

from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Default, DefaultEnvironment

env = DefaultEnvironment()
board = env.BoardConfig()
here = Path(env.PioPlatform().get_dir())
flags = json.loads((here / "flags.json").read_text(encoding="utf-8"))
cpu = board.get("build.cpu_flags").split()
prefix = "arm-none-eabi-"
memory = {
    "__FLASH_ORG": board.get("build.flash_origin"),
    "__FLASH_LEN": board.get("upload.maximum_size"),
    "__RAM_ORG": board.get("build.ram_origin"),
    "__RAM_LEN": board.get("upload.maximum_ram_size"),
    "__STACK_MIN": board.get("tinyq.stack_bytes"),
}

env.Replace(
    AR=prefix + "gcc-ar",
    AS=prefix + "gcc",
    CC=prefix + "gcc",
    CXX=prefix + "g++",
    GDB=prefix + "gdb" if shutil.which(prefix + "gdb") else "gdb-multiarch",
    OBJCOPY=prefix + "objcopy",
    RANLIB=prefix + "gcc-ranlib",
    SIZETOOL=prefix + "size",
    ARFLAGS=["rc"],
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
    SIZEPROGREGEXP=r"^(?:\.vectors|\.text|\.rodata|\.ARM\.exidx|\.data)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss|\.stack)\s+(\d+).*",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
)
env.Append(
    ASFLAGS=cpu,
    ASPPFLAGS=["-x", "assembler-with-cpp"],
    CCFLAGS=[*cpu, "-Wall", "-Wextra", *[f for f in flags["compile"] if f != "-std=c99"]],
    CFLAGS=["-std=c99"],
    CPPDEFINES=[
        tuple(define) if isinstance(define, list) else define
        for define in board.get("build.defines")
    ],
    CPPPATH=["$PROJECT_DIR/lib/port/include"],
    LINKFLAGS=[
        *cpu,
        *flags["link"],
        *flags["link_arm"],
        *[f"-Wl,--defsym={name}={value}" for name, value in memory.items()],
    ],
    LDSCRIPT_PATH=str(here / "start" / "link.ld"),
)

env.BuildSources("$BUILD_DIR/start", str(here / "start"))

prebuilt = "nobuild" in COMMAND_LINE_TARGETS
elf = "$BUILD_DIR/${PROGNAME}.elf" if prebuilt else env.BuildProgram()

qemu = [
    "qemu-system-arm",
    "-M",
    board.get("tinyq.machine"),
    "-display none -monitor none -serial none",
    "-semihosting-config enable=on,target=native",
    "-kernel $SOURCE",
]
run = env.VerboseAction(" ".join(qemu), "Running $SOURCE under QEMU")
size = env.VerboseAction("$SIZEPRINTCMD", "Calculating size $SOURCE")
env.AddPlatformTarget("qemu", elf, [run], "Run", "Run the image under QEMU")
AlwaysBuild(env.Alias("upload", elf, run))
AlwaysBuild(env.Alias("size", elf, size))
Default([elf])
