"""Tuning: proposals are a function of what was tried, trials are ordinary runs, and every table says how many."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlnet_bench.analysis import tuning as rules
from rlnet_bench.analysis.loading import load_results
from rlnet_bench.errors import BadInput, ImpossibleCell, MissingExtra, StoreError, UnknownName
from rlnet_bench.learning.spaces import SPACES, Space, space_of
from rlnet_bench.methods import find_method, method_ids
from rlnet_bench.reports.tables import render_table
from rlnet_bench.runs.plan import Group, Plan, make_plan, plan_from_json
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Suite, load_suite
from rlnet_bench.runs.tuned import TUNING_SEEDS, TuningRecord, hand_trials, read_record, write_record
from rlnet_bench.runs.worker import work

SPREAD, SPEAKER = "mpe/simple_spread-discrete-v1", "mpe/simple_speaker_listener-discrete-v1"
LBF, BALANCE = "lbf/8x8-2p-2f-coop-v1", "vmas/balance-continuous-v1"
TINY = "{num_envs: 4, rollout_steps: 10, hidden: [8], critic_hidden: [8], epochs: 1, minibatches: 1}"
SUITE = f"""\
name: mine
tasks: {{development: [{SPREAD}, {SPEAKER}, {LBF}], test: [lbf/10x10-3p-3f-v1]}}
methods:
  - random
  - {{id: ippo, set: {TINY}}}
