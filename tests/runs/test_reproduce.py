"""`reproduce` tells identical, within interval and different apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small

from rlnet_bench.errors import StoreError
from rlnet_bench.runs.record_checks import read_run
from rlnet_bench.runs.records import RunRecord
from rlnet_bench.runs.reproduce import compare, reproduce, to_text
from rlnet_bench.runs.worker import work
from rlnet_bench.vocabulary import KINDS, Kind


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store, plan = small.store(tmp_path_factory.mktemp("r") / "s", seeds=4)
    work(store, plan.groups)
    return store.folder(plan.groups[0])


def shifted(record: RunRecord, by: float, noise: float = 0.0) -> RunRecord:
    draw = np.random.default_rng(0)
    evals = tuple(
        replace(e, returns=e.returns + by + noise * draw.normal(size=e.returns.shape), chain="x") for e in record.evals
    )
    return replace(record, evals=evals)


def test_the_same_again_is_identical(run_dir: Path) -> None:
    result = reproduce(run_dir)
    assert result.verdict == "identical"
    assert [c for c in result.changes if not c.startswith("commit:")] == []
    assert to_text(result).startswith("identical:")


def test_noise_is_within_the_interval_and_a_shift_is_not(run_dir: Path) -> None:
    record = read_run(run_dir)
    near = compare(record, shifted(record, 0.0, 0.1))
    assert near.verdict == "within interval"
    assert {c.seed for c in near.comparisons} == {None}
    assert len(near.comparisons) == 4  # final and absolute, deterministic and sampled
    far = compare(record, shifted(record, 1000.0), ["torch 1 then, 2 now"])
    assert far.verdict == "different"
    assert "zero is outside" in to_text(far)
    assert "changed since: torch 1 then, 2 now" in to_text(far)


def test_every_kind_of_line_is_compared(run_dir: Path) -> None:
    from typing import get_args

    parts = get_args(Kind)  # a union of literals: its parts are no strings
    assert set(KINDS) == {kind for part in parts for kind in (get_args(part) or (part,))}
    record = read_run(run_dir)
    cut = tuple(replace(e, kind="1-bit") for e in record.evals if e.kind == "final" and e.mode == "deterministic")
    more = replace(record, evals=(*record.evals, *cut))
    found = [(c.kind, c.mode) for c in compare(more, shifted(more, 0.0, 0.1)).comparisons]
    assert len(found) == 5 and ("1-bit", "deterministic") in found


def test_few_seeds_are_compared_by_their_episodes(run_dir: Path) -> None:
    record = read_run(run_dir)
    two = replace(record, evals=tuple(e for e in record.evals if e.seed < 2))
    assert {c.seed for c in compare(two, shifted(two, 0.0, 0.1)).comparisons} == {0, 1}


def test_another_seed_that_diverges_is_different(run_dir: Path) -> None:
    record = read_run(run_dir)
    other = replace(shifted(record, 0.0, 0.1), seed_status={**record.seed_status, 3: "diverged"})
    assert compare(record, other).verdict == "different"


def test_a_changed_task_is_named(run_dir: Path) -> None:
    from rlnet_bench.runs.reproduce import changes

    record = read_run(run_dir)
    found = list(changes(replace(record, config={**record.config, "task_hash": "0", "method_version": 99})))
    assert "has changed: card 0 then" in found[0]
    assert "version 99 then" in found[1]


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    store, plan = small.store(tmp_path / "s")
    store.claim(plan.groups[0])
    with pytest.raises(StoreError, match="expected a run that ended as ok or diverged, found running"):
        reproduce(store.folder(plan.groups[0]))


def test_a_record_that_was_changed_is_no_measure(run_dir: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(run_dir, tmp_path / "r"))
    text = (folder / "evals.jsonl").read_text()
    (folder / "evals.jsonl").write_text(text.replace('"success": [0.0', '"success": [1.0', 1))
    with pytest.raises(StoreError, match=r"chain digest .* it was changed after it was written"):
        reproduce(folder)
