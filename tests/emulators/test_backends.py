# SPDX-License-Identifier: Apache-2.0
"""Every backend, with a model whose results are known: outputs, traces, and ends of all kinds."""

from __future__ import annotations

import pytest
from doubles import double, layers, packed, samples

from tinyq.emulators import BACKENDS, RunError, RunRequest, RunResult, RunTimeout, build, emulator
from tinyq.errors import EmulatorMissing, InputError

UNDEFINED = "DOUBLE_BREAK=__asm__ volatile(DOUBLE_UNDEFINED)"
WILD_STORE = "DOUBLE_BREAK=*(volatile int *)0x90000000 = 1"
ENDLESS = "DOUBLE_BREAK=for (;;) {}"


def run(name: str, defines: tuple[str, ...] = (), **request: object) -> RunResult:
    backend = emulator(name)
    return backend.run(RunRequest(build(backend, double(*defines), "double_model"), **request))


def test_outputs_and_trace_of_many_samples(backend: str) -> None:
    x, g = samples(300)
    y, z = layers(x, g)
    result = run(backend, inputs=packed(x, g), samples=300, trace=True, selftest=True)
    assert result.outputs == tuple(z[i].tobytes() + y[i].tobytes() for i in range(300))
    assert result.trace == tuple((y[i].tobytes(), z[i].tobytes()) for i in range(300))
    assert result.selftest == 0


def test_nothing_asked_nothing_given(backend: str) -> None:
    result = run(backend)
    assert (result.outputs, result.trace, result.profiles, result.selftest) == ((), (), (), None)


def test_failed_selftest_names_the_layer(backend: str) -> None:
    assert run(backend, ("DOUBLE_CRC=0",), selftest=True).selftest == 2


def test_stack_use_is_known_on_emulated_cores(emulated: str) -> None:
    used = run(emulated, selftest=True).stack_bytes
    assert used is not None
    assert 64 <= used <= 512
    deeper = run(
        emulated, ("DOUBLE_BREAK=volatile char a[400]; a[0] = 0; (void)a[0]",), selftest=True
    )
    assert deeper.stack_bytes is not None
    assert deeper.stack_bytes >= used + 300


@pytest.mark.parametrize("name", ["qemu-m0", "unicorn-m0"])
def test_stack_that_runs_into_the_data_is_reported(name: str) -> None:
    skip_unless(name)
    full = "DOUBLE_BALLAST=14500"
    assert run(name, (full,), selftest=True).selftest == 0
    fill = "for (int i = 0; i < 1900; i++) { a[i] = 0; (void)a[i]; }"
    deep = f"DOUBLE_BREAK=volatile char a[1900]; {fill}"
    with pytest.raises(RunError, match="ended with 5, the stack ran into the data"):
        run(name, (full, deep), selftest=True)


def test_failed_init_is_reported(backend: str) -> None:
    with pytest.raises(RunError, match=r"ended with 3, the model's init failed"):
        run(backend, ("DOUBLE_INIT=TQ_ERROR_NO_ARENA",))


def test_short_input_is_reported(backend: str) -> None:
    with pytest.raises(RunError, match=r"ended with 2, .*an input file is too short"):
        run(backend, inputs=bytes(16), samples=1)


def test_input_left_over_is_reported(backend: str) -> None:
    with pytest.raises(RunError, match=r"18 bytes of input for 1 samples of 17"):
        run(backend, inputs=bytes(18), samples=1)


def test_undefined_instruction_is_a_fault(emulated: str) -> None:
    with pytest.raises(
        RunError, match=r"fault 3 \(HardFault\)|Invalid instruction|illegal instruction"
    ):
        run(emulated, (UNDEFINED,), selftest=True)


@pytest.mark.parametrize("name", ["qemu-m0", "qemu-m4", "qemu-rv32ec", "unicorn-m0", "unicorn-m4"])
def test_wild_store_is_a_fault(name: str) -> None:
    skip_unless(name)
    with pytest.raises(
        RunError, match=r"fault 3 \(HardFault\)|Invalid memory write|store access fault"
    ):
        run(name, (WILD_STORE,), selftest=True)


@pytest.mark.parametrize("name", ["host", "qemu-m4", "unicorn-m4"])
def test_endless_loop_is_ended(name: str) -> None:
    skip_unless(name)
    with pytest.raises(RunTimeout, match=r"no end after 0.5 s"):
        run(name, (ENDLESS,), selftest=True, timeout=0.5)


def test_killed_host_program_is_reported() -> None:
    with pytest.raises(RunError, match=r"host: the program was killed by signal \d+"):
        run("host", ("DOUBLE_BREAK=__builtin_trap()",), selftest=True)


def skip_unless(name: str) -> None:
    from available import skip_unless_available

    skip_unless_available(name)


def test_version_names_the_emulator(emulated: str) -> None:
    kind = emulated.split("-")[0]
    assert emulator(emulated).version().lower().startswith(kind)


# --- the second emulator sees more ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["unicorn-m0", "unicorn-m4"])
def test_memory_check_passes_a_correct_program(name: str) -> None:
    x, g = samples(5)
    y, z = layers(x, g)
    result = run(name, inputs=packed(x, g), samples=5, selftest=True, check_memory=True)
    assert result.outputs == tuple(z[i].tobytes() + y[i].tobytes() for i in range(5))


def test_store_to_constant_data_is_found() -> None:
    store = "DOUBLE_BREAK=*(volatile uint32_t *)(uintptr_t)double_constant = 5"
    with pytest.raises(RunError, match="Write to write-protected memory"):
        run("unicorn-m4", (store,), selftest=True)


def test_unaligned_load_on_m0_is_found() -> None:
    load = (
        "DOUBLE_BREAK=(void)*(volatile uint32_t *)((uintptr_t)double_constant + double_ballast[0])"
    )
    with pytest.raises(RunError, match=r"unicorn-m0: (exception|load of 4 bytes)"):
        run("unicorn-m0", (load,), selftest=True, check_memory=True)
    assert run("unicorn-m4", (load,), selftest=True, check_memory=True).selftest == 0


# --- what cannot be done is said -----------------------------------------------------------------


def test_unknown_backend_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"unknown backend 'qemu-m9': choose one of host, qemu-m0"):
        emulator("qemu-m9")


def test_missing_qemu_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EmulatorMissing, match="apt install qemu-system-arm"):
        emulator("qemu-m4")
    with pytest.raises(EmulatorMissing, match="apt install qemu-system-misc"):
        emulator("qemu-rv32ec")


def test_missing_unicorn_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EmulatorMissing, match="pip install unicorn"):
        emulator("unicorn-m4")


def test_missing_renode_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EmulatorMissing, match=r"https://renode\.io"):
        emulator("renode-m4")


def test_image_of_another_core_is_refused() -> None:
    skip_unless("qemu-m4")
    image = build(BACKENDS["qemu-m3"](), double(), "double_model")
    with pytest.raises(RunError, match="qemu-m4: the image was not built for m4"):
        emulator("qemu-m4").run(RunRequest(image))
    with pytest.raises(RunError, match="host: the image was built for an emulated core"):
        emulator("host").run(RunRequest(image))


def test_requests_that_a_backend_cannot_serve_are_refused() -> None:
    skip_unless("qemu-m4")
    with pytest.raises(InputError, match="host counts no instructions"):
        run("host", profile=True)
    with pytest.raises(InputError, match="qemu-m4 cannot check memory accesses: use unicorn-m4"):
        run("qemu-m4", check_memory=True)


def test_renode_runs_the_selftest() -> None:
    skip_unless("renode-m4")
    assert run("renode-m4", selftest=True).selftest == 0
