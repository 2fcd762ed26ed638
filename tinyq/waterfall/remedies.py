# SPDX-License-Identifier: Apache-2.0
"""The cheapest change of one layer that takes away at least half of the noise of one cause.

Weights: exponents per channel, a table of as many bits, more bits, int8; each is simulated in this
layer alone with weights rounded to the nearest level, and its noise is compared with that of the
layer's present storage rounded in the same way, so that fitting does not distort the ratio.
Activations: an exponent one higher (a wider range) or one lower (finer steps), and 8 bits where
there are fewer; these cost no bytes.  Tensors that are only added or averaged are tried in 8 bits
together as well: one of them alone gains little while the others stay coarse.

Expected output SQNR: the layer's share of the noise, as ``layers`` found it, shrinks by that ratio.
It is an estimate: layers interact, and a quantizer fits again after the change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from tinyq.encodings import ENCODINGS
from tinyq.graph import Node
from tinyq.ops import Add, AveragePool2D, GlobalMean, LinearOp, Sigmoid, Softmax
from tinyq.progress import Progress
from tinyq.tensors import Tensor
from tinyq.waterfall.layers import Change, LayerLoss, measure_changes
from tinyq.waterfall.simulate import LEAST_NOISE, NOTHING, quantizing
from tinyq.waterfall.stages import Network
from tinyq.waterfall.weights import Storage, on_grid, storage_of, stored_otherwise

#: causes below this share of all layers' noise are left alone
LEAST_SHARE: Final = 0.04
#: a remedy should leave at most ENOUGH of a cause's noise, and must leave at most WORTH
ENOUGH: Final = 0.5
WORTH: Final = 0.8
#: samples that remedies are tried on
SAMPLES: Final = 64
_NOW: Final = "now"
#: parts of a layer's noise that more bits or other exponents cure
CURABLE: Final = ("weights", "activations", "clipping")


@dataclass(frozen=True)
class Remedy:
    """One change of one layer.

    Attributes:
        layer: the user's layer, or several with commas between them.
        cause: "weights", "activations" or "clipping".
        action: what to do.
        bytes: flash it costs; negative where it saves.
        remaining: what is left of this cause's noise, 0..1; 1 where nothing helps.
        output_sqnr: dB expected of the whole network.
    """

    layer: str
    cause: str
    action: str
    bytes: int
    remaining: float
    output_sqnr: float

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "layer": self.layer,
            "cause": self.cause,
            "action": self.action,
            "bytes": self.bytes,
            "noise_remaining": self.remaining,
            "output_sqnr_db": self.output_sqnr,
        }


@dataclass(frozen=True)
class _Try:
    """A change that may help: of which layers, against how much noise of which cause."""

    layers: tuple[LayerLoss, ...]
    cause: str
    noise: float
    action: str
    bytes: int
    change: Change


def find_remedies(
    network: Network, layers: Sequence[LayerLoss], sqnr: float, progress: Progress
) -> tuple[Remedy, ...]:
    """For each layer and cause that matters the cheapest change that helps.

    Those that cost no bytes come first, then those that win most dB a byte.

    Args:
        layers: what ``layers.measure_layers`` found.
        sqnr: of the integer network's outputs, dB.
    """
    total = sum(noise for layer in layers for noise in _parts(layer).values())
    worthy = max(LEAST_SHARE * total, LEAST_NOISE)
    tries = [
        attempt
        for layer in layers
        for cause, noise in _parts(layer).items()
        if noise > worthy
        for attempt in _attempts(network, layer, cause)
    ]
    tries += [t for t in _attempts_on_sums(network, layers) if t.noise > worthy]
    changes = dict(enumerate(attempt.change for attempt in tries))
    noise = measure_changes(network, changes, progress, "remedies", SAMPLES)[0]
    groups: dict[tuple[str, ...], list[tuple[_Try, float]]] = {}
    for index, attempt in enumerate(tries):
        key = (attempt.cause, *(layer.tensor for layer in attempt.layers))
        groups.setdefault(key, []).append((attempt, noise[index]))
    found = [_choose(group, total, sqnr) for group in groups.values()]
    return tuple(sorted(found, key=lambda r: (sqnr - r.output_sqnr) / max(r.bytes, 1)))


def _parts(layer: LayerLoss) -> dict[str, float]:
    return {part: noise for part, noise in layer.noise.items() if part in CURABLE}


def _choose(group: Sequence[tuple[_Try, float]], total: float, sqnr: float) -> Remedy:
    """The cheapest that helps enough, else the best that is worth it, else training."""
    (now, present), *others = group
    ratios = [(t, noise / max(present, LEAST_NOISE)) for t, noise in others]
    enough = [(t, ratio) for t, ratio in ratios if ratio <= ENOUGH]
    worth = [(t, ratio) for t, ratio in ratios if ratio <= WORTH]
    if enough:
        chosen, ratio = min(enough, key=lambda pair: (pair[0].bytes, pair[1]))
    elif worth:
        chosen, ratio = min(worth, key=lambda pair: pair[1])
    else:
        chosen, ratio = replace(now, action="train on (tinyq qat)", bytes=0), 1.0
    share = now.noise / total
    gain = float(-10 * np.log10(max(1 - share * (1 - ratio), LEAST_NOISE)))
    names = ", ".join(layer.name for layer in now.layers)
    return Remedy(names, now.cause, chosen.action, chosen.bytes, ratio, sqnr + gain)


def _attempts(network: Network, layer: LayerLoss, cause: str) -> Iterator[_Try]:
    """The present state first, then what may help."""
    node = None if layer.node is None else network.graph.node(layer.node)
    if cause != "weights":
        tensor, noise = network.graph.tensors[layer.tensor], layer.noise[cause]
        for action, other in _other_tensors(node, tensor, cause):
            change = Change(NOTHING, {tensor.name: quantizing(other)})
            yield _Try((layer,), cause, noise, action, 0, change)
    elif node is not None and isinstance(node.op, LinearOp):
        yield from _weight_attempts(network, layer, node, node.op)


def _other_tensors(node: Node | None, t: Tensor, cause: str) -> Iterator[tuple[str, Tensor]]:
    yield _NOW, t
    if t.bits < 8:
        yield f"8-bit activations instead of {t.bits}", _in_bytes(t)
    if node is not None and isinstance(node.op, Softmax | Sigmoid):
        return  # their exponent is fixed
    if cause == "clipping":
        for step in (1, 2):
            text = f"wider activation range: exponent {t.exponent + step} instead of {t.exponent}"
            yield text, replace(t, exponent=t.exponent + step)
    else:
        text = f"finer activation steps: exponent {t.exponent - 1} instead of {t.exponent}"
        yield text, replace(t, exponent=t.exponent - 1)


def _in_bytes(t: Tensor) -> Tensor:
    """The same range in 8 bits."""
    return replace(t, bits=8, exponent=t.exponent - (8 - t.bits))


def _attempts_on_sums(network: Network, layers: Sequence[LayerLoss]) -> Iterator[_Try]:
    """Narrow tensors that are only added or averaged, and averages: as they are, and in 8 bits."""
    graph = network.graph
    users = [node for node in graph.nodes if isinstance(node.op, Add | AveragePool2D | GlobalMean)]
    factors = {n.inputs[0] for n in graph.nodes if isinstance(n.op, LinearOp)}
    fed = {name for node in users for name in node.inputs} - factors
    fed |= {node.output for node in users if isinstance(node.op, AveragePool2D)}
    narrow = {name for name in fed if graph.tensors[name].bits < 8}
    group = tuple(layer for layer in layers if layer.tensor in narrow)
    if len(group) < 2:
        return
    noise = sum(layer.noise["activations"] for layer in group)
    for action, form in ((_NOW, lambda t: t), ("8-bit activations, all of them", _in_bytes)):
        effects = {x.tensor: quantizing(form(graph.tensors[x.tensor])) for x in group}
        yield _Try(group, "activations", noise, action, 0, Change(NOTHING, effects))


def _weight_attempts(
    network: Network, layer: LayerLoss, node: Node, op: LinearOp
) -> Iterator[_Try]:
    source, now = network.layers[node.name], storage_of(op.quantized)
    x, out = network.graph.ins(node)[0], network.graph.out(node)

    def attempt(action: str, extra: int, values: Any) -> _Try:
        made = replace(op, weights=values, bias=source.corrected_bias(values))
        change = Change({node.name: made}, NOTHING)
        return _Try((layer,), "weights", layer.noise["weights"], action, extra, change)

    yield attempt(_NOW, 0, on_grid(source.weights, op.quantized))
    shape = op.quantized.shape
    for action, storage in _other_storages(now, shape[0]).items():
        extra = storage.bytes(shape) - now.bytes(shape)
        values = stored_otherwise(op, source.weights, storage, out.exponent - x.exponent)
        yield attempt(action, extra, values)


def _other_storages(now: Storage, rows: int) -> Mapping[str, Storage]:
    """What a layer could be stored as, by what one would say."""
    bits = ENCODINGS[now.encoding].bits
    wider = [b for b in (3, 4) if b > bits]
    names = [f"lut{bits}"] if bits < 8 else []
    names += [f"{family}{b}" for b in wider for family in ("int", "lut")]
    names += ["int8"] if bits < 8 else []
    found: dict[str, Storage] = {}
    channels = (False, True) if rows > 1 else (now.per_channel,)
    for name in dict.fromkeys([now.encoding, *names]):
        for per_channel in channels:
            storage = Storage(name, per_channel)
            if storage != now and not (now.per_channel and not per_channel):
                found[_say(now, storage)] = storage
    return found


def _say(now: Storage, then: Storage) -> str:
    exponents = "per-channel exponents" if then.per_channel > now.per_channel else ""
    if then.encoding == now.encoding:
        return f"{exponents} here"
    return f"{then.encoding} here" + (f" with {exponents}" if exponents else "")
