"""A submission's folder, opened: everything in it is read as data, bounded, and nothing runs. Imports without torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rlnet_bench.envs.registry import is_catalogued, task_card
from rlnet_bench.errors import Malformed
from rlnet_bench.leaderboard.board import EVIDENCE
from rlnet_bench.leaderboard.submission import (
    ALGORITHM,
    MANIFEST,
    NETWORK,
    README,
    RECORDS,
    SUMS,
    Submission,
    policy_folder,
    read_manifest,
)
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.reading.files import KiB, MiB, listing, read_bytes, read_text, tree
from rlnet_bench.runs.published import SUITE, Publication, read_published
from rlnet_bench.runs.record_files import read_policy

MAX_FILES, MAX_TOTAL = 10_000, 1024 * MiB
MAX_WEIGHTS = 64 * MiB  # of one policy
MAX_CODE = MiB  # of one file of an algorithm
_SUM = re.compile(r"([0-9a-f]{64})  (\S.*)")
_WEIGHTS = re.compile(r"(0|[1-9][0-9]{0,9})\.safetensors")


@dataclass(frozen=True)
class Folder:
    """A folder whose manifest could be read, and what lies in it."""

    path: Path
    manifest: Submission
    files: Mapping[str, int]  # sizes, by path

    @classmethod
    def at(cls, path: Path) -> Folder:
        """Look at a folder.

        Raises:
            BadInput, Malformed: when it is none, holds a link or too much, or its manifest is not one.
        """
        if not path.is_dir():
            raise Malformed(str(path), "a folder with a submission", "nothing" if not path.exists() else "a file")
        files = {f: n for f, n in tree(path, MAX_FILES, MAX_TOTAL).items() if not f.startswith(f"{EVIDENCE}/")}
        return cls(path, read_manifest(path), files)

    @cached_property
    def sums(self) -> dict[str, str]:
        """Digests by path, as ``SHA256SUMS`` has them; raises Malformed."""
        found: dict[str, str] = {}
        for number, line in enumerate(read_text(self.path / SUMS, MiB).splitlines(), 1):
            match = _SUM.fullmatch(line)
            if match is None or match[2] in found:
                raise Malformed(f"{SUMS}, line {number}", "64 hex digits, two blanks and a file, once", line)
            found[match[2]] = match[1]
        return found

    @cached_property
    def seeds(self) -> dict[str, list[int]]:
        """Training seeds of the given policies, by task: those of the manifest that have a folder."""
        return {t.id: found for t in self.manifest.tasks if (found := self._seeds(t.id))}

    def _seeds(self, task: str) -> list[int]:
        return seeds_in(policy_folder(self.path, task))

    @property
    def is_to_be_trained(self) -> bool:
        """A network alone: neither policies nor records, so that we train it."""
        return self.manifest.kind == "network" and not self.seeds and f"{RECORDS}/{SUITE}" not in self.files

    def strangers(self) -> list[str]:
        """Files that have no place in a submission of this kind."""
        kind = self.manifest.kind
        heads = {policy_folder(Path(), t.id).as_posix() for t in self.manifest.tasks}
        found = []
        for file in self.files:
            top, _, rest = file.partition("/")
            folder, _, name = file.rpartition("/")
            fits = (
                file in (MANIFEST, README, SUMS)
                or (file == NETWORK and kind == "network")
                or (top == RECORDS and rest.endswith((".json", ".jsonl.gz", ".episode.json.gz")))
                or (top == ALGORITHM and kind == "algorithm" and rest.endswith((".py", ".txt", ".toml", ".lock")))
                or (folder in heads and kind in ("frozen-policy", "network")
                    and (name == "policy.json" or _WEIGHTS.fullmatch(name) is not None))
            )  # fmt: skip
            if not fits:
                found.append(file)
        return found

    def description(self, task: str) -> dict[str, Any]:
        """How the policy of a task is built: the content of its ``policy.json``; raises Malformed."""
        return read_policy(policy_folder(self.path, task) / "policy.json")

    @cached_property
    def network(self) -> NetworkSpec | None:
        """The network, where the submission is one; raises BadInput."""
        if self.manifest.kind != "network":
            return None
        return NetworkSpec.from_yaml(read_text(self.path / NETWORK, 256 * KiB))

    @cached_property
    def publication(self) -> Publication | None:
        """The records, verified, where there are some; raises StoreError."""
        if not any(f.startswith(f"{RECORDS}/") for f in self.files):
            return None
        return read_published(self.path / RECORDS)

    def digest(self, file: str) -> str:
        """sha256 of a file."""
        return hashlib.sha256(read_bytes(self.path / file, MAX_TOTAL)).hexdigest()

    def is_current(self, task: str) -> bool:
        """Whether a task is one of the catalogue's and still what it was."""
        declared = self.manifest.task(task)
        return is_catalogued(task) and task_card(task).hash() == declared.hash


def seeds_in(policies: Path) -> list[int]:
    """The seeds of which a folder of policies has weights, sorted."""
    return sorted(int(m[1]) for file in listing(policies) if (m := _WEIGHTS.fullmatch(file.name)))


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` of everything else in a folder."""
    from rlnet_bench.runs.files import write_atomic

    files = [f for f in tree(folder, MAX_FILES, MAX_TOTAL) if f != SUMS and not f.startswith(f"{EVIDENCE}/")]
    lines = [f"{hashlib.sha256(read_bytes(folder / f, MAX_TOTAL)).hexdigest()}  {f}\n" for f in files]
    write_atomic(folder / SUMS, "".join(lines))
