# SPDX-License-Identifier: Apache-2.0
"""The generated C library of a graph, in the build cache, ready to compile."""

from __future__ import annotations

import hashlib
from typing import Final

from tinyq.files import write_tree
from tinyq.graph import Graph
from tinyq.kernels.program import Target
from tinyq.project import render_model
from tinyq.toolchain import Part, cache_dir, library_part

#: the C name under which backends build every model: the model's own could be reserved in C
MODEL_NAME: Final = "net"
#: its ``tq_model``
MODEL_SYMBOL: Final = f"{MODEL_NAME}_model"


def model_parts(graph: Graph, target: Target | None = None) -> tuple[Part, ...]:
    """The model and the kernel library as parts of a program; portable kernels by default.

    Raises:
        OutputError: the cache cannot be written.
    """
    files = render_model(graph, MODEL_NAME, None, target)
    text = "".join(f"{name}\0{content}\0" for name, content in sorted(files.items()))
    folder = cache_dir() / "models" / hashlib.sha256(text.encode()).hexdigest()[:24]
    write_tree(folder, files)
    sources = tuple(folder / name for name in sorted(files) if name.endswith((".c", ".S")))
    header = folder / MODEL_NAME / "include"
    return Part("model", sources, private=(header,)), library_part()
