"""The services of docker-compose.yml as processes, and what they need."""

import os

import pytest

_IS_ASKED_FOR = bool({"PALIMPSEST_SERVERS", "PALIMPSEST_LONG"} & os.environ.keys())


def needs_servers(test):
    """Mark a test that starts servers and waits for them: it takes up to a minute, mostly waiting."""
    skipped = pytest.mark.skipif(not _IS_ASKED_FOR, reason="waits for servers: make servers")
    return pytest.mark.servers(skipped(test))
