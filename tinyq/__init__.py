# SPDX-License-Identifier: Apache-2.0
"""tinyq: a Keras model becomes an integer-only C library, proved equal to the bit."""

__version__ = "0.1.0"
