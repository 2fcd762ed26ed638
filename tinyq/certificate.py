# SPDX-License-Identifier: Apache-2.0
"""The certificate of a model: what was compared, made of what, with which result.

JSON with sorted keys and without dates or paths, so that the same check on another machine with the
same tools gives the same bytes.  It holds SHA-256 hashes of the model, of the generated and the
library sources and of the input vectors, the proved accumulator bits and the CRC-32 of every layer
for the stored vector.  ``<model>_selftest()`` computes the same CRCs on the device.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq import __version__
from tinyq.archive import graph_hash
from tinyq.codegen import scheduled
from tinyq.codegen.vectors import tensor_crcs, vector_inputs
from tinyq.errors import TinyqError
from tinyq.files import write_atomic
from tinyq.graph import Graph
from tinyq.proof import prove
from tinyq.resources import firmware_dir
from tinyq.verification import BackendCheck

Array = npt.NDArray[Any]
CERTIFICATE_SCHEMA: Final = 1


def selftest_crcs(graph: Graph) -> dict[str, int]:
    """CRC-32 (zlib's) of each layer's output bytes for the stored vector, by node name."""
    nodes = scheduled(graph)
    crcs = tensor_crcs(graph, vector_inputs(graph, None), [node.output for node in nodes])
    return {node.name: int(crc) for node, crc in zip(nodes, crcs, strict=True)}


def library_files() -> dict[str, bytes]:
    """The kernel library's C files by relative path."""
    root = firmware_dir() / "lib" / "tinyq"
    files = (f for f in root.rglob("*") if f.suffix in (".c", ".h", ".S") and f.is_file())
    return {f.relative_to(root).as_posix(): f.read_bytes() for f in files}


def hash_files(files: Mapping[str, bytes | str]) -> dict[str, str]:
    """SHA-256 of each file, by its relative path."""
    return {
        name: hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()
        for name, data in sorted(files.items())
    }


def hash_vectors(codes: Mapping[str, Array]) -> str:
    """SHA-256 of input codes: type, shape and bytes of every input, in the order of the names."""
    digest = hashlib.sha256()
    for name, x in sorted(codes.items()):
        digest.update(f"{name} {x.dtype.str} {x.shape}\n".encode())
        digest.update(np.ascontiguousarray(x).tobytes())
    return digest.hexdigest()


def make_certificate(
    graph: Graph,
    checks: Sequence[BackendCheck],
    codes: Mapping[str, Array],
    sources: Mapping[str, Mapping[str, bytes | str]],
) -> dict[str, Any]:
    """The certificate of a check in which everything was equal.

    Args:
        graph: the model.
        checks: what each backend showed.
        codes: the input codes that they ran.
        sources: groups of files by name, for example ``generated`` and ``library``.

    Raises:
        TinyqError: a backend differed; a certificate would be a lie.
    """
    failed = [check.name for check in checks if not check.passed]
    if failed or not checks:
        raise TinyqError(f"no certificate: {', '.join(failed) or 'nothing'} was not equal")
    return {
        "schema": CERTIFICATE_SCHEMA,
        "tinyq": __version__,
        "model": {"name": graph.name, "sha256": graph_hash(graph)},
        "vectors": {"count": checks[0].inputs, "sha256": hash_vectors(codes)},
        "layers": _layers(graph),
        "sources": {group: hash_files(files) for group, files in sources.items()},
        "backends": {check.name: _backend(check) for check in checks},
    }


def _layers(graph: Graph) -> list[dict[str, Any]]:
    proofs, crcs = prove(graph), selftest_crcs(graph)
    return [
        {
            "name": node.name,
            "layers": list(node.layers),
            "tensor": node.output,
            "crc32": f"{crcs[node.name]:08x}",
            "accumulator_bits": proofs[node.name].bits if node.name in proofs else None,
        }
        for node in scheduled(graph)
    ]


def _backend(check: BackendCheck) -> dict[str, Any]:
    return {
        "inputs": check.inputs,
        "tensors": len(check.tensors),
        "elements": sum(t.elements for t in check.tensors),
        "mismatches": check.mismatches,
        "selftest": check.selftest,
        "tools": dict(check.tools),
    }


def certificate_text(certificate: Mapping[str, Any]) -> str:
    """The bytes of the file."""
    return json.dumps(certificate, sort_keys=True, indent=1) + "\n"


def save_certificate(certificate: Mapping[str, Any], path: Path | str) -> None:
    """Write a certificate; OutputError if it cannot."""
    write_atomic(Path(path), certificate_text(certificate))
