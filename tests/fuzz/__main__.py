"""Give a million inputs to the readers, in several processes, and report the faults."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.fuzz import SECONDS, CampaignResult, campaign, resident_mebibytes

_PART = 10_000


def _part(inputs: int, seed: int) -> tuple[CampaignResult, int]:
    return campaign(inputs, seed), resident_mebibytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    began = time.monotonic()
    inputs, reasons = Counter[str](), Counter[str]()
    faults: list[str] = []
    slowest, most = 0.0, 0
    parts = -(-options.inputs // _PART)
    with ProcessPoolExecutor(options.workers) as pool:
        sizes = [min(_PART, options.inputs - part * _PART) for part in range(parts)]
        seeds = range(options.seed, options.seed + parts)
        for done, (result, memory) in enumerate(pool.map(_part, sizes, seeds), 1):
            inputs.update(result.inputs)
            reasons.update(result.reasons)
            faults += result.faults
            slowest, most = max(slowest, result.slowest), max(most, memory)
            if done % 10 == 0:
                print(f"{inputs.total():,} inputs, {len(faults)} faults, {most} MiB", flush=True)
    print(f"{inputs.total():,} inputs in {time.monotonic() - began:.0f} s: {dict(inputs)}")
    print("refused:", ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()))
    print(f"slowest {slowest:.2f} s (at most {SECONDS:.0f}), most memory {most} MiB")
    print(f"{len(faults)} faults", *faults[:50], sep="\n  ")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
