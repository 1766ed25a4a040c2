"""Checkpoints: nested state as safetensors and JSON, written atomically, verified when read.

Nothing is pickled. A checkpoint is a directory ``<frames>``; it exists under its final name only when it
is whole. The newest two are kept, so that a damaged one falls back to the one before. Rows that only grow (a
replay) lie beside them in segments, each stored once (:mod:`rlnet_bench.runs.segments`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from rlnet_bench.errors import StoreError
from rlnet_bench.learning.learner import Rows, Segment
from rlnet_bench.reading.tensors import parse_tensors
from rlnet_bench.runs import segments
from rlnet_bench.runs.files import DiskRefused
from rlnet_bench.runs.record_files import SAVED_FORMAT, check_digest, read_saved

KEEP = 2
CHECKPOINT_SECONDS = 60.0  # between two checkpoints of a run, where nobody asks for another interval
_TENSOR = "__tensor__"


def flatten(state: Any, path: str = "") -> tuple[Any, dict[str, torch.Tensor]]:
    """Split nested dicts and lists into a JSON tree with placeholders, and tensors by path.

    Rows are written out, to be compared or counted; a checkpoint stores what is new of them apart.
    """
    if isinstance(state, torch.Tensor):
        return {_TENSOR: path}, {path: state.detach().cpu().contiguous().clone()}
    if isinstance(state, dict):
        tree: dict[str, Any] = {}
        tensors: dict[str, torch.Tensor] = {}
        for key, value in state.items():
            if not isinstance(key, str) or "/" in key:
                raise TypeError(f"{path}: state keys must be strings without '/', found {key!r}")
            tree[key], found = flatten(value, f"{path}/{key}" if path else key)
            tensors |= found
        return tree, tensors
    if isinstance(state, (list, tuple)):
        parts = [flatten(value, f"{path}/{i}") for i, value in enumerate(state)]
        return [p[0] for p in parts], {k: v for p in parts for k, v in p[1].items()}
    if isinstance(state, Rows):
        held = [dict(piece.tensors) for piece in state.pieces(state.first)]
        return flatten({"first": state.first, "position": state.position, "pieces": held}, path)
    if state is None or isinstance(state, (bool, int, float, str)):
        return state, {}
    raise TypeError(f"{path}: cannot checkpoint a {type(state).__name__}")


def unflatten(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Inverse of :func:`flatten` (tuples come back as lists)."""
    if isinstance(tree, dict):
        if set(tree) == {_TENSOR}:
            return tensors[tree[_TENSOR]]
        return {key: unflatten(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list):
        return [unflatten(value, tensors) for value in tree]
    return tree


def write_checkpoint(folder: Path, frames: int, state: dict[str, Any]) -> Path:
    """Write ``folder/<frames>`` atomically and prune the others down to the newest :data:`KEEP`.

    A run only goes forward, so a checkpoint with more frames was found damaged and passed over: it goes.

    Raises:
        DiskRefused: when the disk refuses; the checkpoints before are untouched.
    """
    final = folder / f"{frames:015d}"
    temporary = folder / f".{frames:015d}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for abandoned in folder.glob(".*"):  # by a process that was killed while writing it
            shutil.rmtree(abandoned, ignore_errors=True)
        temporary.mkdir()
        stored: list[tuple[Rows, list[Segment]]] = []

        def store(rows: Rows) -> Any:
            stored.append((rows, segments.store_rows(folder / segments.ROWS, rows)))
            return segments.marked(*stored[-1])

        tree, tensors = flatten(segments.replace_rows(state, store))
        save_file(tensors, temporary / "state.safetensors")
        digest = segments.digest(temporary / "state.safetensors")
        body = {"format": SAVED_FORMAT, "frames": frames, "sha256": digest, "tree": tree}
        if stored:
            body["rows"] = sorted({s.sha256 for _, found in stored for s in found})
        body["check"] = check_digest(body)
        (temporary / "state.json").write_text(json.dumps(body))
        for file in temporary.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
        _sync_directory(folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, (OSError, SafetensorError)):
            reason = getattr(error, "strerror", None) or error
            raise DiskRefused(f"{folder}: cannot write a checkpoint ({reason}); the one before is safe.") from error
        raise
    whole = _all(folder)
    kept = [path for path in whole if path.name <= final.name][-KEEP:]
    for path in whole:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
    for rows, found in stored:
        rows.segments = found
    if stored:
        segments.sweep(folder / segments.ROWS, {name for path in kept for name in _rows_of(path)})
    return final


def read_newest(
    folder: Path, accept: Callable[[dict[str, Any]], bool] = lambda state: True
) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest checkpoint that is whole and accepted, and a sentence for each one passed over.

    Args:
        folder: where checkpoints are.
        accept: whether the records go as far as the checkpoint's state says.
    """
    notes: list[str] = []
    for path in reversed(_all(folder)):
        try:
            state = read_checkpoint(path)
            if accept(state):
                return state, notes
        except Exception as error:  # any damage must fall back, whatever shape it takes
            notes.append(f"checkpoint {path.name} is damaged ({error}); using the one before.")
            continue
        notes.append(f"checkpoint {path.name} is ahead of the records, which lost lines; using the one before.")
    return None, notes


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read and verify one checkpoint directory; raises StoreError when it is not whole."""
    saved = read_saved(path)
    tensors = parse_tensors(saved.data, str(path / "state.safetensors"))
    return _with_rows(unflatten(saved.tree, tensors), path.parent / segments.ROWS)


def _with_rows(tree: Any, folder: Path) -> Any:
    if isinstance(tree, dict):
        if set(tree) == {segments.MARK}:
            return segments.unmarked(folder, tree)
        return {key: _with_rows(value, folder) for key, value in tree.items()}
    return [_with_rows(value, folder) for value in tree] if isinstance(tree, list) else tree


def _rows_of(path: Path) -> list[str]:
    """The segments that a checkpoint needs; none of one that is damaged."""
    try:
        return read_saved(path).rows
    except StoreError:
        return []


def _sync_directory(folder: Path) -> None:
    """Make a rename outlive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _all(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    try:
        return sorted(p for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []
    except OSError as error:
        raise DiskRefused(f"{folder}: cannot be read ({error.strerror}).") from error
