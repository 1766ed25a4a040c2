"""Rows that only grow, beside checkpoints: each stored once, in append-only segments named by their digest.

``checkpoints/rows/<digest>.safetensors`` holds the rows that were new at one checkpoint. A checkpoint names the
segments that it needs; those that no kept checkpoint names are removed. Since the name is the digest, a segment
is found damaged, and written anew, whatever happened to it. Imports without torch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from rlnet_bench.errors import Malformed
from rlnet_bench.learning.learner import Piece, Rows, Segment
from rlnet_bench.reading.files import opened
from rlnet_bench.reading.tensors import MAX_SAVED, read_tensors

ROWS = "rows"  # the directory
MARK = "__rows__"


class StoredRows:
    """The rows of a checkpoint, read segment by segment."""

    def __init__(self, folder: Path, first: int, position: int, segments: Sequence[Segment]) -> None:
        self.folder, self.first, self.position, self.segments = folder, first, position, tuple(segments)

    def pieces(self, start: int) -> Iterator[Piece]:
        """Every segment with rows from ``start`` on."""
        for segment in self.segments:
            if segment.stop > start:
                tensors = read_tensors(self.folder / file_name(segment.sha256), most=MAX_SAVED)
                yield Piece(segment.start, segment.stop, tensors)


def file_name(sha256: str) -> str:
    """Where a segment is, below :data:`ROWS`."""
    return f"{sha256}.safetensors"


def digest(file: Path) -> str:
    """sha256 of a file."""
    with opened(file) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def replace_rows(state: Any, change: Callable[[Rows], Any]) -> Any:
    """The state with every :class:`~rlnet_bench.learning.replay.Rows` in it replaced."""
    if isinstance(state, dict):
        return {key: replace_rows(value, change) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [replace_rows(value, change) for value in state]
    return change(state) if isinstance(state, Rows) else state


def store_rows(folder: Path, rows: Rows) -> list[Segment]:
    """Store what is new of ``rows`` in ``folder``; returns the segments that together hold all of them.

    Raises:
        OSError, SafetensorError: when the disk refuses; what was stored before is untouched.
    """
    from safetensors.torch import save_file

    needed = [s for s in rows.segments if s.stop > rows.first]
    whole = needed and needed[0].start <= rows.first and all((folder / file_name(s.sha256)).exists() for s in needed)
    segments = needed if whole else []
    folder.mkdir(parents=True, exist_ok=True)
    for piece in rows.pieces(segments[-1].stop if segments else rows.first):
        temporary = folder / f".{piece.start}-{piece.stop}.{os.getpid()}"
        save_file({name: tensor.cpu().contiguous() for name, tensor in piece.tensors.items()}, temporary)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        segment = Segment(piece.start, piece.stop, digest(temporary))
        os.replace(temporary, folder / file_name(segment.sha256))
        segments.append(segment)
    return segments


def marked(rows: Rows, segments: Sequence[Segment]) -> dict[str, Any]:
    """What a checkpoint keeps in the place of rows, as plain data."""
    kept = [[s.start, s.stop, s.sha256] for s in segments]
    return {MARK: {"first": rows.first, "position": rows.position, "segments": kept}}


def unmarked(folder: Path, mark: dict[str, Any]) -> StoredRows:
    """Inverse of :func:`marked`; raises Malformed when a segment is missing or damaged."""
    body = mark[MARK]
    segments = [Segment(*s) for s in body["segments"]]
    verify(folder, [s.sha256 for s in segments])
    return StoredRows(folder, body["first"], body["position"], segments)


def verify(folder: Path, names: Collection[str]) -> None:
    """Raise Malformed unless every segment is there and whole."""
    for name in names:
        if digest(folder / file_name(name)) != name:
            raise Malformed(str(folder), f"the segment {name[:12]} as its digest says", "a changed file")


def sweep(folder: Path, needed: Collection[str]) -> None:
    """Remove every file that holds none of the needed segments."""
    keep = {file_name(name) for name in needed}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in keep:
            path.unlink(missing_ok=True)
