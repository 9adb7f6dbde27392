"""Find near-duplicate paragraphs with datasketch alone, as in a short script of one's own.

python by_hand.py FOLDER SCRATCH
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from datasketch import MinHash, MinHashLSH


def main(folder: Path) -> None:
    """Look up each paragraph among the earlier ones."""
    lsh = MinHashLSH(threshold=0.8, num_perm=128)
    paragraphs = repeated = 0
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, paragraph in enumerate(re.split(r"\n\s*\n", text)):
            words = paragraph.lower().split()
            shingles = {" ".join(words[k : k + 3]) for k in range(max(1, len(words) - 2))}
            sketch = MinHash(num_perm=128)
            sketch.update_batch([shingle.encode() for shingle in shingles])
            paragraphs += 1
            if lsh.query(sketch):
                repeated += 1
            lsh.insert(f"{path}#{number}", sketch)
    print(json.dumps({"paragraphs": paragraphs, "kept": paragraphs - repeated}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
