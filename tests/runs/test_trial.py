"""When a trial was declared is written down by the store, published, adopted, and said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rlnet_bench.analysis.loading import load_results
from rlnet_bench.analysis.trial import declared_when
from rlnet_bench.errors import Malformed
from rlnet_bench.runs.adopt import adopt
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.publish import publish
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Suite
from rlnet_bench.runs.trial import Trial
from rlnet_bench.runs.worker import work

SPREAD = "mpe/simple_spread-discrete-v1"
PLAIN = Suite(
    name="plain", tasks=[SPREAD], test=[SPREAD], methods=["random", "coordinated"], seeds=3, budget={"frames": 100},
    evaluation={"episodes": 2, "absolute_episodes": 2},
)  # fmt: skip
TRIAL = Trial(primary="coordinated", comparators=["random"])
DECLARED = PLAIN.model_copy(update={"name": "declared", "trial": TRIAL})


def run(store: Store, suite: Suite) -> Store:
    """Plan a suite and run what is left."""
    plan = make_plan(suite)
    store.add_plan(plan)
    assert not work(store, plan.groups)
    return store


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose trial was declared and then run."""
    return run(Store.create(tmp_path_factory.mktemp("first") / "store"), DECLARED).root


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the same runs, and no trial."""
    return run(Store.create(tmp_path_factory.mktemp("plain") / "store"), PLAIN).root


def said(source: Path | Store) -> str:
    return declared_when(load_results(source))


def published(store: Store, out: Path, suite: Suite = DECLARED) -> Path:
    """The suite's publication."""
    publish(store, store.plan(suite.name), out)
    return out / f"{suite.name}-v1"


def test_a_trial_that_came_first(first: Path, tmp_path: Path) -> None:
    found = Store(first).declared(DECLARED)
    assert found and (found.begun, found.ended, found.trial) == (0, 0, TRIAL)
    assert said(first).startswith("The trial was declared before any of its runs had begun (20")
    run(Store(first), DECLARED)  # again: nothing is left, and nothing changes
    assert Store(first).declared(DECLARED) == found
    record = published(Store(first), tmp_path)
    assert said(record) == said(first)
    again = Store.create(tmp_path / "elsewhere")
    adopt(again, record)
    run(again, DECLARED)
    assert again.declared(DECLARED) == found and said(again) == said(first)


def test_a_trial_that_came_after_its_runs_under_a_new_name(plain: Path, tmp_path: Path) -> None:
    store = run(Store(Path(shutil.copytree(plain, tmp_path / "store"))), DECLARED)
    found = store.declared(DECLARED)
    assert found and (found.begun, found.ended) == (6, 6)
    text = said(published(store, tmp_path / "out"))
    assert text.startswith("The trial was declared when 6 of its 6 runs had begun and 6 had ended")


def test_a_trial_that_was_declared_before_older_runs_were_brought_in(plain: Path, tmp_path: Path) -> None:
    record = published(Store(plain), tmp_path, PLAIN)
    store = Store.create(tmp_path / "store")
    store.add_plan(make_plan(DECLARED))
    found = store.declared(DECLARED)
    assert found and found.begun == 0
    store.declare(DECLARED, found.model_copy(update={"at": "2099-01-01T00:00:00+0000"}))
    adopt(store, record)
    assert said(run(store, DECLARED)).startswith("The trial was declared when 6 of its 6 runs had begun (2099")


def test_of_older_stores_and_publications_it_is_not_recorded(first: Path, tmp_path: Path) -> None:
    record = published(Store(first), tmp_path / "out")
    (record / "trial.json").unlink()
    assert "is not recorded" in said(record)
    store = Store.create(tmp_path / "store")
    adopt(store, record)
    assert "is not recorded" in said(run(store, DECLARED))
    old = Path(shutil.copytree(first, tmp_path / "old"))
    shutil.rmtree(old / "trials")
    assert "is not recorded" in said(run(Store(old), DECLARED))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"begun": -1.5}, "a declared trial"),
        ({"at": "yesterday"}, "a time such as"),
        ({"test": []}, r"the trial and the test tasks of suite\.json"),
    ],
)
def test_what_is_no_declaration_of_this_trial_is_refused(
    first: Path, tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    record = published(Store(first), tmp_path)
    text = json.loads((record / "trial.json").read_text())
    (record / "trial.json").write_text(json.dumps({**text, **change}))
    with pytest.raises(Malformed, match=rf"trial\.json.*expected {sentence}"):
        load_results(record)
