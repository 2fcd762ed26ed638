# SPDX-License-Identifier: Apache-2.0
"""TensorFlow says less and uses one thread; both Keras versions as fixtures."""

from __future__ import annotations

import os
from typing import Any

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def tf_keras() -> Any:
    return pytest.importorskip("tf_keras", reason="tf_keras is not installed")


@pytest.fixture(scope="session")
def keras3() -> Any:
    keras = pytest.importorskip("keras", reason="Keras 3 is not installed")
    if not keras.__version__.startswith("3."):
        pytest.skip(f"keras {keras.__version__} is not Keras 3")
    return keras


@pytest.fixture(scope="session", params=["tf_keras", "keras3"])
def keras(request: pytest.FixtureRequest) -> Any:
    """tf_keras and Keras 3 in turn."""
    return request.getfixturevalue(request.param)
