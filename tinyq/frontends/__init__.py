# SPDX-License-Identifier: Apache-2.0
"""Bridges from training frameworks to the float graph."""
