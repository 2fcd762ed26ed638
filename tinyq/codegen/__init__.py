# SPDX-License-Identifier: Apache-2.0
"""Integer graph -> C: tables, schedule and glue around the kernel library (firmware/lib/tinyq).

``lower.py`` makes plain views of a graph, ``templates/*.j2`` lay them out.  Nothing is written and
nothing is decided in a template; equal graphs give equal bytes, whatever the machine or the day.

Absent on purpose: kernels.  They are hand-written C; only their constants and calls are generated.
"""

from tinyq.codegen.names import check_model_name
from tinyq.codegen.render import RenderOptions, render
from tinyq.codegen.schedule import aliases, scheduled, with_aliases

__all__ = [
    "RenderOptions",
    "aliases",
    "check_model_name",
    "render",
    "scheduled",
    "with_aliases",
]
