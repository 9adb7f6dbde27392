"""Compile kernels first: these tests kill runs, limit their time, or run them in processes."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _kernels(compiled_kernels: None) -> None:
    """Load every kernel before the first test of this folder."""
