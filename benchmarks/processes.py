"""Run commands as processes of their own, and measure their time and memory."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_SAMPLED_EVERY = 0.02
_NOT_DONE = 124
"""The exit code of a process that was killed after its time limit, as of ``timeout``."""


class Ran(NamedTuple):
    """The output and the measures of a process.

    Attributes:
        cpu_seconds: of the process and of the children that it waited for.
        peak_mb: peak resident memory of the process itself (VmHWM), with mapped files.
        anonymous_mb: peak of memory that no file backs (RssAnon), by samples; the system can
            reclaim mapped files when memory is needed.
        with_children_mb: peak resident memory of the process and its children, by samples.
        others: average number of cores that other processes used meanwhile; if it is large, the
            measured speed is too low.
    """

    code: int
    output: str
    errors: str
    seconds: float
    cpu_seconds: float
    peak_mb: float
    anonymous_mb: float
    with_children_mb: float
    others: float

    @property
    def fault(self) -> str:
        """The last line of output, which says why it failed."""
        if self.code == _NOT_DONE:
            return f"not done after {self.seconds:.0f} s"
        lines = [line.strip() for line in (self.errors or self.output).splitlines()]
        return next((line for line in reversed(lines) if line), f"exit code {self.code}")


def run(
    command: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    most_seconds: float | None = None,
) -> Ran:
    """Run a command; kill it and all that it started after ``most_seconds``."""
    before, busy_before, started = _own_cpu(), _busy_seconds(), time.perf_counter()
    children_before = _cpu_of(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [str(one) for one in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    peaks, done = [0.0, 0.0, 0.0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks, done))
    watcher.start()
    is_late = False
    try:
        output, errors = process.communicate(timeout=most_seconds)
    except subprocess.TimeoutExpired:
        is_late = True
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    others = (_busy_seconds() - busy_before - (_own_cpu() - before)) / seconds
    cpu_seconds = _cpu_of(resource.RUSAGE_CHILDREN) - children_before
    code = _NOT_DONE if is_late else process.returncode
    return Ran(code, output, errors, seconds, cpu_seconds, *peaks, max(0.0, others))


def expect(ran: Ran, *codes: int) -> Ran:
    """Return the process if its exit code is expected; otherwise print why and exit."""
    if ran.code not in (codes or (0,)):
        raise SystemExit(f"nothing was measured: {ran.errors or ran.fault}")
    return ran


def _watch(pid: int, peaks: list[float], done: threading.Event) -> None:
    while not done.wait(_SAMPLED_EVERY):
        memory_mb = memory_of(pid)
        peaks[0] = max(peaks[0], memory_mb.get("VmHWM", 0.0))
        peaks[1] = max(peaks[1], memory_mb.get("RssAnon", 0.0))
        together = [memory_mb, *map(memory_of, _children(pid))]
        peaks[2] = max(peaks[2], sum(one.get("VmRSS", 0.0) for one in together))


def memory_of(pid: int | str = "self") -> dict[str, float]:
    """Return the memory of a process in MB, by the kernel's names (Linux)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    return {
        name: int(kib) * 1024 / 1e6
        for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", status, re.MULTILINE)
    }


def _children(pid: int) -> list[int]:
    """Return the children of a process (Linux)."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(child) for child in listed.split()]


def _cpu_of(whom: int) -> float:
    used = resource.getrusage(whom)
    return used.ru_utime + used.ru_stime


def _own_cpu() -> float:
    return _cpu_of(resource.RUSAGE_SELF) + _cpu_of(resource.RUSAGE_CHILDREN)


def _busy_seconds() -> float:
    """Return the seconds that all cores have been busy since the machine started (Linux)."""
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, *others = map(int, line.split()[1:9])
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")
