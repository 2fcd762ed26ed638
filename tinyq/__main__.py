# SPDX-License-Identifier: Apache-2.0
"""``python -m tinyq``: the command line."""

from __future__ import annotations

import sys

from tinyq.cli import main

sys.exit(main())
