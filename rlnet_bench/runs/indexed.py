"""Records of ended groups from a store's index: equal to those from the files, which wait until they are asked for.

Statistics need a mean per seed, kind and mode, and the index has them; curves and episodes are read from
``evals.jsonl`` when somebody looks at them. Imports without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from rlnet_bench.runs.plan import Group
from rlnet_bench.runs.records import EvalLine, RunRecord, read_evals, read_timings

T = TypeVar("T")


class Later(Sequence[T], Generic[T]):
    """A sequence that is read when it is first looked at."""

    def __init__(self, read: Callable[[], Iterable[T]]) -> None:
        self._read = read

    @cached_property
    def _items(self) -> tuple[T, ...]:
        return tuple(self._read())

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...

    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self._items[index]


class IndexedEvals(Later[EvalLine]):
    """The lines of ``evals.jsonl``, with the means of its ends already known."""

    def __init__(self, file: Path, scores: Mapping[str, Sequence[float]]) -> None:
        super().__init__(lambda: read_evals(file)[0])
        self._scores = scores

    def means(self, seed: int, kind: str, mode: str) -> tuple[float, float] | None:
        """Mean team return and success over the episodes of an end (not of the curve)."""
        found = self._scores.get(score_key(seed, kind, mode))
        return None if found is None else (found[0], found[1])


def score_key(seed: int, kind: str, mode: str) -> str:
    """The name of a pair of means in a line of the index."""
    return f"{seed}/{kind}/{mode}"


def indexed_record(folder: Path, group: Group, line: Mapping[str, Any]) -> RunRecord:
    """The record of an ended group under the label of its plan, as ``Store.record`` reads it.

    Args:
        folder: of the run.
        group: of the plan; its id says that it is what ran.
        line: its fresh line of the index.
    """
    return RunRecord(
        run_id=group.run_id,
        config=dict(group.config),
        status=line["status"],
        seed_status={int(k): v for k, v in line["seeds"].items()},
        evals=IndexedEvals(folder / "evals.jsonl", line["scores"]),
        timings=Later(lambda: read_timings(folder / "timings.jsonl")[0]),
        provenance=line["provenance"],
        divergences=tuple(line["divergences"]),
        reason=line["reason"],
    )
