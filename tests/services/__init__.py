"""The services of docker-compose.yml as processes, and what they need."""

import os

import pytest

_IS_ASKED_FOR = bool({"PALIMPSEST_SERVERS", "PALIMPSEST_LONG"} & os.environ.keys())


def needs_servers(test):
    """Mark a test that waits for servers, or kills one process after the other: it takes a minute."""
    skipped = pytest.mark.skipif(not _IS_ASKED_FOR, reason="waits or kills at length: make servers")
    return pytest.mark.servers(skipped(test))
