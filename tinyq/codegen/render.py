# SPDX-License-Identifier: Apache-2.0
"""Graph -> {relative path: text}; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
import numpy.typing as npt

from tinyq.codegen.lower import lower_model
from tinyq.codegen.names import check_model_name
from tinyq.kernels.program import Program
from tinyq.resources import templates_dir

#: generated file to template; NAME stands for the model's name
FILES: Final = {
    "NAME/include/NAME.h": "model.h.j2",
    "NAME/src/NAME.c": "model.c.j2",
    "NAME/src/NAME_vectors.h": "vectors.h.j2",
    "NAME/src/NAME_vectors.c": "vectors.c.j2",
    "NAME/library.json": "library.json.j2",
}


@dataclass(frozen=True)
class RenderOptions:
    """What the generated code depends on besides the graph.

    Attributes:
        name: prefix of functions and macros, names of folder and header.
        vector: codes ``[*shape]`` of every input by tensor name, stored for the self-test; without
            it the device makes an input from a seed, at no cost in flash.
    """

    name: str
    vector: Mapping[str, npt.NDArray[Any]] | None = None


def render(program: Program, options: RenderOptions) -> dict[str, str]:
    """The files of one model's C library, by relative path.

    Args:
        program: of a validated integer graph, from ``compile_graph``.

    Raises:
        InputError: the name cannot be used in C.
        GraphError: the graph computes nothing.
    """
    name = check_model_name(options.name)
    model = lower_model(program, name, options.vector)
    environment = _environment(templates_dir())
    files = {
        path.replace("NAME", name): environment.get_template(template).render(m=model)
        for path, template in FILES.items()
    }
    sources = [c.assembly for layer in model.layers for c in layer.constants if c.assembly]
    return files | {f"{name}/src/{name}_{i}.S": text for i, text in enumerate(sources)}


@cache
def _environment(folder: Path) -> jinja2.Environment:
    """The templates; it compiles each once and looks whether their files have changed."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is C and JSON, whose strings hold identifiers only
    )
