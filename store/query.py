"""Ask an archive for some rows, or by a query of somebody's own, and get an Arrow table.

Conditions are given to DuckDB, which reads of a file what they leave: of a table of a million rows
those of one document, without the text of all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa

from palimpsest.records.errors import ContractError, SettingsError
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import Snapshot
from palimpsest.store.views import VIEWS, connect, connect_tables

_HUGE = pa.decimal128(38, 0)


def read_rows(
    snapshot: Snapshot,
    name: str,
    columns: Sequence[str] | None = None,
    where: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    order: str = "",
) -> pa.Table:
    """Return rows of a table that meet all conditions, with the schema of the table.

    Args:
        snapshot: the version to look at.
        name: of the table.
        columns: those that are wanted, all unless given.
        where: conditions in SQL; without any, rows are in the order of the files.
        parameters: values for each ``$name`` in the conditions.
        order: columns in SQL, by which rows are ordered.
    """
    if not where:
        return snapshot.read(name, columns)
    schema = TABLES[name]
    wanted = pa.schema([schema.field(column) for column in columns or schema.names])
    listed = ", ".join(f'"{column}"' for column in wanted.names)
    query = f'SELECT {listed} FROM "{name}" WHERE {" AND ".join(where)}'
    query += f" ORDER BY {order}" if order else ""
    with connect_tables(snapshot, [name]) as connection:
        return connection.sql(query, params=dict(parameters or {})).to_arrow_table().cast(wanted)


def run_query(
    snapshot: Snapshot,
    query: str,
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
    tables: Mapping[str, Any] | None = None,
) -> pa.Table:
    """Return what a query gives, by the tables and views of a version.

    Times are in UTC. Sums of whole numbers, which DuckDB gives in 128 bits, are int64 if they fit.

    Args:
        snapshot: the version to look at.
        query: SQL; of several statements the last one gives the result.
        parameters: values for each ``?`` in it, or by name for each ``$name``.
        tables: more that it may name: Arrow tables, or data frames of pandas or Polars.

    Raises:
        SettingsError: it cannot be carried out; what DuckDB says of it is told.
        ContractError: a file that it takes cannot be opened.
    """
    import duckdb

    taken = sorted({*(tables or ())} & {*TABLES, *VIEWS})
    if taken:
        faults = [f"table {name!r}: the archive has one; name yours otherwise" for name in taken]
        raise SettingsError(faults)
    with reader_errors_as_damage(snapshot):
        connected = connect(snapshot, query)
    with connected as connection:
        try:
            connection.execute("SET python_enable_replacements = false")  # no variable of ours
            for name, table in (tables or {}).items():
                connection.register(name, table)
            found = connection.sql(query, params=parameters)
            told = None if found is None else _in_64_bits(found.to_arrow_table())
        except duckdb.Error as error:
            known = f"tables: {', '.join(TABLES)}; views: {', '.join(VIEWS)}"
            raise SettingsError([f"query: {error}\n{known}"]) from error
    if told is None:
        raise SettingsError(["query: found no statement; expected one, as in FROM documents"])
    return told


def _in_64_bits(table: pa.Table) -> pa.Table:
    for number, field in enumerate(table.schema):
        if field.type == _HUGE:
            with suppress(pa.ArrowInvalid):  # too large
                column = table.column(number).cast(pa.int64())
                table = table.set_column(number, field.name, column)
    return table


@contextmanager
def reader_errors_as_damage(snapshot: Snapshot) -> Iterator[None]:
    """Raise what readers say of files that are lost or damaged as what it is.

    Raises:
        ContractError: a file of the version cannot be read.
    """
    import duckdb

    try:
        yield
    except (OSError, pa.ArrowException, duckdb.Error) as error:
        advice = "palimpsest verify tells all that is wrong; restore it from a backup"
        raise ContractError(f"{snapshot.folder}: cannot be read: {error}; {advice}") from error
