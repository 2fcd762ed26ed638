# SPDX-License-Identifier: Apache-2.0
"""Rewrites of the graph, one page each: ``Graph -> Graph``, validated after each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tinyq.graph import Graph, validate
from tinyq.passes.drop_identities import drop_identities, merge_reshapes
from tinyq.passes.eliminate_constants import eliminate_constants
from tinyq.passes.fold_batchnorm import fold_batchnorm, lower_batchnorm
from tinyq.passes.fuse_activation import fuse_activation, hoist_elementwise
from tinyq.passes.fuse_padding import fuse_padding
from tinyq.proof import prove

Pass = Callable[[Graph], Graph]

#: from what the user drew to what a quantizer should see: no batch normalization, no rectifier or
#: border that a neighbour could take, no identity, no chain of reshapes
FLOAT_PIPELINE: Final[tuple[Pass, ...]] = (
    drop_identities,
    hoist_elementwise,
    fold_batchnorm,
    lower_batchnorm,
    hoist_elementwise,
    merge_reshapes,
    drop_identities,
    fuse_padding,
    fuse_activation,
)

#: what every integer graph goes through before it is saved, from PTQ and QAT alike
INTEGER_PIPELINE: Final[tuple[Pass, ...]] = (eliminate_constants,)


def apply(graph: Graph, pipeline: Iterable[Pass]) -> Graph:
    """Run passes in order and validate the graph before and after each."""
    validate(graph)
    for step in pipeline:
        graph = validate(step(graph))
    return graph


def finalize(graph: Graph) -> Graph:
    """The integer pipeline, then the overflow proof (ProofError where it fails)."""
    final = apply(graph, INTEGER_PIPELINE)
    prove(final)
    return final
