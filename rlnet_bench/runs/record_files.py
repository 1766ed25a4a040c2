"""The files of a run, one by one: their names, what each must look like, its digest. Imports without torch.

What the files say of each other is :mod:`rlnet_bench.runs.record_checks`'s.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlnet_bench.errors import Malformed
from rlnet_bench.reading.files import Absent, read_bytes
from rlnet_bench.reading.names import checked_name, plain_part
from rlnet_bench.reading.plain import parse_json, read_json
from rlnet_bench.reading.shapes import Each, Maybe, check, seed_text
from rlnet_bench.reading.tensors import MAX_SAVED, read_arrays
from rlnet_bench.runs.files import read_mapping
from rlnet_bench.runs.records import STATUSES
from rlnet_bench.vocabulary import EXECUTION_CLASSES, MODES, Mode

SEALED = ("provenance.json", "description.json", "timings.jsonl", "policies/policy.json")
SAVED_FORMAT = 2  # of checkpoints
SAVED = {"format": (SAVED_FORMAT,), "frames": int, "sha256": str, "rows?": [plain_part], "check": str}


def _seeds(value: Any, where: str) -> None:
    check(value, [int], where)
    if not value or len(set(value)) != len(value):
        raise Malformed(where, "distinct seeds, at least one", value)


# Only what readers use; settings and networks are for whoever runs them. Old records have fewer keys.
CONFIG = {
    "format": (1, 2), "label": checked_name, "task": checked_name, "method": checked_name, "settings": dict,
    "network": Maybe(dict), "seeds": _seeds, "frames": int, "training_reward?": ("team_mean", "individual"),
    "method_version?": int, "method_source": str, "task_hash?": str,
    "evaluation": {"every": int, "episodes": int, "absolute_episodes": int, "primary": MODES},
}  # fmt: skip
DIVERGENCE = {"seed": int, "tensor?": str, "frames?": int}
STATUS = {
    "status": STATUSES, "seeds": Each(STATUSES, seed_text), "attempts?": int, "divergences?": [DIVERGENCE],
    "reason?": str, "sealed?": Each(str),
}  # fmt: skip
POLICY = {
    "format?": int, "execution?": tuple(EXECUTION_CLASSES), "actor_parameters?": Maybe(int), "kind?": str,
    "columns?": dict, "actor?": dict, "policy?": dict,
}  # fmt: skip
PROVENANCE = {"packages?": Each(str)} | dict.fromkeys(
    ("python?", "platform?", "processor?", "started?", "commit?", "host?"), Maybe(str)
)


def best_weights(config: Mapping[str, Any], mode: Mode | None = None) -> str:
    """The name under which a run keeps its best weights by a mode (the primary one by default).

    Since format 2 every mode has a best point of its own; format 1 kept one, chosen by the primary mode.
    """
    return "best" if config["format"] == 1 else f"best-{mode or config['evaluation']['primary']}"


def read_status(path: Path) -> dict[str, Any]:
    """A status.json; raises Absent or Malformed."""
    found: dict[str, Any] = read_json(path, shape=STATUS)
    return found


def read_config(path: Path) -> dict[str, Any]:
    """A config.json; raises Absent or Malformed."""
    found: dict[str, Any] = read_json(path, shape=CONFIG)
    return found


def seals(folder: Path) -> dict[str, str]:
    """Digests of the files of a run that no chain covers, for the status of one that has ended."""
    found = {}
    for name in SEALED:
        with contextlib.suppress(Absent):
            found[name] = seal(read_bytes(folder / name))
    return found


def seal(data: bytes) -> str:
    """The digest of one such file."""
    return hashlib.sha256(data).hexdigest()[:16]


def torn_after(file: Path, good: int) -> str:
    """A sentence when a file is longer than its complete part, else nothing."""
    try:
        is_torn = file.stat().st_size != good
    except FileNotFoundError:
        return ""
    return f"the last line is torn after byte {good}" if is_torn else ""


@dataclass(frozen=True)
class Saved:
    """A checkpoint as plain data."""

    tree: Any
    data: bytes  # safetensors
    rows: list[str]  # the segments that it needs


def check_digest(body: Mapping[str, Any]) -> str:
    """Digest of what a checkpoint's ``state.json`` says, but for the digest itself."""
    return hashlib.sha256(json.dumps({k: v for k, v in body.items() if k != "check"}).encode()).hexdigest()


def read_saved(path: Path) -> Saved:
    """A checkpoint directory, whose digest is right.

    Raises:
        StoreError: when it is not whole.
    """
    body = parse_json(read_bytes(path / "state.json"), str(path / "state.json"), finite=False)
    check(body, SAVED, str(path / "state.json"))
    data = read_bytes(path / "state.safetensors", MAX_SAVED)
    if hashlib.sha256(data).hexdigest() != body["sha256"]:
        raise Malformed(str(path), "the contents that its digest was made of", "a changed file")
    if body["check"] != check_digest(body):
        raise Malformed(str(path / "state.json"), "the text that its digest was made of", "a changed file")
    if "tree" not in body:
        raise Malformed(str(path / "state.json"), "a key 'tree'", sorted(body))
    return Saved(body["tree"], data, body.get("rows", []))


def read_provenance(path: Path) -> dict[str, Any]:
    """A provenance.json, empty when absent; raises Malformed."""
    return read_mapping(path, PROVENANCE)


def read_policy(path: Path) -> dict[str, Any]:
    """A policy.json, empty when absent; raises Malformed."""
    return read_mapping(path, POLICY)


def adopted_weights(folder: Path, seed: int) -> Path:
    """Where an adopted run has the best weights of a seed, if they were published."""
    return folder / "policies" / f"best.seed{seed}.safetensors"


def adopted_episode(folder: Path, seed: int) -> Path:
    """Where an adopted run has the recorded episode of a seed, if it was published."""
    return folder / f"episode.seed{seed}.json.gz"


def weights_digests(file: Path, replicas: int) -> list[str]:
    """The digest of every replica's slice of stacked weights, as the run loop makes it; raises Malformed."""
    weights = read_arrays(file)
    digests = []
    for k in range(replicas):
        total = hashlib.sha256()
        for name in sorted(weights):
            rows = len(weights[name]) // replicas
            total.update(name.encode() + weights[name][k * rows : (k + 1) * rows].tobytes())
        digests.append(total.hexdigest()[:16])
    return digests
