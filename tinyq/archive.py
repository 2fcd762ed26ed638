# SPDX-License-Identifier: Apache-2.0
"""The ``.tq`` file: a graph as JSON plus arrays, in one archive without pickle.

The file is a ZIP (readable by ``numpy.load``) of ``manifest.json`` (schema version, SHA-256 of
every other member), ``graph.json`` and one ``.npy`` for each distinct array.  Time stamps are
fixed, so equal graphs give equal bytes; the archive comment holds the SHA-256 of all bytes before
it, so that a single flipped bit is noticed wherever it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq import __version__
from tinyq.encodings import Weights
from tinyq.errors import ArchiveError, GraphError, ModelFileError
from tinyq.files import write_atomic
from tinyq.graph import Graph, Node, Preprocess, validate
from tinyq.ops import OPS, Op
from tinyq.tensors import Tensor

SCHEMA_VERSION: Final = 1
MAX_FILE_BYTES: Final = 256 * 2**20
MAX_MEMBER_BYTES: Final = 128 * 2**20
MAX_MEMBERS: Final = 20_000
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_COMMENT_BYTES: Final = 64
_Arrays = dict[str, npt.NDArray[Any]]


def save_graph(graph: Graph, path: Path | str) -> None:
    """Write a graph to ``path``; equal graphs give equal bytes.  OutputError if it cannot."""
    write_atomic(Path(path), graph_to_bytes(graph))


def load_graph(path: Path | str) -> Graph:
    """Read and validate a graph.

    Raises:
        ModelFileError: the file is missing or cannot be read.
        ArchiveError: it is damaged, too large or from another version.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ArchiveError(f"{path} has {path.stat().st_size} bytes, over {MAX_FILE_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}; check the path") from error
    return graph_from_bytes(data, str(path))


def is_graph_file(path: Path | str) -> bool:
    """True for what is called ``.tq``, or is one whatever it is called; nothing is checked."""
    if Path(path).suffix == ".tq":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return "graph.json" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def graph_hash(graph: Graph) -> str:
    """SHA-256 of the saved form, hexadecimal: the identity of a model in banners and certificates.

    The version of tinyq does not enter it.
    """
    arrays: _Arrays = {}
    document = json.dumps(_graph_to_json(graph, arrays), sort_keys=True)
    names = "".join(sorted(arrays))
    return hashlib.sha256((document + names).encode()).hexdigest()


def graph_to_bytes(graph: Graph) -> bytes:
    """The bytes of a ``.tq`` file."""
    arrays: _Arrays = {}
    document = _json_bytes(_graph_to_json(graph, arrays))
    members = {"graph.json": document}
    for name, array in sorted(arrays.items()):
        stream = io.BytesIO()
        np.lib.format.write_array(stream, array, allow_pickle=False)
        members[f"{name}.npy"] = stream.getvalue()
    manifest = {
        "schema": SCHEMA_VERSION,
        "tinyq": __version__,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    return _zip_bytes({"manifest.json": _json_bytes(manifest), **members})


def _zip_bytes(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
        archive.comment = b"0" * _COMMENT_BYTES
    body = stream.getvalue()[:-_COMMENT_BYTES]
    return body + hashlib.sha256(body).hexdigest().encode()


def graph_from_bytes(data: bytes, source: str = "the archive") -> Graph:
    """The graph in the bytes of a ``.tq`` file; ArchiveError names ``source``."""
    members = _checked_members(data, source)
    try:
        document = json.loads(members["graph.json"])
        arrays = {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(content))
            for name, content in members.items()
            if name.endswith(".npy")
        }
        for array in arrays.values():
            array.flags.writeable = False
        return validate(_graph_from_json(document, arrays))
    except (KeyError, TypeError, ValueError, GraphError) as error:
        raise ArchiveError(f"{source} holds no valid graph ({error}); export it again") from error


def _checked_members(data: bytes, source: str) -> dict[str, bytes]:
    """Every member, after all checks that need no knowledge of graphs."""
    damaged = f"{source} is damaged or not a .tq file; copy or export it again"
    body, digest = data[:-_COMMENT_BYTES], data[-_COMMENT_BYTES:]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ArchiveError(f"{damaged} (its SHA-256 does not match)")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) > MAX_MEMBERS or any(i.file_size > MAX_MEMBER_BYTES for i in infos):
                raise ArchiveError(f"{source} exceeds the size limits of a .tq file")
            members = {info.filename: archive.read(info) for info in infos}
        manifest = json.loads(members.pop("manifest.json"))
        schema, hashes = manifest["schema"], manifest["sha256"]
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise ArchiveError(damaged) from error
    if schema != SCHEMA_VERSION:
        raise ArchiveError(
            f"{source} has schema {schema} (tinyq {manifest.get('tinyq')}), this tinyq "
            f"{__version__} reads schema {SCHEMA_VERSION}; quantize the model again"
        )
    if hashes != {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}:
        raise ArchiveError(f"{damaged} (a member's SHA-256 does not match)")
    return members


