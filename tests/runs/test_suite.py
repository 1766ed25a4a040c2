"""Suites: every bad input is a sentence with file, line, key and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlnet_bench.errors import BadInput, RlnetError, UnknownName
from rlnet_bench.reading.yaml import load
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.suite import Suite, load_suite, parse_suite, suite_names

GOOD = """\
name: mine
tasks: [mpe/simple_spread-discrete-v1]
methods:
  - random
  - id: ippo
    set:
      gamma: 0.9
seeds: 3
budget: {frames: 100_000}
evaluation:
  episodes: 8
"""


def parse(text: str, *overrides: str) -> Suite:
    return parse_suite(load(text, "mine.yaml"), list(overrides))


def test_a_good_suite() -> None:
    suite = parse_suite(load(GOOD, "mine.yaml"))
    assert suite.seeds == [0, 1, 2] and suite.budget.of(suite.tasks[0]) == 100_000
    assert [m.name for m in suite.methods] == ["random", "ippo"] and suite.methods[1].set == {"gamma": 0.9}
    assert suite.evaluation.episodes == 8 and suite.evaluation.absolute_episodes == 320
    assert suite.training_reward == "team_mean" and suite.version == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: 3", "seds: 3", r"mine\.yaml:8: unknown key 'seds'\. Did you mean 'seeds'\?"),
        ("seeds: 3", "seds: 3", r"mine\.yaml:1: key 'seeds' is required and missing\."),
        (
            "budget: {frames: 100_000}",
            "budget: {frame: 1}",
            r"mine\.yaml:9: .*'budget\.frame'\. Did you mean 'frames'\?",
        ),
        ("  episodes: 8", "  episode: 8", r"mine\.yaml:11: .*'evaluation\.episode'\. Did you mean 'episodes'\?"),
        ("    set:", "    sett:", r"mine\.yaml:6: unknown key 'methods\.1\.sett'\. Did you mean 'set'\?"),
        ("gamma: 0.9", "gama: 0.9", r"mine\.yaml:7: ippo: unknown key 'gama'\. Did you mean 'gamma'\?"),
        ("gamma: 0.9", "gamma: 9", r"mine\.yaml:7: ippo: gamma: input should be less than or equal to 1, found 9"),
        ("seeds: 3", "seeds: 0", r"mine\.yaml:8: seeds: list should have at least 1 item"),
        ("seeds: 3", "seeds: many", r"mine\.yaml:8: seeds: .*valid list.*found 'many'"),
        ("seeds: 3", "seeds: [1, 1]", r"mine\.yaml:1: .*seeds: expected distinct entries, found \[1, 1\]"),
        ("seeds: 3", "seeds: [-1]", r"mine\.yaml:8: seeds\.0: .*greater than or equal to 0, found -1"),
        ("seeds: 3", "seeds: true", r"mine\.yaml:8: seeds: .*found True"),
        ("frames: 100_000", "frames: -5", r"mine\.yaml:9: .*greater than 0, found -5"),
        ("frames: 100_000", "frames: 1e5", r"mine\.yaml:9: .*valid integer, found '1e5'"),
        ("{frames: 100_000}", "{frames: {x: 5}}", r"budget\.frames: expected one number per task of `tasks`"),
        ("episodes: 8", "episodes: 1", r"mine\.yaml:11: .*greater than or equal to 2, found 1"),
        ("  - random", "  - ippo", r"two entries share a label in \['ippo', 'ippo'\]; give each its own `label`"),
        ("  - random", "  - {id: random, label: ..}", r"mine\.yaml:4: .*label: results are stored in a folder of"),
        ("  - random", "  - {id: random, label: suite.json}", r"none of .*suite\.json.*found 'suite\.json'"),
        ("  - random", '  - {id: random, label: "a\\e]0;b"}', r"printable characters.*found 'a\\x1b\]0;b'"),
        ("  - random", "  - {id: random, label: a/b}\n  - {id: ippo, label: a__b}", r"would share a folder of results"),
        ("  - random", "  - {label: x}", r"mine\.yaml:4: .*expected either `id` \(a method\) or `network`"),
        ("name: mine", "name: My Suite", r"mine\.yaml:1: name: expected a name of lower-case .*, found 'My Suite'"),
        ("name: mine", "name: mine\n1: 2", r"mine\.yaml:2: .*"),
        (
            "name: mine",
            "name: mine\ntraining_reward: sum",
            r"mine\.yaml:2: training_reward: .*'team_mean' or 'individual'",
        ),
        ("name: mine", "name: mine\nname: mine", r"mine\.yaml:2: key 'name' appears twice"),
    ],
)
def test_bad_suites(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(BadInput, match=message):
        parse(GOOD.replace(old, new, 1))


def test_a_document_that_is_no_mapping() -> None:
    for text in ("", "- a\n- b\n", "just words\n"):
        with pytest.raises(BadInput, match=r"mine\.yaml:1: expected a mapping with keys such as `name` and `tasks`"):
            parse(text)


def test_every_problem_is_named_at_once() -> None:
    text = GOOD.replace("seeds: 3", "seeds: many").replace("gamma: 0.9", "gamma: 0.9\n    color: red")
    with pytest.raises(BadInput) as caught:
        parse(text)
    assert "seeds" in str(caught.value) and "color" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget.frams=3", r"^--set budget\.frams: unknown key 'budget\.frams'\. Did you mean 'frames'\?"),
        ("seeds=x", r"^--set seeds: seeds: "),
        ("name", r"--set 'name': expected key\.path=value, for instance budget\.frames=100000\."),
        ("=3", r"--set '=3': expected key\.path=value"),
        ("name.x=3", r"--set 'name\.x=3': 'name' is not a mapping\."),
        ("seeds=[1, 2", r"--set seeds:1: not valid YAML"),
    ],
)
def test_bad_overrides_name_themselves(override: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse(GOOD, override)


def test_overrides_change_values_of_any_depth() -> None:
    suite = parse_suite(load(GOOD, "s"), ["budget.frames=5_000", "evaluation.every=100", "seeds=[4, 7]", "name=other"])
    assert (suite.budget.frames, suite.evaluation.every, suite.seeds, suite.name) == (5000, 100, [4, 7], "other")
    assert suite.evaluation.episodes == 8


def test_names_and_files(tmp_path: Path) -> None:
    assert "quick" in suite_names()
    with pytest.raises(UnknownName, match=r"unknown suite 'quik'\. Did you mean 'quick'\? `rlnet-bench list suites`"):
        load_suite("quik")
    with pytest.raises(BadInput, match=r"nowhere\.yaml: expected a regular file, found nothing there"):
        load_suite(tmp_path / "nowhere.yaml")
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert load_suite(tmp_path / "mine.yaml").name == "mine"


@pytest.mark.parametrize("name", suite_names())
def test_every_published_suite_can_be_planned(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    try:
        planned = make_plan(suite)
    except RlnetError as error:  # the package of a family is not installed
        assert "pip install" in str(error)
        return
    assert {g.label for g in planned.groups} <= {m.name for m in suite.methods}
    seeds = {(g.label, g.config["task"]): [] for g in planned.groups}  # type: ignore[var-annotated]
    for g in planned.groups:
        seeds[g.label, g.config["task"]] += g.config["seeds"]
    assert all(found == suite.seeds for found in seeds.values())


def test_the_small_suite_shares_every_run_of_the_on_policy_baselines() -> None:
    shared, small = (make_plan(load_suite(name)) for name in ("baselines-on-policy", "core-small"))
    assert {g.run_id for g in shared.groups} < {g.run_id for g in small.groups}
    assert {t.partition("/")[0] for t in small.suite.tasks} == {"mpe", "lbf", "vmas"}
    assert "small-budget suite" in small.suite.description


def test_the_full_suite_keeps_its_test_tasks_for_the_end() -> None:
    small, full = load_suite("core-small"), load_suite("core")
    assert (len(full.tasks), len(full.seeds)) == (10, 10)
    assert set(full.development) == set(small.development)
    unseen = set(full.test) - set(small.test)
    assert unseen == {
        "mpe/simple_spread-n5-discrete-v1", "lbf/2s-10x10-3p-3f-v1", "lbf/15x15-4p-5f-v1",
        "vmas/dispersion-continuous-v1", "vmas/reverse_transport-continuous-v1",
    }  # fmt: skip
    assert not unseen & set(small.tasks)


def test_settings_of_one_task_lie_on_top_of_the_method_s(tmp_path: Path) -> None:
    text = (
        "name: x\ntasks: [mpe/simple_spread-discrete-v1, lbf/8x8-2p-2f-coop-v1]\nseeds: 2\nbudget: {frames: 20000}\n"
        "methods:\n  - id: ippo\n    set: {hidden: [8], gamma: 0.5}\n"
        "    per_task:\n      lbf/8x8-2p-2f-coop-v1: {hidden: [16]}\n"
    )
    path = tmp_path / "x.yaml"
    path.write_text(text)
    found = {g.config["task"]: g.config["settings"] for g in make_plan(load_suite(path)).groups}
    assert found["mpe/simple_spread-discrete-v1"]["hidden"] == [8]
    assert found["lbf/8x8-2p-2f-coop-v1"]["hidden"] == [16]
    assert {s["gamma"] for s in found.values()} == {0.5}
    path.write_text(text.replace("hidden: [16]", "hiden: [16]"))
    with pytest.raises(BadInput, match=r"x.yaml:9: .*unknown key 'hiden'.*'hidden'"):
        load_suite(path)
    path.write_text(text.replace("lbf/8x8-2p-2f-coop-v1: {", "lbf/8x8-2p-3f-coop-v1: {"))
    with pytest.raises(BadInput, match=r"per_task names .*8x8-2p-3f.*not among `tasks`"):
        load_suite(path)


ONE, TWO = "mpe/simple_spread-discrete-v1", "lbf/8x8-2p-2f-coop-v1"


def test_chosen_methods_keep_what_the_suite_says_of_them() -> None:
    entry = f"{{id: ippo, label: mine, set: {{gamma: 0.5}}, per_task: {{{ONE}: {{clip: 0.1}}, {TWO}: {{clip: 0.3}}}}}}"
    text = f"name: x\ntasks: [{ONE}, {TWO}]\nmethods: [random, {entry}]\nseeds: 1\nbudget: {{frames: 9999}}\n"
    found = parse(text, "methods=[mine, ippo, mappo]", f"tasks=[{TWO}]")
    assert [(m.name, m.settings(TWO)) for m in found.methods] == [
        ("mine", {"gamma": 0.5, "clip": 0.3}), ("ippo", {}), ("mappo", {})
    ]  # fmt: skip


def test_tasks_may_be_split_into_development_and_test() -> None:
    split = parse(GOOD.replace(f"tasks: [{ONE}]", f"tasks: {{development: [{ONE}], test: [{TWO}]}}"))
    assert (split.tasks, split.test, split.development) == ([ONE, TWO], [TWO], [ONE])
    assert Suite.model_validate(split.model_dump()) == split


@pytest.mark.parametrize(
    ("tasks", "sentence"),
    [
        (f"{{developmet: [{ONE}]}}", r"expected a list, or lists `development` and `test`, found \['developmet'\]\."),
        (f"{{development: {ONE}, test: []}}", "expected a list, or lists `development` and `test`"),
        (f"{{development: [{ONE}], test: [{ONE}]}}", "tasks: expected distinct entries"),
        ("{development: [], test: []}", "at least 1 item"),
    ],
)
def test_splits_that_are_none(tasks: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        parse(GOOD.replace(f"[{ONE}]", tasks))