seeds: 2
budget: {{frames: 80}}
evaluation: {{every: 40, episodes: 2, absolute_episodes: 2}}
"""
PLANNER = partial(make_plan, tuning=True)


def suite(tmp_path: Path, text: str = SUITE) -> Suite:
    (tmp_path / "mine.yaml").write_text(text)
    return load_suite(tmp_path / "mine.yaml")


def drive(store: Store, planned: Plan) -> None:
    assert work(store, planned.groups, should_stop=lambda: False) == []


def ran(folder: Path, trials: int, **options: Any) -> TuningRecord:
    found = rules.find_tuning(suite(folder), "ippo", tasks=[SPREAD], **options)
    return rules.tune(Store.create(folder / "store"), found, trials, PLANNER, drive)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> TuningRecord:
    """Three trials on two families."""
    folder = tmp_path_factory.mktemp("tuned")
    found = rules.find_tuning(suite(folder), "ippo")
    return rules.tune(Store.create(folder / "store"), found, 3, PLANNER, drive)


# -- the space, and what is proposed -------------------------------------------------------------------------------


def test_every_trained_method_has_the_space_of_its_family() -> None:
    for name in method_ids():
        method = find_method(name)
        space = space_of(method.Config)
        assert (space is not None) == method.capabilities.trains, name
        if space is not None:
            for setting, values in space.choices.items():
                for value in values:
                    assert getattr(method.configure({setting: value}), setting) == value
    assert space_of(find_method("ippo").Config) is space_of(find_method("mat").Config)
    assert set(hand_trials()) <= {s.family for s in SPACES}


def test_proposals_are_a_function_of_the_history_and_never_repeat() -> None:
    space = Space("toy", SPACES[0].config, {"gamma": (0.9, 0.95), "learning_rate": (1e-3, 2e-3, 4e-3)})
    history: list[tuple[dict[str, Any], float]] = []
    for i in range(space.size):
        found = rules.propose(space, history)
        assert found == rules.propose(space, list(history)) and found not in [x for x, _ in history]
        history.append((found, -abs(i - 2.0)))
    assert space.size == 6
    with pytest.raises(BadInput, match=r"all 6 settings of toy: 6 settings = .* were tried"):
        rules.propose(space, history)
    outside = ({"gamma": 0.5, "learning_rate": 1.0}, 9.0)  # a suite's own settings need not be in the space
    assert rules.propose(space, [outside])["gamma"] in (0.9, 0.95)


def test_the_sampler_learns_from_scores() -> None:
    space = Space("toy", SPACES[0].config, {"a": tuple(range(12)), "b": tuple(range(12))})

    def search(score: Any, count: int) -> list[dict[str, Any]]:
        history: list[tuple[dict[str, Any], float]] = []
        for _ in range(count):
            x = rules.propose(space, history)
            history.append((x, score(x)))
        return [x for x, _ in history]

    for wanted in (2, 9):
        found = search(lambda x, wanted=wanted: -abs(x["a"] - wanted), 30)
        assert found[: rules.RANDOM_TRIALS] == search(lambda x: 0.0, rules.RANDOM_TRIALS)
        assert sum(x["a"] == wanted for x in found) >= 6, "blind search has 2.5"


# -- trials are runs -------------------------------------------------------------------------------------------------


def test_the_first_trial_is_the_suite_s_own_and_all_have_equal_conditions(record: TuningRecord) -> None:
    assert set(record.families) == {"mpe", "lbf"} and record.trials == 3  # a task per family
    assert list(record.families["mpe"].frames) == [SPREAD] and set(record.seeds) < set(TUNING_SEEDS)
    assert record.families["lbf"].mode == "sampled" and record.families["mpe"].mode == "deterministic"
    defaults = find_method("ippo").configure({})
    for family in record.families.values():
        assert family.trials[0].settings == {name: getattr(defaults, name) for name in record.space}
        assert all(len(x) == 2 for t in family.trials for x in t.scores.values())
        assert len({str(t.settings) for t in family.trials}) == 3
    assert record.size == 60 and record.hand == hand_trials()["on-policy"] and record.sampler.startswith("optuna ")


def test_scores_are_final_and_normalised_by_the_card(tmp_path: Path) -> None:
    made = ran(tmp_path, 1)
    results = load_results(tmp_path / "store")
    card = results.card(SPREAD)
    low, high = card.references["random"].value, card.references["best"].value
    [raw] = results.scores("final", "deterministic")
    expected = [(x - low) / (high - low) for x in raw.runs[SPREAD].scores]
    assert made.families["mpe"].trials[0].scores[SPREAD] == pytest.approx(expected, abs=1e-12)


def test_a_killed_tuning_goes_on_with_the_same_proposals(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = ran(tmp_path / "a", 3)
    found = rules.find_tuning(suite(tmp_path / "b"), "ippo", tasks=[SPREAD])
    store = Store.create(tmp_path / "b" / "store")
    driven: list[list[str]] = []

    class Killed(BaseException):
        pass

    def killed(store: Store, planned: Plan) -> None:
        driven.append([g.run_id for g in planned.groups])
        if len(driven) == 2:
            raise Killed  # the second trial is planned, nothing of it is done
        drive(store, planned)

    with pytest.raises(Killed):
        rules.tune(store, found, 3, PLANNER, killed)
    assert len(rules.recorded(store, found)) == 2
    claimed: list[Group] = []

    def watched(store: Store, planned: Plan) -> None:
        claimed.extend(g for g in planned.groups if store.status(g)["status"] == "missing")
        drive(store, planned)

    again = rules.tune(store, found, 3, PLANNER, watched)
    assert again == whole and again.digest == whole.digest
    assert len(claimed) == 2  # the first trial was not made again
    assert rules.tune(store, found, 2, PLANNER, drive).families["mpe"].trials == whole.families["mpe"].trials[:2]


def test_trials_of_other_conditions_are_not_mixed(tmp_path: Path) -> None:
    ran(tmp_path, 1)
    for changed in ({"frames": 40}, {"seeds": 3}):
        with pytest.raises(StoreError, match="holds another tuning of ippo for mine-v1"):
            ran(tmp_path, 2, **changed)


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("ippo", {"tasks": ["lbf/10x10-3p-3f-v1"]}, r"lbf/10x10-3p-3f-v1 is a test task of mine-v1: nothing is tuned"),
        ("ippo", {"tasks": [BALANCE]}, r"unknown task 'vmas/balance.*Those of mine-v1: mpe/simple_spread"),
        ("ippo", {"seeds": 1}, r"--seeds: expected 2 to 1000 for every trial, found 1"),
        ("random", {}, r"random: there is no search space for it; those declared are of the families on-policy, value"),
        ("ipo", {}, r"unknown method 'ipo'. Did you mean 'ippo'\? Expected a label of the suite \(random, ippo\)"),
        ("iddpg", {}, r"iddpg: no task of mine-v1 to tune on: iddpg needs continuous actions, and mpe/simple_spread"),
    ],
)
def test_refused(tmp_path: Path, method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises((BadInput, UnknownName, ImpossibleCell), match=message):
        rules.find_tuning(suite(tmp_path), method, **options)


def test_a_suite_of_test_tasks_alone_is_refused(tmp_path: Path) -> None:
    only = SUITE.replace(f"development: [{SPREAD}, {SPEAKER}, {LBF}], test: [lbf", f"test: [{SPREAD}, lbf")
    with pytest.raises(BadInput, match="expected tasks to tune on, found only test tasks"):
        rules.find_tuning(suite(tmp_path, only), "ippo")


def test_seeds_of_tuning_are_nobody_else_s(tmp_path: Path) -> None:
    taken = suite(tmp_path, SUITE.replace("seeds: 2", f"seeds: [0, {TUNING_SEEDS.start}]"))
    sentence = "1000000 is one of 1000000 to 1000999, with which `tune` chooses settings"
    with pytest.raises(BadInput, match=sentence):
        make_plan(taken)
    with pytest.raises(BadInput, match=sentence):
        rules.find_tuning(taken, "ippo")


def test_more_trials_than_settings_and_no_optuna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (0, 61):
        with pytest.raises(BadInput, match=rf"--trials: expected 1 to 60, the size of the space, found {count}"):
            rules.find_tuning(suite(tmp_path), "ippo", trials=count)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'needs the package .optuna.: install it with `pip install "rlnet-bench'):
        rules.require_optuna()


def test_what_cannot_run_on_a_task_is_not_tuned_there(tmp_path: Path) -> None:
    text = SUITE.replace(f"{LBF}], test", f"{LBF}, {BALANCE}], test")
    assert list(rules.find_tuning(suite(tmp_path, text), "maddpg").tasks) == ["vmas"]
    only = text.replace("{id: ippo, set", f"{{id: ippo, only: [{LBF}], set")
    assert list(rules.find_tuning(suite(tmp_path, only), "ippo").tasks) == ["lbf"]
    assert "mpe" in rules.find_tuning(suite(tmp_path, text), "zoo/tag-3ppo").tasks


# -- adopting --------------------------------------------------------------------------------------------------------


def adopting(folder: Path, record: TuningRecord, extra: str = "", text: str = SUITE) -> Suite:
    write_record(folder / "records" / "ippo.yaml", record)
    line = f"{{id: ippo, tuned: records/ippo.yaml, {extra}set"
    return suite(folder, text.replace("{id: ippo, set", line))


def with_chosen(record: TuningRecord, family: str, number: int) -> TuningRecord:
    """The record as if another trial had won."""
    plain = record.model_dump(mode="json", exclude={"digest", "format"})
    found = plain["families"][family]
    for i, trial in enumerate(found["trials"]):
        trial["scores"] = {t: [float(i == number)] * 2 for t in trial["scores"]}
    found["chosen"] = found["trials"][number]["settings"]
    return TuningRecord.made(**plain)


def test_an_entry_runs_with_what_was_chosen_for_the_family(tmp_path: Path, record: TuningRecord) -> None:
    record = with_chosen(with_chosen(record, "mpe", 1), "lbf", 2)
    planned = make_plan(adopting(tmp_path, record))
    for group in (g for g in planned.groups if g.label == "ippo"):
        chosen = record.families[group.config["task"].partition("/")[0]].chosen
        assert {k: group.config["settings"][k] for k in chosen} == chosen
        assert group.config["settings"]["num_envs"] == 4
    assert plan_from_json(planned.to_json()) == planned  # plans carry the record


def test_how_settings_were_found_moves_no_run_id(tmp_path: Path, record: TuningRecord) -> None:
    plain = {g.run_id for g in make_plan(suite(tmp_path)).groups}
    first = with_chosen(with_chosen(record, "mpe", 0), "lbf", 0)  # the defaults won
    assert {g.run_id for g in make_plan(adopting(tmp_path, first)).groups} == plain
    assert "tuned" not in suite(tmp_path).model_dump()["methods"][1]


def test_what_differs_from_the_record_is_noticed(tmp_path: Path, record: TuningRecord) -> None:
    record = with_chosen(record, "lbf", 0)
    for extra, message in (
        (f"per_task: {{{LBF}: {{gamma: 0.5}}}}, ", "per_task: lbf/8x8.*gamma is 0.5, and the record chose 0.9 on lbf"),
        (f"per_task: {{{SPREAD}: {{clip: 0.1}}}}, ", "on mpe/simple_spread-discrete-v1 it was tuned with .* beside"),
    ):
        with pytest.raises(BadInput, match=rf"mine\.yaml:\d+: .*{message}"):
            adopting(tmp_path, record, extra)
    same = f"per_task: {{{LBF}: {{gamma: 0.9}}}}, "
    assert adopting(tmp_path, record, same).methods[1].settings(LBF)["gamma"] == 0.9
    with pytest.raises(BadInput, match="the record is about ippo, the entry is mappo"):
        adopting(tmp_path, record, text=SUITE.replace("id: ippo", "id: ippo, label: x").replace("ippo, l", "mappo, l")
                 .replace("{id: mappo, label: x, set", "{id: mappo, tuned: records/ippo.yaml, set"))  # fmt: skip


def test_what_was_tuned_on_a_test_task_is_refused(tmp_path: Path, record: TuningRecord) -> None:
    adopting(tmp_path, record)
    text = SUITE.replace(f", {LBF}]", "]").replace("test: [", f"test: [{LBF}, ")
    with pytest.raises(BadInput, match=r"ippo: tuned: its settings were chosen on \['lbf/8x8.*nothing is tuned on"):
        adopting(tmp_path, record, text=text)


@pytest.mark.parametrize(
    ("old", "new"),
    [("gamma: 0.9", "gamma: 0.8"), ("hand: 45", "hand: 0"), ("size: 60", "size: 61"), ("- 1000001", "- 1000007")],
)
def test_a_record_that_was_edited_is_noticed(tmp_path: Path, record: TuningRecord, old: str, new: str) -> None:
    path = tmp_path / "r.yaml"
    write_record(path, record)
    assert read_record(path) == record
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(BadInput, match=r"r\.yaml: not a tuning record: .*(changed after it was written|chosen)"):
        read_record(path)


def test_a_suite_that_names_no_record(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"mine\.yaml:5: .*gone\.yaml: no such tuning record; `rlnet-bench tune METHOD"):
        suite(tmp_path, SUITE.replace("{id: ippo, set", "{id: ippo, tuned: gone.yaml, set"))


def test_a_record_without_digest_and_one_with_too_little(tmp_path: Path, record: TuningRecord) -> None:
    path = tmp_path / "r.yaml"
    plain = record.model_dump(mode="json")
    for change, message in (({"digest": None}, "digest"), ({"seeds": [1]}, "seeds"), ({"families": {}}, "families")):
        path.write_text(yaml.safe_dump({**plain, **change}))
        with pytest.raises(BadInput, match=f"not a tuning record: {message}"):
            read_record(path)


# -- tables ----------------------------------------------------------------------------------------------------------


def test_every_table_says_how_settings_were_found(tmp_path: Path, record: TuningRecord) -> None:
    text = SUITE.replace(f"[{SPREAD}, {SPEAKER}, {LBF}], test: [lbf/10x10-3p-3f-v1]", f"[{SPREAD}, {SPEAKER}]")
    text = text.replace("  - random", f"  - random\n  - {{id: mappo, set: {TINY}}}")
    made = adopting(tmp_path, record, text=text)
    store, planned = Store.create(tmp_path / "runs"), make_plan(made)
    store.add_plan(planned)
    drive(store, planned)
    results = load_results(store)
    tuned, plain = "3 trials × 2 seeds", f"about {hand_trials()['on-policy']} by hand"
    assert "Not tuned alike: mappo untuned; ippo 3 trials × 2 seeds." in render_table(results, "markdown", "tasks")
    for which in ("tasks", "aggregate", "ranks"):
        for format, start, sign in (("markdown", "| {} | ", "×"), ("latex", "{} & ", r"$\times$")):
            rows = render_table(results, format, which).splitlines()  # type: ignore[arg-type]
            by_name = {
                name: [r for r in rows if r.startswith(start.format(name))] for name in ("ippo", "mappo", "random")
            }
            assert by_name["ippo"] and all(tuned.replace("×", sign) in r for r in by_name["ippo"]), (which, format)
            assert all("untuned" in r and plain in r for r in by_name["mappo"]), (which, format)
            assert not any("untuned" in r for r in by_name["random"])


def test_what_was_not_tuned_is_said(record: TuningRecord) -> None:
    assert record.describe([SPREAD, LBF]) == "3 trials × 2 seeds"
    assert record.describe([SPREAD, BALANCE]) == "3 trials × 2 seeds, not on vmas"
