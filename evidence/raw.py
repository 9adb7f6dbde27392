"""The raw bytes of a document, read again from the source that an archive names, and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from ingest.sources import read_uris
from records.errors import SourceError
from records.settings import ReadSettings


class Raw(NamedTuple):
    """The bytes of a document, and the URI of the source that they were read from."""

    uri: str
    content: bytes


def read_raw(uris: Sequence[str], sha256: str, settings: ReadSettings) -> Raw:
    """Return the bytes of a document, unchanged since they were first read.

    Args:
        uris: of its sources, the first that still has it is taken.
        sha256: of its bytes, in hex.
        settings: how containers are read.

    Raises:
        SourceError: no source has these bytes any more; ``detail`` tells of each why.
    """
    faults = []
    for uri in uris:
        try:
            found = dict(read_uris([uri], settings))
        except SourceError as error:
            faults.append(f"{uri}: {error.reason}: {error.detail}")
            continue
        if uri not in found:
            faults.append(f"{uri}: vanished: the file does not hold it any more")
        elif hashlib.sha256(found[uri]).hexdigest() != sha256:
            faults.append(f"{uri}: changed: its bytes are not those that were read")
        else:
            return Raw(uri, found[uri])
    raise SourceError("vanished", "; ".join(faults) or "no source is known")
