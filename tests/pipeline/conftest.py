"""Runs are killed, limited in time, and carried out by other processes, so kernels are compiled first."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _kernels(compiled_kernels: None) -> None:
    """Load every kernel before the first test of this folder."""
