# SPDX-License-Identifier: Apache-2.0
"""The exception tree. Every message is one line: what, where, the value, the limit, what to do.

TinyqError
├── InputError            a file, array or option given by the user cannot be used
│   ├── ModelFileError    a model file is missing, truncated or of an unknown kind
│   ├── DataError         calibration or test data of the wrong shape, type or value
│   └── ArchiveError      a ``.tq`` file is damaged or from another version
├── UnsupportedError      the model holds something that tinyq does not lower
├── GraphError            a graph breaks an invariant (found by ``graph.validate``)
├── ProofError            a bound that tinyq guarantees does not hold for this model
├── OutputError           a result cannot be written
└── ToolMissing           a compiler, an emulator or a package is not installed
    ├── EmulatorMissing
    └── TflmMissing
"""

from __future__ import annotations


class TinyqError(Exception):
    """Base of all errors that a user can cause; the command line prints it and exits with 2."""


class InputError(TinyqError):
    """Something given by the user cannot be used."""


class ModelFileError(InputError):
    """A model file is missing, truncated or of an unknown kind."""


class DataError(InputError):
    """Calibration or test data of the wrong shape, type or value."""


class ArchiveError(InputError):
    """A ``.tq`` file is damaged, too large or from another version."""


class UnsupportedError(TinyqError):
    """The model holds a layer or a parameter that tinyq does not lower."""


class GraphError(TinyqError):
    """A graph breaks an invariant."""


class ProofError(TinyqError):
    """A bound that tinyq guarantees does not hold."""


class OutputError(TinyqError):
    """A result cannot be written."""


class ToolMissing(TinyqError):
    """A compiler, an emulator or a package is not installed."""


class EmulatorMissing(ToolMissing):
    """An emulator is not installed."""


class TflmMissing(ToolMissing):
    """The ``tflite-micro`` package is not installed."""
