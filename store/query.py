"""Select rows of an archive, or run a SQL query, and return an Arrow table.

DuckDB evaluates conditions while it reads, so that it reads, of a table of a million rows, those of
one document without the text of all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa

from palimpsest.records.errors import VERIFY_ADVICE, ContractError, SettingsError
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import Snapshot
from palimpsest.store.views import VIEWS, connect, connect_tables

_HUGE = pa.decimal128(38, 0)


def read_rows(
    snapshot: Snapshot,
    name: str,
    columns: Sequence[str] | None = None,
    *,
    where: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    order: str = "",
) -> pa.Table:
    """Return the rows of a table that meet all conditions, with the schema of the table.

    Args:
        snapshot: the version to read.
        name: of the table.
        columns: the columns to return (default: all).
        where: conditions in SQL; without any, rows are in the order of the files.
        parameters: values for each ``$name`` in the conditions.
        order: columns to sort by, in SQL.
    """
    if not where:
        return snapshot.read(name, columns)
    schema = TABLES[name]
    selected = pa.schema([schema.field(column) for column in columns or schema.names])
    listed = ", ".join(f'"{column}"' for column in selected.names)
    query = f'SELECT {listed} FROM "{name}" WHERE {" AND ".join(where)}'
    query += f" ORDER BY {order}" if order else ""
    with connect_tables(snapshot, [name]) as connection:
        return connection.sql(query, params=dict(parameters or {})).to_arrow_table().cast(selected)


def run_query(
    snapshot: Snapshot,
    query: str,
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
    tables: Mapping[str, Any] | None = None,
) -> pa.Table:
    """Return the result of a query over the tables and views of a version.

    Times are in UTC. Sums of integers, which DuckDB computes in 128 bits, are int64 if they fit.

    Args:
        snapshot: the version to read.
        query: SQL; the last of several statements returns the result.
        parameters: values for each ``?`` in it, or by name for each ``$name``.
        tables: more tables for the query: Arrow tables, or data frames of pandas or Polars.

    Raises:
        SettingsError: it cannot be executed; the message includes that of DuckDB.
        ContractError: a file that it needs cannot be opened.
    """
    import duckdb

    taken = sorted({*(tables or ())} & {*TABLES, *VIEWS})
    if taken:
        faults = [f"table {name!r}: the archive has one; use another name" for name in taken]
        raise SettingsError(faults)
    with reader_errors_as_damage(snapshot):
        connected = connect(snapshot, query)
    with connected as connection:
        try:
            connection.execute(
                "SET python_enable_replacements = false"
            )  # not variables of this function
            for name, table in (tables or {}).items():
                connection.register(name, table)
            relation = connection.sql(query, params=parameters)
            result = None if relation is None else _in_64_bits(relation.to_arrow_table())
        except duckdb.Error as error:
            known = f"tables: {', '.join(TABLES)}; views: {', '.join(VIEWS)}"
            raise SettingsError([f"query: {error}\n{known}"]) from error
    if result is None:
        raise SettingsError(["query: found no statement; expected one, such as FROM documents"])
    return result


def _in_64_bits(table: pa.Table) -> pa.Table:
    for number, field in enumerate(table.schema):
        if field.type == _HUGE:
            with suppress(pa.ArrowInvalid):  # too large
                column = table.column(number).cast(pa.int64())
                table = table.set_column(number, field.name, column)
    return table


@contextmanager
def reader_errors_as_damage(snapshot: Snapshot) -> Iterator[None]:
    """Raise errors of reading missing or damaged files as damage of the archive.

    Raises:
        ContractError: a file of the version cannot be read.
    """
    import duckdb

    try:
        yield
    except (OSError, pa.ArrowException, duckdb.Error) as error:
        advice = f"{VERIFY_ADVICE}; restore it from a backup"
        raise ContractError(f"{snapshot.folder}: cannot be read: {error}; {advice}") from error
