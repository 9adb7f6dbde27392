"""Deduplicate paragraphs with text-dedup's MinHash, in two processes.

python with_text_dedup.py FOLDER SCRATCH

Its command reads data sets, so the paragraphs are first written as one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from datasets import Dataset, load_from_disk


def main(folder: Path, scratch: Path) -> None:
    """Write the paragraphs as a data set, and run the command on it."""
    texts = [
        paragraph
        for path in sorted(one for one in folder.rglob("*") if one.is_file())
        for paragraph in re.split(r"\n\s*\n", path.read_text(encoding="utf-8", errors="replace"))
        if paragraph.strip()
    ]
    given, kept = str(scratch / "given"), str(scratch / "kept")
    Dataset.from_dict({"text": texts}).save_to_disk(given)
    command = [sys.executable, "-m", "text_dedup.minhash", "--path", given, "--local"]
    command += ["--column", "text", "--output", kept, "--cache_dir", str(scratch / "cache")]
    subprocess.run([*command, "--num_proc", "2"], check=True, stdout=sys.stderr)
    print(json.dumps({"paragraphs": len(texts), "kept": len(load_from_disk(kept))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
