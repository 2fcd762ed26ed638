# SPDX-License-Identifier: Apache-2.0
"""The command line: one thin command per verb over ``tinyq.api``.

Exit codes: 0 all is well; 1 a check failed; 2 the input cannot be used or a tool is missing, with
exactly one line on standard error.  Importing this package does not import TensorFlow.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from tinyq import __version__
from tinyq.cli import check, explain, make, measure
from tinyq.cli.console import BAD_INPUT, complain, own_standard_error
from tinyq.errors import TinyqError

__all__ = ["app", "main"]

#: base of typer's own complaints, whichever click it was built on
_UsageProblem: Final[type] = typer.BadParameter.__mro__[2]
_INTERRUPTED: Final = 130

app = typer.Typer(
    help="Keras models as integer-only C libraries for microcontrollers, proved equal to the bit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    measure.inspect,
    make.quantize,
    make.qat,
    make.export,
    check.run,
    check.verify,
    explain.explain,
    measure.size,
    measure.profile,
):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tinyq {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options before the verb."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and never raises for what a user can cause."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with own_standard_error():
        return _run(words)


def _run(words: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        result = command.main(words, prog_name="tinyq", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except TinyqError as error:
        complain(str(error))
    except BrokenPipeError:
        # The reader of standard output left; say nothing, and nothing more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        complain(f"{error.filename or 'the system'}: {error.strerror or error}")
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return _INTERRUPTED
    except MemoryError:
        complain("out of memory; use fewer samples")
    except Exception as error:
        if not isinstance(error, _UsageProblem):
            raise
        complain(f"{error.format_message()} (see tinyq --help)")  # type: ignore[attr-defined]
    return BAD_INPUT
