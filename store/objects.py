"""Objects under one address of a store that speaks S3: list, read, write, and write only if new.

Credentials, endpoint, region, retries and timeouts are those of the AWS tools: environment
variables and configuration files. What passes by itself is tried again by the client, and is a
``TransientError`` after that.
"""

from __future__ import annotations

import functools
import os
import random
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

from palimpsest.records.errors import ContractError, SettingsError, TransientError

SCHEME = "s3://"
STREAMS = 16
"""How many objects are on their way at once."""
_PART_BYTES = 64 * 2**20
"""Larger files travel in parts."""
_CONFLICT_TRIES = 6
_PASSING = {"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "OperationAborted"}
_GONE = {"404", "NoSuchKey", "NotFound"}


class Listed(NamedTuple):
    """An object as its store lists it: its key behind the address, size, and age in seconds."""

    key: str
    size: int
    age_seconds: float


class Objects:
    """The objects whose keys begin with a prefix. Every method may be called from many threads.

    Each method raises ``TransientError`` if the store does not answer, and ``SettingsError`` if it
    refuses.
    """

    def __init__(self, address: str) -> None:
        """Take an address, ``s3://BUCKET/PREFIX``; nothing is asked of the store yet.

        Raises:
            SettingsError: it is no such address.
        """
        bucket, _, prefix = address.removeprefix(SCHEME).partition("/")
        prefix = prefix.strip("/")
        if not address.startswith(SCHEME) or not bucket or not prefix or "//" in prefix:
            raise SettingsError([f"archive {address}: expected s3://BUCKET/NAME"])
        self.address = f"{SCHEME}{bucket}/{prefix}"
        self._bucket = bucket
        self._prefix = f"{prefix}/"
        self._lock = threading.Lock()
        self._connected: Any = None

    @property
    def endpoint(self) -> str:
        """The address of the store itself."""
        return str(self._client.meta.endpoint_url)

    def list(self, under: str, after: str = "") -> Iterator[Listed]:
        """Return what there is, by key.

        Args:
            under: how the keys begin.
            after: only keys that sort behind it.
        """
        told = {"Bucket": self._bucket, "Prefix": self._prefix + under}
        if after:
            told["StartAfter"] = self._prefix + after
        while True:
            with self._asking(under):
                answer = self._client.list_objects_v2(**told)
            now = _told_time(answer)
            for one in answer.get("Contents", []):
                age = (now - one["LastModified"]).total_seconds()
                yield Listed(one["Key"].removeprefix(self._prefix), one["Size"], age)
            if not answer.get("IsTruncated"):
                return
            told["ContinuationToken"] = answer["NextContinuationToken"]

    def read(self, key: str) -> bytes | None:
        """Return a small object, or None if there is none."""
        try:
            with self._asking(key):
                found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
                content: bytes = found["Body"].read()
                return content
        except FileNotFoundError:
            return None

    def fetch(self, key: str, path: Path, size: int) -> None:
        """Bring an object into a new file, and make sure that it is on the disk.

        Raises:
            FileNotFoundError: there is no such object.
            ContractError: it has another size.
        """
        with path.open("xb") as file:
            with self._asking(key):
                self._client.download_fileobj(
                    self._bucket, self._prefix + key, file, Config=self._parts()
                )
            file.flush()
            os.fsync(file.fileno())
            found = file.tell()
        if found != size:
            raise ContractError(
                f"{self.address}/{key}: {found} bytes; expected {size}; restore it from a backup"
            )

    def store(self, path: Path, key: str) -> None:
        """Write a file as an object."""
        with path.open("rb") as file, self._asking(key):
            self._client.upload_fileobj(
                file, self._bucket, self._prefix + key, Config=self._parts()
            )

    def write(self, key: str, content: bytes) -> None:
        """Write a small object, in the place of another if there is one."""
        with self._asking(key):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=content)

    def write_new(self, key: str, content: bytes) -> bool:
        """Write a small object if there is none; tell whether it was written.

        An answer that was lost on its way makes the client ask again, and the second answer is then
        that there is one already: whoever needs to know looks what it is.
        """
        for attempt in range(_CONFLICT_TRIES):
            with self._asking(key):
                code = self._write_new(key, content)
            if code != "ConditionalRequestConflict":
                return not code
            time.sleep(random.uniform(0.05, 0.2) * 2**attempt)  # noqa: S311
        told = f"{self.address}/{key}: others write to it at once; try again"
        raise TransientError(told)

    def drop(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are not there are no matter."""

        def drop_one(key: str) -> None:
            with self._asking(key):
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

        with ThreadPoolExecutor(STREAMS) as pool:
            for _ in pool.map(drop_one, keys):
                pass

    def _write_new(self, key: str, content: bytes) -> str:
        """Write an object if there is none; return an empty string, or why it was not written."""
        from botocore.exceptions import ClientError

        try:
            self._client.put_object(
                Bucket=self._bucket, Key=self._prefix + key, Body=content, IfNoneMatch="*"
            )
        except ClientError as error:
            code = str(error.response["Error"]["Code"])
            if code in {"PreconditionFailed", "412", "ConditionalRequestConflict"}:
                return code
            raise
        return ""

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._connected is None:
                with self._asking(""):
                    self._connected = _connect()
            return self._connected

    def _parts(self) -> Any:
        from boto3.s3.transfer import TransferConfig

        return TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)

    @contextmanager
    def _asking(self, key: str) -> Iterator[None]:
        """Turn what the client raises into our errors.

        Raises:
            FileNotFoundError: there is no such object.
        """
        exceptions, retries_exceeded = _exceptions()
        where = f"{self.address}/{key}".rstrip("/")
        passing = (
            exceptions.HTTPClientError,
            exceptions.ConnectionError,
            exceptions.IncompleteReadError,
            exceptions.FlexibleChecksumError,
            retries_exceeded,
        )
        try:
            yield
        except exceptions.ClientError as error:
            code = str(error.response["Error"].get("Code"))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            if code in _GONE:
                raise FileNotFoundError(where) from error
            if code in _PASSING or status >= 500:
                raise TransientError(f"{where}: {error}; try again") from error
            advice = "see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE and what they allow"
            if code == "NoSuchBucket":
                advice = f"make the bucket {self._bucket}, or name another"
            raise SettingsError([f"archive {where}: {error}; {advice}"]) from error
        except passing as error:
            told = f"{where}: the store does not answer: {error}; try again when it does"
            raise TransientError(told) from error
        except (exceptions.BotoCoreError, ValueError) as error:
            advice = "see AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
            raise SettingsError([f"archive {where}: {error}; {advice}"]) from error


def _exceptions() -> tuple[Any, Any]:
    """Return the client's exceptions.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        from botocore import exceptions
        from s3transfer.exceptions import RetriesExceededError
    except ImportError as error:
        told = "archive s3://...: boto3 is not installed; pip install 'palimpsest-archive[s3]'"
        raise SettingsError([told]) from error
    return exceptions, RetriesExceededError


def _connect() -> Any:
    """Return a client; its settings are the usual ones of AWS."""
    import boto3.session
    import botocore.session
    from botocore.config import Config

    session = botocore.session.Session()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    region = os.environ.get("AWS_REGION")  # which boto3 leaves to other tools
    return boto3.session.Session(botocore_session=session, region_name=region).client(
        "s3", config=Config(max_pool_connections=2 * STREAMS)
    )


@functools.cache
def _loader(path: str | None) -> Any:
    """Return what knows the calls of S3; to read that takes longer than all else of a client."""
    from botocore.loaders import create_loader

    return create_loader(path)


def _told_time(answer: dict[str, Any]) -> datetime:
    """Return the store's own time, since only its clock tells how old its objects are."""
    told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(told) if told else datetime.now(UTC)
