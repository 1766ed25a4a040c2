"""Append-only records of one run: chained evaluation lines and timings."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlnet_bench.errors import NotReproducible
from rlnet_bench.runs.files import writing
from rlnet_bench.runs.lease import LeaseLost
from rlnet_bench.runs.records import (
    CHAIN_START,
    DamagedRecord,
    EvalLine,
    chained,
    check_chain,
    read_evals,
    read_timings,
)


class Recorder:
    """Writes ``evals.jsonl`` and ``timings.jsonl``.

    A torn last line is cut. A line that is already there (a resumed run makes some again) must come out
    the same to the character; a new one continues the chain of digests of its seed.
    """

    def __init__(self, folder: Path) -> None:
        """Open the files of a run directory.

        Raises:
            DamagedRecord: when a line was changed after it was written.
            DiskRefused: when the disk refuses.
        """
        self.path, self.timings = folder / "evals.jsonl", folder / "timings.jsonl"
        with writing(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            lines, good = read_evals(self.path)
            sizes = {self.path: good, self.timings: read_timings(self.timings)[1]}
        broken = check_chain(lines)
        if broken:
            raise DamagedRecord(f"{self.path}: {broken}; the record was changed after it was written.")
        self.head: dict[int, str] = {}  # seed -> chain digest of its last line
        self.links: set[tuple[int, str]] = set()  # every (seed, chain digest) that is on disk
        self.stored: dict[tuple[int, str, str, int], tuple[str, str]] = {}  # key -> (digest before, text)
        for line in lines:
            self._remember(line, line.text.decode(), line.chain)
        self.size = good
        with writing(self.path):
            for path, size in sizes.items():
                if path.exists() and path.stat().st_size != size:
                    os.truncate(path, size)
            self.handle = self.path.open("ab", buffering=0)

    def _remember(self, line: EvalLine, text: str, chain: str) -> None:
        self.stored[line.key] = (self.head.get(line.seed, CHAIN_START), text)
        self.head[line.seed] = chain
        self.links.add((line.seed, chain))

    def heads(self) -> dict[str, str]:
        """The digest of each seed's last line, for a checkpoint to remember how far the record was."""
        return {str(seed): chain for seed, chain in self.head.items()}

    def holds(self, heads: Mapping[str, str]) -> bool:
        """Whether everything that was recorded when ``heads`` was taken is still here."""
        return all((int(seed), chain) in self.links for seed, chain in heads.items())

    def record(self, line: EvalLine) -> None:
        """Append a line, or compare it with the one made before the interruption; :meth:`sync` makes it safe.

        Raises:
            NotReproducible: when they differ.
            DiskRefused: when the disk refuses.
            LeaseLost: when somebody else wrote to the file.
        """
        known = self.stored.get(line.key)
        before = known[0] if known else self.head.get(line.seed, CHAIN_START)
        text = chained(line, before)
        if known is None:
            self._append(text)
            self._remember(line, text, line.digest(before))
        elif known[1] != text:
            raise NotReproducible(
                f"not reproducible: the {line.kind} line of seed {line.seed} at frame {line.frames} ({line.mode}) "
                f"was made again after a resume and differs from the stored one."
            )

    def _append(self, text: str) -> None:
        data = (text + "\n").encode()
        with self._owned(), writing(self.path, "earlier lines are safe"):
            written = 0
            while written < len(data):
                written += os.write(self.handle.fileno(), data[written:])
        self.size += len(data)

    @contextlib.contextmanager
    def _owned(self) -> Iterator[None]:
        """The records are as this process left them, and stay so while the context lasts; raises LeaseLost.

        Looking and writing are one step: a worker that is stopped in between makes its successor wait.
        """
        with writing(self.path, "earlier lines are safe"):
            fcntl.flock(self.handle, fcntl.LOCK_EX)
        try:
            if os.fstat(self.handle.fileno()).st_size != self.size:
                raise LeaseLost(f"{self.path}: another process wrote here; this worker has lost its lease.")
            yield
        finally:
            fcntl.flock(self.handle, fcntl.LOCK_UN)

    def sync(self) -> None:
        """Make the lines so far outlive a power cut (once per evaluation: it takes milliseconds)."""
        with writing(self.path, "what was made since the last checkpoint is made again"):
            os.fsync(self.handle.fileno())

    def timing(self, **data: Any) -> None:
        """Append a line about seconds; never part of a digest. Raises LeaseLost when the run is another's by now."""
        text = json.dumps({**data, "host": socket.gethostname()})
        with self._owned(), writing(self.timings), self.timings.open("a", encoding="utf-8") as handle:
            handle.write(text + "\n")

    def close(self) -> None:
        """Close the files."""
        self.handle.close()
