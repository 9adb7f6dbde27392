"""Ports of loopback that nobody uses."""

import socket


def free_port() -> int:
    """Return one; somebody else may take it, which is unlikely."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
