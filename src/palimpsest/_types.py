"""Types of arguments that several functions take."""

from __future__ import annotations

import os
from collections.abc import Callable

Name = str | os.PathLike[str]
"""A path, an address, an id or a URI."""
Report = Callable[[str, int, int], None]
"""Called with the name of a step, how many of its parts are done, and their number."""
