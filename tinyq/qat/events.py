# SPDX-License-Identifier: Apache-2.0
"""Scalars for TensorBoard: loss, rates and phase of each step, mean loss of each epoch.

Written with TensorFlow's own summary operation; TensorBoard itself need not be installed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import tensorflow as tf

from tinyq.errors import OutputError

PLUGIN: Final = "scalars"


class EventLog:
    """A writer of event files, or of nothing without a folder."""

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self._writer: Any = None
        if folder is None:
            return
        try:
            self._writer = tf.summary.create_file_writer(os.fspath(folder))
        except tf.errors.OpError as error:
            raise OutputError(f"cannot write event files to {folder}: {error.message}") from error

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log values of a step, counted from 1."""
        if self._writer is None:
            return
        with self._writer.as_default():
            for tag, value in values.items():
                number = tf.constant(value, tf.float32)
                tf.summary.write(tag, number, step=step, metadata=_metadata())

    def flush(self) -> None:
        """Make everything so far readable."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()


def _metadata() -> Any:
    """Tells TensorBoard that a tensor is a point of a curve."""
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = PLUGIN
    return metadata
