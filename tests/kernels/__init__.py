# SPDX-License-Identifier: Apache-2.0
"""Tests of the kernels; a package, so that benchmarks/kernels.py does not hide it."""
