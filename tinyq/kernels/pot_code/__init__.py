# SPDX-License-Identifier: Apache-2.0
"""Convolutions whose weights are code: what to add in which order, and its text for a core.

``plan`` decides from weights and bounds, ``share`` makes once what many channels need, ``walk``
puts it in order, ``thumb``, ``riscv`` and ``c99`` write it down.
"""
