"""Append-only records of one run: chained evaluation lines and timings."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from rlnet_bench.errors import NotReproducible, StoreError
from rlnet_bench.runs.records import CHAIN_START, EvalLine, chained, check_chain, read_lines


class Recorder:
    """Writes ``evals.jsonl`` and ``timings.jsonl``.

    A torn last line is cut. A line that is already there (a resumed run makes some again) must come out
    the same to the character.
    """

    def __init__(self, folder: Path, updates: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.timings = folder / "evals.jsonl", folder / "timings.jsonl"
        lines, good = read_lines(self.path)
        broken = check_chain(lines)
        if broken:
            raise StoreError(f"{self.path}: {broken}; the record was changed after it was written.")
        for path, size in ((self.path, good), (self.timings, read_lines(self.timings)[1])):
            if path.exists() and path.stat().st_size != size:
                os.truncate(path, size)
        self.stored = {EvalLine.from_json(x).key: json.dumps(x) for x in lines}
        self.chain = {x["seed"]: CHAIN_START for x in lines}
        self.handle = self.path.open("a", encoding="utf-8")

    def record(self, line: EvalLine) -> None:
        """Append a line, or compare it with the one made before the interruption.

        Raises:
            NotReproducible: when they differ.
            StoreError: when the disk refuses.
        """
        text = chained(line, self.chain.get(line.seed, CHAIN_START))
        known = self.stored.get(line.key)
        if known is None:
            self._append(text)
            self.stored[line.key] = text
        elif known != text:
            raise NotReproducible(
                f"not reproducible: the {line.kind} line of seed {line.seed} at frame {line.frames} ({line.mode}) "
                f"was made again after a resume and differs from the stored one."
            )
        self.chain[line.seed] = json.loads(text)["chain"]

    def _append(self, text: str) -> None:
        try:
            self.handle.write(text + "\n")
            self.handle.flush()
            os.fsync(self.handle.fileno())
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written ({error.strerror}); earlier lines are safe.") from error

    def timing(self, **data: Any) -> None:
        """Append a line about seconds; never part of a digest."""
        text = json.dumps({**data, "host": socket.gethostname()})
        try:
            with self.timings.open("a", encoding="utf-8") as handle:
                handle.write(text + "\n")
        except OSError as error:
            raise StoreError(f"{self.timings}: cannot be written ({error.strerror}).") from error

    def close(self) -> None:
        """Close the files."""
        self.handle.close()
