"""Hide optional imports of libraries that nothing here needs.

Without it ``palimpsest compare`` takes 10 % more CPU time if scipy is installed, even without
pandas.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder

import pyarrow as pa


class _HidingFinder(MetaPathFinder):
    """Reports one module as missing."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002
        """Refuse the hidden module; leave all others to the finders that follow."""
        if fullname == self._name:
            raise ModuleNotFoundError(f"{fullname}: not needed here", name=fullname)


@contextmanager
def hide_module(name: str) -> Iterator[None]:
    """Make a module impossible to import within the block, unless it is imported already.

    Example:
        >>> with hide_module("this"):
        ...     import this
        Traceback (most recent call last):
        ModuleNotFoundError: this: not needed here
    """
    finder = _HidingFinder(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def skip_pandas() -> None:
    """Keep pyarrow from importing pandas, in a process that passes it no pandas objects.

    pyarrow looks for pandas once, at its first array or scalar. ``to_pandas`` looks again, and
    works.
    """
    with hide_module("pandas"):
        pa.array([])
