# SPDX-License-Identifier: Apache-2.0
"""Rewrites of the graph, one page each: ``Graph -> Graph``, validated after each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tinyq.graph import Graph, validate
from tinyq.passes.eliminate_constants import eliminate_constants
from tinyq.proof import prove

Pass = Callable[[Graph], Graph]

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
