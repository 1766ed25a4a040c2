"""A method beside a published record: what is compared, what is refused, and the numbers, by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rlnet_bench.analysis import judge
from rlnet_bench.analysis.against import SUITE, Against, against
from rlnet_bench.analysis.comparing import compare
from rlnet_bench.analysis.results import Results
from rlnet_bench.errors import BadInput, StoreError, UnknownName
from rlnet_bench.reports.table_against import against_tables
from rlnet_bench.reports.tables import as_text
from rlnet_bench.runs.named import find_publication
from rlnet_bench.stats import adjust_pvalues

SPREAD, REFERENCE = "mpe/simple_spread-discrete-v1", "mpe/simple_reference-discrete-v1"
SPEAKER = "mpe/simple_speaker_listener-discrete-v1"
RECORD = {"ippo": 0.5, "mappo": 0.6, "qmix": 0.1}


def sides(make: SimpleNamespace, skill: float = 0.9, **special: Any) -> tuple[Results, Results]:
    """Five runs of "new" beside a record, whose other tasks differ."""
    mine = make.build({"new": skill}, (SPREAD, REFERENCE), controls={}, special=special.get("special"))
    return mine, make.build(RECORD, (SPREAD, REFERENCE, SPEAKER))


def changed(results: Results, task: str, /, **config: Any) -> Results:
    """The results with another configuration on a task."""
    new = (replace(r, config={**r.config, **config}) if r.task == task else r for r in results.records)
    return replace(results, records=tuple(new))


def test_every_method_of_the_record_on_every_task_that_both_have(make: SimpleNamespace) -> None:
    mine, published = sides(make)
    found = against(mine, published)
    assert found.tasks == (SPREAD, REFERENCE, SUITE) and set(found.on(SPREAD)) == set(RECORD)  # controls are not tested
    ours = mine.scores()[0].runs[SPREAD].scores
    for method, c in found.on(SPREAD).items():
        theirs = next(s for s in published.scores() if s.method == method).runs[SPREAD].scores
        assert c.difference.value == pytest.approx(ours.mean() - theirs.mean())
        assert c.chance.value == pytest.approx(np.mean(ours[:, None] > theirs))
    for task in found.tasks:
        p = [c.test.p_value for c in found.on(task).values() if c.test]
        assert [found.adjusted[task, m] for m in found.on(task)] == pytest.approx(adjust_pvalues(p).tolist())
    assert any(f"There is no run of yours on {SPEAKER}." in note for note in found.notes)


def test_the_numbers_are_those_of_one_table_with_both(make: SimpleNamespace) -> None:
    """What ``compare`` says where all the runs are in one source."""
    mine, published = sides(make)
    published = replace(published, tasks=(SPREAD, REFERENCE))
    methods, records = (*mine.methods, *published.methods), (*mine.records, *published.records)
    one = judge(replace(published, methods=methods, records=records))
    found = against(mine, published)
    pair = compare(one, "new", "mappo")
    assert pair.suite and found.pairs[SUITE, "mappo"].difference == pair.suite.difference
    assert found.pairs[SPREAD, "mappo"].difference == pair.by_task[SPREAD].difference
    assert found.estimates.board().cell("new", SPREAD).estimate == one.board().cell("new", SPREAD).estimate  # type: ignore[union-attr]


def test_one_row_and_every_pair(make: SimpleNamespace) -> None:
    row, pairs = against_tables(against(*sides(make)))
    text = as_text(row, "latex")
    [line] = [x for x in text.splitlines() if x.startswith("new & D0")]
    assert line.count("&") == 4 and r"\textbf{" in line and r"$\pm$" in text
    assert "Marks are those of a table with the methods of" in text
    header, *lines = as_text(pairs, "csv").splitlines()
    rows = [dict(zip(header.split(","), x.split(","))) for x in lines if "simple_spread" in x]
    assert [r["method"] for r in rows] == ["new", *RECORD, "random", "nearest"]
    assert {r["verdict"] for r in rows if r["method"] in RECORD} == {"better"} and rows[0]["difference"] == ""
    text = as_text(pairs, "markdown")
    assert "Holm: adjusted for the methods that are tested on the task" in text and "Controls are not tested" in text


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda r: changed(r, SPREAD, frames=300_000), "budgets differ (yours 300,000 frames, theirs 100,000)"),
        (lambda r: changed(r, SPREAD, task_hash="decade" * 10), "another version of the task"),
        (
            lambda r: replace(r, cards={**r.cards, SPREAD: replace(r.card(SPREAD), reward_scale="mean over agents")}),
            "different scales, yours mean over agents, theirs sum over agents",
        ),
        (lambda r: changed(r, SPREAD, task="warehouse"), ", mpe/simple_speaker_listener-discrete-v1: warehouse;"),
    ],
)
def test_what_may_not_be_compared_is_refused_in_a_sentence(
    make: SimpleNamespace, spoil: Callable[[Results], Results], sentence: str
) -> None:
    mine, published = sides(make)
    mine, published = (replace(x, cards={t: x.card(t) for t in x.tasks}) for x in (mine, published))
    mine = spoil(mine)
    mine = replace(mine, tasks=tuple(dict.fromkeys(r.task for r in mine.records)),
                   cards={**mine.cards, "warehouse": replace(mine.cards[SPREAD], id="warehouse")})  # fmt: skip
    found = against(mine, published)
    assert found.tasks == (REFERENCE,) and any(sentence in note for note in found.notes)
    alone = replace(mine, records=tuple(r for r in mine.records if r.task != REFERENCE))
    with pytest.raises(BadInput, match="have nothing that may be compared") as refused:
        against(alone, published)
    assert sentence in str(refused.value)


def test_where_one_method_of_the_record_had_another_budget_it_alone_is_not_tested(make: SimpleNamespace) -> None:
    mine, published = sides(make)
    longer = (
        replace(r, config={**r.config, "frames": 900_000}) if r.method == "qmix" else r for r in published.records
    )
    found = against(mine, replace(published, records=tuple(longer)))
    assert found.verdict(SPREAD, "qmix") == "not tested" and (SPREAD, "qmix") not in found.adjusted
    assert found.verdict(SPREAD, "ippo") == "better" and "not tested: qmix" in found.sentences[0]
    assert "not tested: budgets differ" in as_text(against_tables(found)[1], "markdown")


def said(found: Against) -> str:
    return " ".join(found.notes)


def test_differences_in_the_making_are_said(make: SimpleNamespace) -> None:
    mine, published = sides(make)
    rules = {"episodes": 32, "absolute_episodes": 320, "every": 10_000}
    for task in published.tasks:
        published = changed(published, task, evaluation=rules, training_reward="team_mean")
        mine = changed(
            mine, task, evaluation={**rules, "absolute_episodes": 8, "every": 500}, training_reward="individual"
        )
    found = against(replace(mine, primary="sampled"), published)
    assert found.estimates.mode == "deterministic" and "The primary actions of new are sampled" in said(found)
    assert "was trained on the reward individual" in said(found)
    assert "every 500 frames on 32 episodes" in said(found) and "Training seeds 0, 1, 2, 3 and 4 are on both" in said(
        found
    )
    text = as_text(against_tables(found)[0], "markdown")
    assert (
        "new: best checkpoint of each run, re-scored on fresh episodes (8 episodes)" in text
        and "(320 episodes)" in text
    )
    alike = mine
    for task in published.tasks:
        alike = changed(alike, task, evaluation=rules, training_reward="team_mean")
    assert "was trained on" not in said(against(alike, published)) and "every 500" not in said(
        against(alike, published)
    )


def test_one_s_own_published_runs_are_no_rival(make: SimpleNamespace) -> None:
    _, published = sides(make)
    found = against(published, published, "ippo")
    assert found.mine == "ippo (mine)" and set(found.on(SPREAD)) == {"mappo", "qmix"}
    assert f"ippo of {found.record} is left out on {SPREAD}: yours are those very runs." in said(found)


def test_which_method_is_meant(make: SimpleNamespace) -> None:
    mine, published = sides(make)
    with pytest.raises(BadInput, match="expected one trained method with runs, found ippo, mappo, qmix: name one"):
        against(published, mine)
    with pytest.raises(UnknownName, match="nww"):
        against(mine, published, "nww")
    with pytest.raises(BadInput, match="scores with sampled actions"):
        only = tuple(replace(r, evals=tuple(e for e in r.evals if e.mode != "sampled")) for r in mine.records)
        against(replace(mine, records=only), published, mode="sampled")


def test_final_scores_are_compared_where_one_side_has_no_others(make: SimpleNamespace) -> None:
    mine, published = sides(make)
    only = tuple(replace(r, evals=tuple(e for e in r.evals if e.kind != "absolute")) for r in mine.records)
    assert against(replace(mine, records=only), published).estimates.kind == "final"


def test_few_runs_and_many_methods_find_nothing_and_it_is_said(make: SimpleNamespace) -> None:
    mine, _ = sides(make)
    many = make.build({f"m{i}": 0.1 for i in range(7)}, (SPREAD,))
    found = against(mine, many)
    assert (
        "No difference could have been found: the smallest adjusted p that these runs allow is 0.056"
        in found.sentences[0]
    )


def test_the_newest_version_of_a_record_by_the_name_of_its_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("base-v2", "base-v10", "base-off-v1", "old"):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "suite.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert find_publication("base").name == "base-v10" and find_publication("base-v2").name == "base-v2"
    assert find_publication("old").name == "old"
    with pytest.raises(UnknownName, match=r"Did you mean 'base-off-v1'.*Published: "):
        find_publication("base-of")


def test_an_installed_package_says_where_results_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rlnet_bench.__file__", str(tmp_path / "site-packages" / "rlnet_bench" / "__init__.py"))
    with pytest.raises(StoreError, match="in the project's repository and not in an installed package"):
        find_publication("baselines-on-policy")


def csv(path: Path, methods: dict[str, float], seeds: range) -> Path:
    rng = np.random.default_rng(1)
    lines = ["method,task,seed,frames,episode,return,scale"]
    for method, level in methods.items():
        for seed in seeds:
            lines += [f"{method},x-v1,{seed},1000,{e},{level + 0.1 * rng.standard_normal()},sum" for e in range(3)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from rlnet_bench.cli.main import app

    def call(*words: object) -> str:
        app([*map(str, ("compare", *words))], standalone_mode=False)
        return capsys.readouterr().out

    mine = csv(tmp_path / "mine.csv", {"new": 3.0}, range(6))
    record = csv(tmp_path / "record.csv", {"a": 1.0, "b": 3.0}, range(10, 16))
    text = call(mine, "--against", record)
    assert text.startswith("x-v1: new is better than a, not distinguishable from b.") and "The row of new" in text
    assert "p Holm" in " ".join(text.split()) or "Holm, per task" in text
    found = json.loads(call(mine, "new", "--against", record, "--json"))
    assert [(r["method"], r["verdict"]) for r in found["comparisons"][1:]] == [
        ("a", "better"), ("b", "not distinguishable"),
    ]  # fmt: skip
    assert call(mine, "--against", record, "--format", "csv").startswith("record,mine,method,")
    assert call(mine, "--against", record, "--format", "latex").count(r"\begin{table}") == 2
    for words in (("a",), ("a", "b", record, "--format", "latex"), (mine, "new", record, "--against", record)):
        with pytest.raises(BadInput, match="compare"):
            call(*words)


def test_lost_runs_of_one_s_own_are_said(make: SimpleNamespace) -> None:
    found = against(*sides(make, special={("new", SPREAD): {"failed": (4,)}}))
    assert f"new on {SPREAD}: 4 ok (1 failed)." in said(found)
