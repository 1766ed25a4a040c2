"""Policies scored at other team sizes: the table, the transfer, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest

import rlnet_bench as rb
from rlnet_bench.analysis.team_sizes import at_sizes, read_team_sizes, team_sizes
from rlnet_bench.cli.main import main as entry
from rlnet_bench.envs.card import Reference
from rlnet_bench.errors import BadInput, Malformed
from rlnet_bench.leaderboard.extras import team_sizes_section
from rlnet_bench.runs.check import check_method
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Suite
from rlnet_bench.runs.worker import work

THREE, FOUR = "mpe/simple_spread-discrete-v1", "mpe/simple_spread-n4-discrete-v1"
TINY = {"num_envs": 4, "rollout_steps": 10, "hidden": [8], "critic_hidden": [8], "epochs": 1, "minibatches": 1}
SUITE = {
    "name": "sizes", "tasks": [THREE, FOUR], "seeds": 5, "budget": {"frames": 80},
    "methods": [
        {"id": "ippo", "label": "free", "set": {**TINY, "encoder": "entities"}},
        {"id": "mappo", "label": "mappo", "set": {**TINY, "encoder": "entities"}, "only": [THREE]},
        {"id": "ippo", "label": "plain", "set": TINY},
        {"id": "qmix", "label": "qmix", "only": [THREE],
         "set": {"num_envs": 4, "hidden": [8], "buffer_size": 64, "learning_starts": 48, "batch_size": 8}},
    ],
    "evaluation": {"every": 80, "episodes": 2, "absolute_episodes": 3},
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, str], Path]]:
    """(a store, run directories by label and task)."""
    root = tmp_path_factory.mktemp("sizes") / "store"
    store, plan = Store.create(root), make_plan(Suite.model_validate(SUITE))
    store.add_plan(plan)
    assert not work(store, plan.groups)
    return root, {(g.label, g.config["task"]): store.folder(g) for g in plan.groups}


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["rlnet-bench", *map(str, arguments)])
        code = 0
        try:
            entry()
        except SystemExit as left:
            code = int(left.code or 0)
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        return code, found.out + found.err

    return run


@pytest.mark.parametrize(
    ("text", "sizes"), [("4,6", (4, 6)), ("+1,+2,2x", (4, 5, 6)), ("2x,6", (6,)), (" 7 , +1", (4, 7))]
)
def test_sizes_may_be_said_in_three_ways(text, sizes):
    assert team_sizes(text, 3) == sizes


@pytest.mark.parametrize("text", ["", "0", "-1", "+x", "+2x", "1.5", "4,,5", "four", "1000"])
def test_other_words_are_refused(text):
    with pytest.raises(BadInput, match="--agents: expected numbers such as 5"):
        team_sizes(text, 3)


def test_the_same_weights_at_another_size(runs, say):
    store, folders = runs
    code, text = say("evaluate", folders["free", THREE], "--agents", "+1,2x", "--episodes", 4, "--json")
    assert code == 0
    four, six = json.loads(text)
    assert (four["agents"], four["task"], six["agents"]) == (4, FOUR, 6)
    policy = rb.load_policy(folders["free", THREE], agents=4)
    assert policy.plays is not None and policy.plays.id == FOUR
    played = rb.evaluate(policy, seeds=policy.trained.seeds, episodes=4, stream=rb.rng.Stream.ABSOLUTE_ENV)
    assert [x["return"] for x in four["scores"]] == pytest.approx(played.team.mean(axis=1).tolist())
    assert four["zero_shot"]["value"] == pytest.approx(played.team.mean()) and four["zero_shot"]["low"] is not None
    assert four["random"] == rb.task_card(FOUR).references["random"].value
    assert six["random"] < four["random"] - 80 and six["random_se"] > 0  # played: no card has it
    assert four["trained"] is None and four["transfer"] is None


def test_transfer_compares_with_runs_of_that_size(runs):
    """On a scale on which random play is far below, so that there is something to divide by; and far above."""
    store, folders = runs
    results = rb.load_results(store)
    random = -1e4

    def load(size):
        policy = rb.load_policy(folders["free", THREE], agents=size)
        policy.plays = replace(policy.plays, references={"random": Reference(random, 1.0, 1000, "far away", "test")})
        return policy

    def at_four(**more):
        return at_sizes(load, "4", episodes=4, mode="deterministic", trained=results, **more).sizes[0]

    found = at_four()
    there = next(s for s in results.scores("absolute") if s.method == "free").runs[FOUR].scores
    moved = sum(x for _, x in found.scores) / 5
    assert found.trained.value == pytest.approx(there.mean())
    assert found.transfer.value == pytest.approx((moved + 1e4) / (there.mean() + 1e4))
    assert found.transfer.low < found.transfer.value < found.transfer.high and found.reasons == ()
    other = at_four(against="plain")
    assert other.trained.value != found.trained.value and other.scores == found.scores
    random = 1e4
    none = at_four()
    assert isnan(none.transfer.value) and "cannot be divided by" in none.reasons[0]


def test_a_record_keeps_what_was_measured_and_the_board_shows_it(runs, say, tmp_path):
    store, folders = runs
    code, text = say("evaluate", folders["free", THREE], "--agents", "4,5", "--episodes", 2, "--trained", store,
                     "--record", tmp_path)  # fmt: skip
    (file,) = tmp_path.iterdir()
    assert code == 0 and f"written: {file}" in text
    found = read_team_sizes(file)
    assert (found.method, found.task, found.agents, found.episodes) == ("free", THREE, 3, 2)
    four, five = found.sizes
    assert [s for s, _ in four.scores] == [0, 1, 2, 3, 4] and len(four.there) == 5 and four.against == "free"
    assert five.there == () and five.reasons == ("sizes has no runs on mpe/simple_spread-n5-discrete-v1",)
    assert found.write(tmp_path / "again").read_bytes() == file.read_bytes()
    shown = team_sizes_section(found)
    assert shown["title"] == f"free, trained on {THREE} with 3 agents"
    rows = [[cell.text for cell in row] for row in shown["table"].groups[0].rows]
    assert [row[:2] for row in rows] == [["4", FOUR], ["5", five.task]] and rows[0][5] == "free" and rows[1][4] == "–"
    for harm in ('"format": 9', '"agents": -1', '"mode": "both"'):
        key = harm.partition(":")[0]
        broken = re.sub(f"{key}: [^,]+", harm, file.read_text(), count=1)
        file.write_text(broken)
        with pytest.raises(Malformed, match=key.strip('"')):
            read_team_sizes(file)
        found.write(tmp_path)


def test_the_table_says_why_there_is_no_transfer(runs, say):
    store, folders = runs
    code, text = say("evaluate", folders["free", THREE], "--agents", "4,5", "--episodes", 2, "--trained", store)
    assert code == 0 and "trained there" in text
    assert "5 agents: sizes has no runs on mpe/simple_spread-n5-discrete-v1" in text


def test_a_central_critic_is_not_needed(runs, say):
    code, text = say("evaluate", runs[1]["mappo", THREE], "--agents", "5", "--episodes", 2)
    assert code == 0 and "mpe/simple_spread-n5-discrete-v1" in text


def test_what_is_tied_is_refused_with_what_would_free_it(runs, say):
    store, folders = runs
    code, text = say("evaluate", folders["plain", THREE], "--agents", "4", "--episodes", 2)
    assert code == 2 and "ippo on mpe/simple_spread-discrete-v1 is tied to its 3 agents" in text
    assert "`encoder: entities`" in text and "`share_parameters: true`" in text
    code, text = say("evaluate", folders["qmix", THREE], "--agents", "4", "--episodes", 2)
    assert code == 2 and "qmix on mpe/simple_spread-discrete-v1 is tied to its 3 agents" in text
    assert "`encoder: entities`" in text
    for arguments, sentence in {
        ("--trained", store): "say which with --agents", ("--agents", "4", "--gif", "x.gif"): "not filmed",
        ("--agents", "4", "--trained", store, "--against", "vdn"): "--against takes one of free, mappo, plain, qmix",
        ("--agents", "70"): "takes 2 to 64 agents",
    }.items():  # fmt: skip
        code, text = say("evaluate", folders["free", THREE], "--episodes", 2, *arguments)
        assert code == 2 and sentence in text, text


def test_whoever_needs_no_weights_plays_at_any_size(say):
    code, text = say("evaluate", "random@vmas/balance-discrete-v1", "--agents", "70", "--episodes", 2)
    assert code == 2 and "expected 2 to 16 agents" in text
    code, text = say("evaluate", f"random@{THREE}", "--agents", "4", "--episodes", 2, "--json")
    assert code == 0 and json.loads(text)[0]["zero_shot"]["low"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "task", "settings"),
    [
        ("ippo", "lbf/2s-8x8-2p-2f-coop-v1", {}),
        ("mappo", "mpe/simple_spread-continuous-v1", {"memory": "gru"}),
        ("commnet", "mpe/simple_spread-discrete-v1", {}),
        ("happo", "mpe/simple_spread-discrete-v1", {}),
        ("maa2c", "lbf/10x10-3p-3f-v1", {}),
        ("zoo/tag-2ppo", "mpe/simple_spread-discrete-v1", {}),
    ],
)
def test_learners_with_entities_keep_every_promise(method, task, settings):
    """Replicas, resume after kill -9, policies rebuilt from records: as for every method."""
    check_method(method, task, settings={"encoder": "entities", **settings}, seeds=(0, 1), faults=1).raise_if_failed()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"observe": "all"}, "expected observe: own, found all"),
        ({"normalise_observation": "layer"}, "expected normalise_observation: none, found layer"),
        ({"encoder": "set"}, "plain"),
    ],
)
def test_settings_that_blur_entities_are_refused(settings, sentence):
    with pytest.raises(BadInput, match=sentence):
        rb.methods.find_method("ippo").configure({"encoder": "entities", **settings})


def test_tasks_without_a_declaration_are_refused():
    method = rb.methods.find_method("ippo")
    reason = method.impossible(
        rb.task_card("mpe/simple_reference-discrete-v1"), method.configure({"encoder": "entities"})
    )
    assert "does not declare it" in reason


@pytest.mark.parametrize("method", ["central", "mat", "coma"])
def test_who_cannot_read_entities_says_so(method):
    with pytest.raises(BadInput, match="encoder"):
        rb.methods.find_method(method).configure({"encoder": "entities"})
