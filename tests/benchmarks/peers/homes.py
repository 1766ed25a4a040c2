"""Peers' environments, outside ours: ``.peers/NAME``, built once from ``NAME.txt`` beside this file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE.parents[2] / ".peers"
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


def python_of(peer: str | None) -> str:
    """The interpreter of a peer, or ours; builds the peer's environment where it is missing or of other pins."""
    if peer is None:
        return sys.executable
    home, pins = PEERS / peer, HERE / f"{peer}.txt"
    stamp = home / "built-from.txt"
    if not stamp.exists() or stamp.read_text() != pins.read_text():
        print(f"building {home}, once", file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin/python"), "-m", "pip", "install", "--quiet", "-r", str(pins)], check=True)
        stamp.write_text(pins.read_text())
    return str(home / "bin/python")
