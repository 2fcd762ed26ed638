#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sets up everything that `make demo` and `make test` need:
# the compiler for the host, compilers and emulators for Cortex-M and RISC-V, a virtual environment.
# Usage: setup.sh VENV      (PYTHON names the interpreter, python3 by default)
set -eu

venv=$1
python=${PYTHON:-python3}
packages=""

need() { # need COMMAND PACKAGE...
    command -v "$1" >/dev/null 2>&1 && return 0
    shift
    packages="$packages $*"
}

need gcc gcc libc6-dev
need g++ g++
need git git
need arm-none-eabi-gcc gcc-arm-none-eabi libnewlib-arm-none-eabi
need qemu-system-arm qemu-system-arm
need riscv64-unknown-elf-gcc gcc-riscv64-unknown-elf
need qemu-system-riscv32 qemu-system-misc
"$python" -c 'import ensurepip, venv' 2>/dev/null || packages="$packages python3-venv"

if [ -n "$packages" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "setup: please install:$packages" >&2
        exit 2
    fi
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        if ! sudo -n true 2>/dev/null; then
            echo "setup: please run: sudo apt-get install --no-install-recommends$packages" >&2
            exit 2
        fi
        as_root="sudo"
    fi
    echo "setup: installing$packages"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086  # the list is meant to be split
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends \
        $packages >/dev/null
fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup: Python 3.11 or later is needed, $python is $("$python" -V); set PYTHON=" >&2
    exit 2
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "setup: installing Python packages into $venv (TensorFlow is large: a few minutes)"
"$venv/bin/python" -m pip install -q --disable-pip-version-check -c constraints.txt \
    -e '.[train,tflm,emulate,plot,dev]'
