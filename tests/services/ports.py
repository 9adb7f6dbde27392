"""Free ports on loopback."""

import socket


def free_port() -> int:
    """Return a free port; another program may take it before it is used, which is unlikely."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
