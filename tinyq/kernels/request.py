# SPDX-License-Identifier: Apache-2.0
"""What a kernel is chosen from: the core, the operator with its tensors, and what is proved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinyq.cores import Core
from tinyq.graph import Graph, Node
from tinyq.ops.clayer import CLayer
from tinyq.proof import LayerProof
from tinyq.tensors import Interval, Tensor


@dataclass(frozen=True)
class Request:
    """A layer in search of a kernel.

    Attributes:
        core: what the code is for.
        graph, node: the layer.
        plain: its portable form, which runs on every core.
        proof: of its accumulator; ``None`` without weights.
        intervals: proved bounds of the codes of every input, per channel.
        follower: an addition that alone reads the layer's output, and could be computed with it;
            ``None`` where there is none.
        forced: the user wants this kernel: limits that only weigh speed against flash do not count.
    """

    core: Core
    graph: Graph
    node: Node
    plain: CLayer
    proof: LayerProof | None
    intervals: tuple[Interval, ...] = ()
    follower: Node | None = None
    forced: bool = False

    @property
    def ins(self) -> Sequence[Tensor]:
        """The layer's inputs."""
        return self.graph.ins(self.node)

    @property
    def out(self) -> Tensor:
        """The layer's output."""
        return self.graph.out(self.node)


#: a kernel's answer: its C form, or ``None`` where it does not apply
Choice = Callable[[Request], CLayer | None]
