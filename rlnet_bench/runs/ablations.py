"""What ``ablate`` found of a run: ``ablations.jsonl``, one line per (seed, change), chained to the record's last line.

A line holds the team return of every episode, or why there are none; a line of kind ``information`` holds the probe.
The chain of a seed begins with the digest of its last line in ``evals.jsonl``: what was ablated is what was recorded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlnet_bench.reading.plain import parse_json, read_lines
from rlnet_bench.reading.shapes import check
from rlnet_bench.runs.files import write_atomic
from rlnet_bench.runs.records import CHAIN_START, DamagedRecord, read_evals

FILE = "ablations.jsonl"
_LINE = {
    "kind": str, "value": float, "seed": int, "mode": ("deterministic", "sampled"), "weights": ("best", "final"),
    "team?": [float], "reason?": str, "r2?": float, "p?": float, "chain": str,
}  # fmt: skip


def write_ablations(run_dir: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Replace the file; each line gets its ``chain``.

    Args:
        run_dir: of the run whose policies were changed.
        lines: ``kind``, ``value``, ``seed``, ``mode``, ``weights``, and ``team`` (floats), ``reason``, or ``r2`` and
            ``p``.
    """
    last = last_chains(run_dir)
    out = []
    for line in lines:
        text = json.dumps(line)
        last[line["seed"]] = digest(last.get(line["seed"], CHAIN_START), text)
        out.append(f'{text[:-1]}, "chain": "{last[line["seed"]]}"}}\n')
    write_atomic(run_dir / FILE, "".join(out))


def read_ablations(run_dir: Path) -> list[dict[str, Any]]:
    """The lines, none where nothing was ablated.

    Raises:
        DamagedRecord: for a line that is no such line, or whose chain does not follow from the record.
    """
    lines, _ = read_lines(run_dir / FILE, _parsed)
    last = last_chains(run_dir)
    for number, line in enumerate(lines, 1):
        body = json.dumps({k: v for k, v in line.items() if k != "chain"})
        expected = digest(last.get(line["seed"], CHAIN_START), body)
        if line["chain"] != expected:
            raise DamagedRecord(
                f"{run_dir / FILE}: line {number} (seed {line['seed']}): chain digest {line['chain']!r}, expected "
                f"{expected!r}; the record or the line was changed, run `ablate` again."
            )
        last[line["seed"]] = line["chain"]
    return lines


def last_chains(run_dir: Path) -> dict[int, str]:
    """The digest of every seed's last line in the record."""
    return {line.seed: line.chain for line in read_evals(run_dir / "evals.jsonl")[0]}


def digest(previous: str, body: str) -> str:
    """16 hex digits over the digest before and the line."""
    return hashlib.sha256(previous.encode() + body.encode()).hexdigest()[:16]


def team_of(values: np.ndarray) -> Sequence[float]:
    """Returns in the shortest form that reads back as the same float32."""
    return [float(str(np.float32(x))) for x in values]


def _parsed(text: bytes, where: str) -> dict[str, Any]:
    found = parse_json(text, where)
    check(found, _LINE, where)
    return dict(found)
