"""Objects under one address of an S3-compatible store: list, read, write, and write if absent.

Credentials, endpoint, region, retries and timeouts are configured as for the AWS tools, with
environment variables and configuration files. The client retries temporary errors, which are a
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
"""Number of concurrent transfers."""
_PART_BYTES = 64 * 2**20
"""Larger files are transferred in parts."""
_CONFLICT_TRIES = 6
_TEMPORARY = {"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "OperationAborted"}
_MISSING = {"404", "NoSuchKey", "NotFound"}


class Listed(NamedTuple):
    """An object in a listing: its key relative to the address, its size and its age in seconds."""

    key: str
    size: int
    age_seconds: float


class Objects:
    """The objects whose keys begin with a prefix. All methods are thread-safe.

    Each method raises ``TransientError`` if the store does not answer, and ``SettingsError`` if it
    refuses the request.
    """

    def __init__(self, address: str) -> None:
        """Take an address, ``s3://BUCKET/PREFIX``, without a request to the store.

        Raises:
            SettingsError: the address is invalid.
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
        """The URL of the store itself."""
        return str(self._client.meta.endpoint_url)

    def list(self, under: str, after: str = "") -> Iterator[Listed]:
        """Iterate over objects in the order of their keys.

        Args:
            under: prefix of the keys.
            after: only keys that sort after it.
        """
        query = {"Bucket": self._bucket, "Prefix": self._prefix + under}
        if after:
            query["StartAfter"] = self._prefix + after
        while True:
            with self._converting_errors(under):
                answer = self._client.list_objects_v2(**query)
            now = _server_time(answer)
            for item in answer.get("Contents", []):
                age = (now - item["LastModified"]).total_seconds()
                yield Listed(item["Key"].removeprefix(self._prefix), item["Size"], age)
            if not answer.get("IsTruncated"):
                return
            query["ContinuationToken"] = answer["NextContinuationToken"]

    def read(self, key: str) -> bytes | None:
        """Return the content of a small object, or None if it does not exist."""
        try:
            with self._converting_errors(key):
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
                content: bytes = answer["Body"].read()
                return content
        except FileNotFoundError:
            return None

    def fetch(self, key: str, path: Path, size: int) -> None:
        """Download an object to a new file and flush it to the disk.

        Raises:
            FileNotFoundError: the object does not exist.
            ContractError: it has another size.
        """
        with path.open("xb") as file:
            with self._converting_errors(key):
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
        """Upload a file as an object."""
        with path.open("rb") as file, self._converting_errors(key):
            self._client.upload_fileobj(
                file, self._bucket, self._prefix + key, Config=self._parts()
            )

    def write(self, key: str, content: bytes) -> None:
        """Write a small object, replacing any that exists."""
        with self._converting_errors(key):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=content)

    def write_new(self, key: str, content: bytes) -> bool:
        """Write a small object unless it exists; return whether it was written.

        If an answer is lost, the client repeats the request, and the second answer is then that the
        object exists already: callers that must know compare its content.
        """
        for attempt in range(_CONFLICT_TRIES):
            with self._converting_errors(key):
                code = self._write_new(key, content)
            if code != "ConditionalRequestConflict":
                return not code
            time.sleep(random.uniform(0.05, 0.2) * 2**attempt)  # noqa: S311
        raise TransientError(f"{self.address}/{key}: others are writing to it; try again")

    def drop(self, keys: Iterable[str]) -> None:
        """Remove objects, ignoring those that do not exist."""

        def drop_one(key: str) -> None:
            with self._converting_errors(key):
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

        with ThreadPoolExecutor(STREAMS) as pool:
            for _ in pool.map(drop_one, keys):
                pass

    def _write_new(self, key: str, content: bytes) -> str:
        """Write an object unless it exists; return an empty string, or why it was not written."""
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
                with self._converting_errors(""):
                    self._connected = _connect()
            return self._connected

    def _parts(self) -> Any:
        from boto3.s3.transfer import TransferConfig

        return TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)

    @contextmanager
    def _converting_errors(self, key: str) -> Iterator[None]:
        """Convert errors of the client into those of ``records.errors``.

        Raises:
            FileNotFoundError: the object does not exist.
        """
        exceptions, retries_exceeded = _exceptions()
        where = f"{self.address}/{key}".rstrip("/")
        temporary = (
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
            if code in _MISSING:
                raise FileNotFoundError(where) from error
            if code in _TEMPORARY or status >= 500:
                raise TransientError(f"{where}: {error}; try again") from error
            advice = (
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE and their permissions"
            )
            if code == "NoSuchBucket":
                advice = f"create the bucket {self._bucket}, or name another"
            raise SettingsError([f"archive {where}: {error}; {advice}"]) from error
        except temporary as error:
            fault = f"{where}: the store does not answer: {error}; try again when it does"
            raise TransientError(fault) from error
        except (exceptions.BotoCoreError, ValueError) as error:
            advice = "check AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
            raise SettingsError([f"archive {where}: {error}; {advice}"]) from error


def _exceptions() -> tuple[Any, Any]:
    """Return the client's exceptions.

    Raises:
        SettingsError: the client is not installed.
    """
    try:
        from botocore import exceptions
        from s3transfer.exceptions import RetriesExceededError
    except ImportError as error:
        fault = "archive s3://...: boto3 is not installed; pip install 'palimpsest-archive[s3]'"
        raise SettingsError([fault]) from error
    return exceptions, RetriesExceededError


def _connect() -> Any:
    """Return a client, configured as usual for AWS."""
    import boto3.session
    import botocore.session
    from botocore.config import Config

    session = botocore.session.Session()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    region = os.environ.get("AWS_REGION")  # boto3 ignores it
    return boto3.session.Session(botocore_session=session, region_name=region).client(
        "s3", config=Config(max_pool_connections=2 * STREAMS)
    )


@functools.cache
def _loader(path: str | None) -> Any:
    """Return the loader of the S3 model; reading it takes longer than the rest of a client."""
    from botocore.loaders import create_loader

    return create_loader(path)


def _server_time(answer: dict[str, Any]) -> datetime:
    """Return the store's own time, from which alone the age of its objects follows."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date) if date else datetime.now(UTC)
