"""Run ``examples/look.ipynb`` and write its outputs; ``--check`` only compares them.

The archive is created with the command in the notebook. All of it happens in a temporary folder;
the kernel is this Python, whatever kernels are registered.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "examples" / "look.ipynb"
SECONDS = 300  # kernels may have to be compiled


def prepare(folder: Path) -> None:
    """Copy the examples into a folder, and have Jupyter and Palimpsest write there only."""
    shutil.copytree(NOTEBOOK.parent, folder / "examples")
    home = folder / "home"
    home.mkdir()
    names = ("HOME", "IPYTHONDIR", "PALIMPSEST_STATE")
    names += tuple(f"JUPYTER_{name}_DIR" for name in ("CONFIG", "DATA", "RUNTIME"))
    os.environ |= dict.fromkeys(names, str(home))
    os.environ |= {
        "JUPYTER_PATH": "",
        "PYTHONPATH": str(ROOT / "src"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def make_archive(notebook: Any, folder: Path) -> None:
    """Run the command in the first cell."""
    [line] = re.findall(r"^\$ palimpsest (.+)$", notebook.cells[0].source, re.MULTILINE)
    command = [
        str(Path(sys.executable).with_name("palimpsest")),
        *shlex.split(line),
        "--no-prefect",
    ]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode != 1:  # the examples contain an empty file
        raise SystemExit(f"{shlex.join(command)}: exit code {run.returncode}\n{run.stderr}")


def execute(notebook: Any, folder: Path) -> None:
    """Run all cells in the folder of the examples."""
    native = KernelSpecManager(kernel_dirs=[])  # only the kernel of this Python
    manager = AsyncKernelManager(kernel_spec_manager=native, transport="ipc", ip=str(folder / "k"))
    place = {"metadata": {"path": str(folder / "examples")}}
    client = NotebookClient(
        notebook, km=manager, timeout=SECONDS, resources=place, record_timing=False
    )
    client.execute(cleanup_kc=True)  # which ends the kernel
    notebook.metadata["language_info"] = {"name": "python"}


def main() -> int:
    """Write the notebook with its outputs, or check them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        prepare(folder)
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        make_archive(notebook, folder)
        execute(notebook, folder)
        text = nbformat.writes(notebook) + "\n"
        if str(folder) in text or str(ROOT) in text:
            raise SystemExit(f"{NOTEBOOK.name}: its outputs name a folder of this machine")
    if "--check" not in sys.argv:
        NOTEBOOK.write_text(text, encoding="utf-8")
    elif NOTEBOOK.read_text(encoding="utf-8") != text:
        sys.stderr.write(f"{NOTEBOOK.name} differs from what it shows; run: make docs\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
