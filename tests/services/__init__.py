"""The services of docker-compose.yml as processes."""

import os

import pytest

_IS_REQUESTED = bool({"PALIMPSEST_SERVERS", "PALIMPSEST_LONG"} & os.environ.keys())


def needs_servers(test):
    """Mark a test that takes a minute, since it waits for servers or kills many processes."""
    skipped = pytest.mark.skipif(not _IS_REQUESTED, reason="takes a minute: make servers")
    return pytest.mark.servers(skipped(test))
