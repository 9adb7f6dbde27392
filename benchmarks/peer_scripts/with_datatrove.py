"""Deduplicate paragraphs with the four steps of datatrove's MinHash, in two processes.

python with_datatrove.py FOLDER SCRATCH
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.writers import ParquetWriter

_TASKS = 2


def paragraphs(folder: Path, _: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
    """Yield the paragraphs of every n-th file."""
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    for path in files[rank::world_size]:
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, paragraph in enumerate(re.split(r"\n\s*\n", text)):
            if paragraph.strip():
                yield Document(text=paragraph, id=f"{path}#{number}")


def main(folder: Path, scratch: Path) -> None:
    """Sign, pair, cluster, filter and write."""
    config, read = MinhashConfig(), partial(paragraphs, folder)
    signatures, buckets, removed, kept = (
        str(scratch / name) for name in ("signatures", "buckets", "removed", "kept")
    )
    steps: list[tuple[int, list[Any]]] = [
        (_TASKS, [read, MinhashDedupSignature(signatures, config)]),
        (config.num_buckets, [MinhashDedupBuckets(signatures, buckets, config=config)]),
        (1, [MinhashDedupCluster(buckets, removed, config)]),
        (_TASKS, [read, MinhashDedupFilter(removed), ParquetWriter(kept)]),
    ]
    for number, (tasks, pipeline) in enumerate(steps):
        logs = str(scratch / f"logs-{number}")
        workers = min(tasks, _TASKS)
        LocalPipelineExecutor(
            pipeline, tasks=tasks, workers=workers, logging_dir=logs, start_method="fork"
        ).run()
    import pyarrow.parquet as pq  # noqa: PLC0415

    rows = sum(pq.read_metadata(path).num_rows for path in Path(kept).glob("*.parquet"))
    seen = sum(1 for _ in read(None))
    print(json.dumps({"paragraphs": seen, "kept": rows}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