def _json_bytes(value: object) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()


def _encode(value: Any, arrays: _Arrays) -> Any:
    """JSON form of a field; arrays go to ``arrays`` under the hash of their content."""
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        key = f"{array.dtype.str}{array.shape}".encode() + array.tobytes()
        name = f"a{hashlib.sha256(key).hexdigest()[:24]}"
        arrays[name] = array
        return {"array": name}
    if isinstance(value, Weights):
        return {"weights": _fields(value, arrays)}
    if isinstance(value, tuple):
        return [_encode(item, arrays) for item in value]
    return value


def _fields(item: Any, arrays: _Arrays) -> dict[str, Any]:
    return {f.name: _encode(getattr(item, f.name), arrays) for f in dataclasses.fields(item)}


def _decode(value: Any, arrays: _Arrays) -> Any:
    if isinstance(value, dict) and "array" in value:
        return arrays[value["array"]]
    if isinstance(value, dict) and "weights" in value:
        return Weights(**_decoded_fields(value["weights"], arrays))
    if isinstance(value, list):
        return tuple(_decode(item, arrays) for item in value)
    return value


def _decoded_fields(fields: Mapping[str, Any], arrays: _Arrays) -> dict[str, Any]:
    return {name: _decode(value, arrays) for name, value in fields.items()}


def _graph_to_json(graph: Graph, arrays: _Arrays) -> dict[str, Any]:
    return {
        "name": graph.name,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "preprocess": [dataclasses.asdict(p) for p in graph.preprocess],
        "meta": dict(graph.meta),
        "tensors": [_fields(t, arrays) for t in graph.tensors.values()],
        "nodes": [_node_to_json(node, arrays) for node in graph.nodes],
    }


def _node_to_json(node: Node, arrays: _Arrays) -> dict[str, Any]:
    return {
        "name": node.name,
        "op": type(node.op).__name__,
        "parameters": _fields(node.op, arrays),
        "inputs": list(node.inputs),
        "outputs": list(node.outputs),
        "layers": list(node.layers),
    }


def _graph_from_json(document: Mapping[str, Any], arrays: _Arrays) -> Graph:
    tensors = [Tensor(**_decoded_fields(t, arrays)) for t in document["tensors"]]
    make: Callable[[str], type[Op]] = OPS.__getitem__
    nodes = tuple(
        Node(
            n["name"],
            make(n["op"])(**_decoded_fields(n["parameters"], arrays)),
            tuple(n["inputs"]),
            tuple(n["outputs"]),
            tuple(n["layers"]),
        )
        for n in document["nodes"]
    )
    return Graph(
        document["name"],
        {t.name: t for t in tensors},
        nodes,
        tuple(document["inputs"]),
        tuple(document["outputs"]),
        tuple(Preprocess(**p) for p in document["preprocess"]),
        dict(document["meta"]),
    )
