"""``rlnet-bench doctor``: what this machine has, what it lacks, and the command that adds it."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from rlnet_bench.cli.output import DEFAULT_STORE, JsonFlag, StoreOption, print_json, print_table

EXTRAS = {
    "mpe": "mpe2", "lbf": "lbforaging", "vmas": "vmas", "pettingzoo": "pettingzoo", "rliable": "rliable",
    "ray": "ray", "slurm": "submitit", "tensorboard": "tensorboard", "wandb": "wandb",
}  # fmt: skip
CORE = ("rlnet-bench", "torch", "numpy", "scipy", "pandas", "safetensors")


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(doctor)


def doctor(store: StoreOption = DEFAULT_STORE, json: JsonFlag = False) -> None:
    """Show versions, extras, compiler, threads, CUDA, disk, and whether the store can be written."""
    found = examine(Path(store))
    if json:
        print_json(found)
        return
    print_table(("what", "found", "note"), [(f["id"], escape(f["found"]), escape(f["note"])) for f in found])


def examine(store: Path) -> list[dict[str, Any]]:
    """(id, found, note) for everything that matters."""
    rows = [("python", platform.python_version(), ""), ("platform", platform.platform(), "")]
    rows += [(name, _version(name) or "missing", "") for name in CORE]
    for extra, package in EXTRAS.items():
        present = find_spec(package) is not None
        note = "" if present else f'pip install "rlnet-bench[{extra}]"'
        rows.append((f"extra {extra}", f"{package} {_version(package)}" if present else "missing", note))
    compiler = next((c for c in (os.environ.get("CXX"), "c++", "g++", "clang++") if c and shutil.which(c)), None)
    rows.append(("compiler", compiler or "missing", "" if compiler else "torch.compile is not used; all else works"))
    rows += _torch()
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    rows.append(("cores", str(cores), f"load {load:.1f}: timings will be wrong" if load > cores else ""))
    rows.append(("memory", f"{memory_bytes() / 2**30:.1f} GiB", ""))
    place = next(p for p in (store.absolute(), *store.absolute().parents) if p.exists())
    rows.append(("disk", f"{shutil.disk_usage(place).free / 2**30:.1f} GiB free", f"at {place}"))
    rows.append(("store", str(store), _writable(place)))
    return [{"id": name, "found": text, "note": note} for name, text, note in rows]


def _torch() -> list[tuple[str, str, str]]:
    try:
        import torch
    except ImportError:
        return []
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    rows = [("threads", str(torch.get_num_threads()), f"OMP_NUM_THREADS {threads}; workers get their own number")]
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return [*rows, ("cuda", names, "")]
    return [*rows, ("cuda", "none", "everything runs on the CPU")]


def memory_bytes() -> int:
    """Memory of this machine, or of its control group where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return total


def _writable(place: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=place):
            return "can be written"
    except OSError as error:
        return f"cannot be written ({error.strerror}): choose another --store"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
