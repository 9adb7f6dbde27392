"""Print the figures of ``speed.py`` as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def print_figures(figures: dict[str, Any]) -> None:
    """Print all measured parts.

    ``others`` is the average number of cores that other processes used meanwhile.
    """
    print("; ".join(f"{name} {value}" for name, value in figures["machine"].items()))
    for part, print_part in _PARTS.items():
        if part in figures:
            print_part(figures[part])


def print_table(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows below their names, the first column aligned to the left."""
    cells_of_rows = [[_shown(value) for value in row] for row in [names, *rows]]
    widths = [max(len(row[column]) for row in cells_of_rows) for column in range(len(names))]
    print(f"\n{title}")
    for row in cells_of_rows:
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(value.rjust(width) for value, width in others)]
        print("  ".join(cells).rstrip())


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if abs(value) < 100:
        return f"{value:.2f}"
    return f"{value:,.0f}"


def _print_steps(jobs: list[dict[str, Any]]) -> None:
    _print_jobs("Main job, without Prefect, as a process", jobs)
    for job in jobs:
        rows = [
            (
                name,
                one["seconds"],
                one["cpu_seconds"],
                100 * one["cpu_seconds"] / job["cpu_seconds"],
                one["read_mb"],
                one["mapped_mb"],
                one["written_mb"],
            )
            for name, one in job["steps"].items()
        ]
        names = ("step", "wall s", "CPU s", "CPU %", "read MB", "mapped MB", "written MB")
        print_table(f"Steps with {job['workers']} worker(s)", names, rows)


def _print_jobs(title: str, jobs: list[dict[str, Any]], *more: str) -> None:
    columns = {
        "workers": "workers",
        "articles": "articles",
        "MB": "megabytes",
        "wall s": "seconds",
        "run s": "seconds_of_run",
        "CPU s": "cpu_seconds",
        "MB/s": "mb_per_second",
        "peak MB": "peak_mb",
        "anonymous MB": "anonymous_mb",
        "with forks MB": "with_forks_mb",
        "others": "others",
        "paragraphs": "paragraphs",
        "kept": "kept",
        "candidates": "candidates",
        **{name.replace("_", " "): name for name in more},
    }
    print_table(title, list(columns), [[job[name] for name in columns.values()] for job in jobs])


def _print_prefect(figures: dict[str, Any]) -> None:
    rows = []
    for name, kinds in figures.items():
        for kind, one in kinds.items():
            rows.append((f"{name}, {kind} Prefect", *one.values()))
        added = [with_it - kinds["without"][what] for what, with_it in kinds["with"].items()]
        rows.append((f"{name}, what Prefect adds", *added[:-1], None))
    names = ("palimpsest ingest", "wall s", "CPU s", "peak MB", "anonymous MB", "others")
    print_table("With and without Prefect", names, rows)


def _print_startup(figures: dict[str, float]) -> None:
    print_table("Start-up, median of five", ("command", "wall s"), list(figures.items()))


def _print_floors(figures: dict[str, Any]) -> None:
    rows = [
        (
            row["stage"],
            row["mb_per_second"],
            row["floor_mb_per_second"],
            row["distance"],
            100 * row["share"],
            row["distance_times_share"],
            row["floor"],
        )
        for row in figures["stages"]
    ]
    names = ("stage", "MB/s", "floor MB/s", "distance", "CPU %", "distance x share", "floor is")
    title = f"Stages of {figures['articles']} articles ({figures['megabytes']:.2f} MB), one thread"
    print_table(title, names, rows)


def _print_signatures(rows: list[dict[str, Any]]) -> None:
    shown = [
        (
            row["permutations"],
            row["texts"],
            row["shingles"],
            row["megabytes"] / row["kernel_seconds"],
            row["megabytes"] / row["datasketch_seconds"],
            row["ratio"],
            "yes" if row["are_equal"] else "NO",
        )
        for row in rows
    ]
    names = ("permutations", "texts", "shingles", "MB/s", "datasketch MB/s", "ratio", "equal")
    print_table("Signatures beside datasketch (affine32)", names, shown)


def _print_peers(figures: dict[str, Any]) -> None:
    _print_jobs(
        "The main job on the articles of other tools, and on all",
        [
            figures["ours_same"],
            figures["ours_whole"],
        ],
    )
    rows = [
        (
            row["peer"],
            row.get("seconds"),
            row.get("cpu_seconds"),
            row.get("mb_per_second"),
            row.get("ratio_same"),
            row.get("ratio_whole"),
            row.get("others"),
            row.get("paragraphs"),
            row.get("kept"),
        )
        for row in figures["peers"]
    ]
    names = (
        "peer",
        "wall s",
        "CPU s",
        "MB/s",
        "ours/same",
        "ours/all",
        "others",
        "paragraphs",
        "kept",
    )
    print_table("Other tools on the same articles", names, rows)
    for row in figures["peers"]:
        print(f"{row['peer']}: {row.get('reason', row['does'])}")


def _print_slope(jobs: list[dict[str, Any]]) -> None:
    _print_jobs("Slope", jobs, "ratio", "ratio_of_run")


def _print_memory(rows: list[dict[str, Any]]) -> None:
    _print_jobs("With little memory", rows, "memory", "portions")


def _print_digest(rows: list[dict[str, Any]]) -> None:
    shown = [(row["digest"], row["workers"], row["batch_bytes"]) for row in rows]
    print_table("Digest of all tables", ("digest", "workers", "batch bytes"), shown)


_PARTS: dict[str, Callable[[Any], None]] = {
    "steps": _print_steps,
    "prefect": _print_prefect,
    "startup": _print_startup,
    "floors": _print_floors,
    "signatures": _print_signatures,
    "peers": _print_peers,
    "slope": _print_slope,
    "memory": _print_memory,
    "digest": _print_digest,
}
