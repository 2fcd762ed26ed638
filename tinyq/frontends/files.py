# SPDX-License-Identifier: Apache-2.0
"""Keras files without Keras: the configuration and the weights inside ``.h5`` and ``.keras``.

``.h5`` (Keras 1.2 to 3): attribute ``model_config``, group ``model_weights/<layer>`` with
``weight_names``; a nested model keeps its trainable weights first, then the others.
``.keras`` (Keras 2.12 to 3): a zip of ``config.json`` and ``model.weights.h5``, in which layers are
called by their class and a count (``layers/conv2d_1/vars/0``), nested models hold further
``layers``.

Needs h5py only.  Absent on purpose: optimizer state, quantized and sharded weight files.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tinyq.errors import ModelFileError, ToolMissing, UnsupportedError
from tinyq.frontends.config import WeightMap, is_model, is_operation, layer_name
from tinyq.frontends.layers import ALIASES, LAYERS

_HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_ZIP_MAGIC: Final = b"PK"
_TFLITE_MAGIC: Final = b"TFL3"
#: a global heap of an HDF5 file: signature, version 1, reserved; then its size in bytes
_HEAP_START: Final = b"GCOL\x01\0\0\0"
_HEAP_HEADER: Final = 16
#: an entry of it: index (0 for free space), references, reserved, size of the data
_HEAP_ENTRY: Final = struct.Struct("<HHIQ")
#: What h5py and walking through a damaged configuration raise.
MALFORMED: Final = (OSError, LookupError, RuntimeError, TypeError, ValueError, AttributeError)


def file_kind(path: Path) -> str:
    """ "h5", "keras" or "saved_model", told from the content, not from the suffix.

    Raises:
        ModelFileError: missing, empty, or not a Keras model.
    """
    if not path.exists():
        raise ModelFileError(f"model file {path} does not exist; check the path")
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved_model"
        raise ModelFileError(f"folder {path} is not a SavedModel: it has no saved_model.pb")
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from error
    if head == _HDF5_MAGIC:
        return "h5"
    if head[:2] == _ZIP_MAGIC:
        return "keras"
    what = "is empty" if not head else "is neither .h5 nor .keras nor a SavedModel folder"
    if head[4:] == _TFLITE_MAGIC:
        what = "is a TensorFlow Lite file; give the Keras model it was made from"
    raise ModelFileError(f"model file {path} {what}")


def read_h5(path: Path) -> tuple[dict[str, Any], WeightMap]:
    """Configuration and weights of an ``.h5`` model."""
    h5py = _import_h5py()
    try:
        _check_heaps(path.read_bytes())
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                raise ModelFileError(
                    f"{path} holds weights but no model; save it with model.save(), not "
                    "save_weights()"
                )
            config = _model_config(path, file.attrs["model_config"])
            return config, _legacy_weights(file["model_weights"], config)
    except MALFORMED as error:
        raise damaged(path, error) from error


def read_keras(path: Path) -> tuple[dict[str, Any], WeightMap]:
    """Configuration and weights of a ``.keras`` archive."""
    h5py = _import_h5py()
    try:
        with zipfile.ZipFile(path) as archive:
            config = _model_config(path, archive.read("config.json"))
            weights = archive.read("model.weights.h5")
        _check_heaps(weights)
        with h5py.File(io.BytesIO(weights), "r") as file:
            return config, _stored_weights(file, config, ())
    except (*MALFORMED, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(path, error) from error


def _check_heaps(content: bytes) -> None:
    """Refuse entries of a global heap that the HDF5 library would step over forever.

    Raises:
        ValueError: free space of no size, or a size with which the step overflows.
    """
    start = content.find(_HEAP_START)
    while start >= 0:
        size = int.from_bytes(content[start + 8 : start + 16], "little")
        end = min(start + size, len(content)) - _HEAP_ENTRY.size
        at = start + _HEAP_HEADER
        while at <= end:
            index, _, _, held = _HEAP_ENTRY.unpack_from(content, at)
            step = held if index == 0 else _HEAP_ENTRY.size + -(-held // 8) * 8
            if not 0 < step < 1 << 63:
                raise ValueError(f"an entry of {held} bytes in the global heap at byte {at}")
            at += step
        start = content.find(_HEAP_START, start + len(_HEAP_START))


def _import_h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ToolMissing("reading Keras files needs h5py: pip install tinyq-mcu[train]") from error
    return h5py


def damaged(path: Path, error: Exception) -> ModelFileError:
    """The error for a file that starts well and then is not what Keras writes."""
    reason = " ".join(str(error).split())
    return ModelFileError(f"model file {path} is truncated or damaged ({reason}); save it again")


def _model_config(path: Path, text: str | bytes) -> dict[str, Any]:
    """The configuration that has "layers", from a file's JSON."""
    try:
        entry = json.loads(text)
    except ValueError as error:
        raise damaged(path, error) from error
    config = entry.get("config") if isinstance(entry, dict) else None
    if isinstance(config, list):
        return {"name": path.stem, "layers": config}
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        kind = entry.get("class_name", "unknown") if isinstance(entry, dict) else "unknown"
        raise UnsupportedError(
            f"{path} holds a subclassed model ({kind}), whose layers are not in the file; rebuild "
            "it with the functional or Sequential API"
        )
    return config


# ---------------------------------------------------------------- .h5


def _legacy_weights(group: Any, config: Mapping[str, Any]) -> dict[tuple[str, ...], list[Any]]:
    """Arrays per layer from ``model_weights``."""
    found: dict[tuple[str, ...], list[Any]] = {}
    for entry in config["layers"]:
        name = layer_name(entry)
        if name not in group:
            continue
        stored = group[name]
        labels = _weight_labels(stored.attrs)
        arrays = [stored[label][()] for label in labels]
        if is_model(entry):
            found.update(_split(entry, (name,), labels, arrays))
        else:
            found[name,] = arrays
    return found


def _weight_labels(attributes: Any) -> list[str]:
    """``weight_names``, which Keras splits into numbered attributes where it is long."""
    if "weight_names" in attributes:
        parts = [attributes["weight_names"]]
    else:
        parts = []
        while f"weight_names{len(parts)}" in attributes:
            parts.append(attributes[f"weight_names{len(parts)}"])
    labels = [label for part in parts for label in part]
    return [item.decode() if isinstance(item, bytes) else str(item) for item in labels]


def _split(
    entry: Mapping[str, Any], key: tuple[str, ...], labels: Sequence[str], arrays: Sequence[Any]
) -> dict[tuple[str, ...], list[Any]]:
    """Give the arrays of a nested model to its layers.

    Keras writes the trainable weights of all inner layers, then the others.  The names in the file
    end with the kind of each weight, which must agree.
    """
    trainable, frozen = _slots(entry, key)
    slots = trainable + frozen
    kinds = [label.split("/")[-1].split(":")[0] for label in labels]
    if len(slots) != len(arrays) or not all(
        slot.endswith(kind) for (_, slot), kind in zip(slots, kinds, strict=True)
    ):
        raise UnsupportedError(
            f"nested model '{'/'.join(key)}': its weights cannot be told apart in the .h5 file; "
            "save the model as .keras"
        )
    # A layer that is partly trainable (batch norm) has slots in both lists: trainable come first,
    # which is the order of its own weights too.
    found: dict[tuple[str, ...], list[Any]] = {}
    for (owner, _), array in zip(slots, arrays, strict=True):
        found.setdefault(owner, []).append(array)
    return found


_Slots = list[tuple[tuple[str, ...], str]]


def _slots(entry: Mapping[str, Any], key: tuple[str, ...]) -> tuple[_Slots, _Slots]:
    """(layer, weight name) of the trainable and of the other weights of an entry."""
    config = entry["config"]
    trainable: _Slots = []
    frozen: _Slots = []
    if is_model(entry):
        for inner in config["layers"]:
            more_trainable, more_frozen = _slots(inner, (*key, layer_name(inner)))
            trainable += more_trainable
            frozen += more_frozen
    else:
        for name in _weight_names(entry):
            moving = name.startswith("moving_")
            (frozen if moving else trainable).append((key, name))
    if config.get("trainable", True):
        return trainable, frozen
    return [], trainable + frozen


def _weight_names(entry: Mapping[str, Any]) -> list[str]:
    """Weight names of a layer entry; none for classes that are refused later."""
    spec = LAYERS.get(ALIASES.get(entry["class_name"], entry["class_name"]))
    if spec is None:
        return []
    config = entry["config"]
    return [name for name, switch in spec.weights if switch is None or config.get(switch, True)]


# ---------------------------------------------------------------- .keras


def _snake_case(name: str) -> str:
    """Keras' name of a class in weight files: DepthwiseConv2D → depthwise_conv2d."""
    plain = re.sub(r"\W+", "", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", plain)).lower()


def _stored_weights(
    group: Any, config: Mapping[str, Any], scope: tuple[str, ...]
) -> dict[tuple[str, ...], list[Any]]:
    """Arrays per layer from ``layers/<class>_<count>/vars/<index>``, nested models included."""
    found: dict[tuple[str, ...], list[Any]] = {}
    folder = group.get("layers") or group.get("_layer_checkpoint_dependencies") or {}
    counts: dict[str, int] = {}
    for entry in config["layers"]:
        if is_operation(entry):
            continue
        base = _snake_case(entry["class_name"].split(">")[-1])
        counts[base] = counts.get(base, -1) + 1
        key = f"{base}_{counts[base]}" if counts[base] else base
        if key not in folder:
            continue
        path = (*scope, layer_name(entry))
        if is_model(entry):
            found.update(_stored_weights(folder[key], entry["config"], path))
        else:
            stored = folder[key].get("vars", {})
            found[path] = [stored[str(i)][()] for i in range(len(stored))]
    return found
