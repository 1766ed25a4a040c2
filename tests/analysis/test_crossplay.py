"""Cross-play: seats, entries by hand, who cannot play, bounds, records, and policies by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from runs.small import SPREAD, TINY, method, plan
from torch import Tensor

from rlnet_bench.analysis.crossplay import LED, Crossplay, Player, crossplay, read_crossplay
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, StoreError, UnknownName
from rlnet_bench.learning.play import evaluate
from rlnet_bench.learning.seats import Seated, play_seats
from rlnet_bench.learning.untrained import ScriptPolicy
from rlnet_bench.reports import plots
from rlnet_bench.rng import Stream, env_keys
from rlnet_bench.runs.policies import load_policy
from rlnet_bench.runs.publish import publish
from rlnet_bench.runs.published import weights_file
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.worker import work

CARD = task_card(SPREAD)
N = CARD.num_agents


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published: ippo in two groups of seeds, a network with a director outside, one whose agents see all."""
    root = tmp_path_factory.mktemp("crossplay")
    planned = plan(
        method(), method("zoo/tag-3ppo"), {**method(share_parameters=False), "label": "alone"},
        method("central", **TINY), method("random"), seeds=3, seed_group=2, budget={"frames": 80},
        evaluation={"every": 80, "episodes": 2, "absolute_episodes": 2},
    )  # fmt: skip
    store = Store.create(root / "s")
    store.add_plan(planned)
    work(store, planned.groups)
    publish(store, planned, root / "results")
    return root / "results"


def constant(action: int) -> ScriptPolicy:
    """Every agent always does the same."""

    def script(observation: Tensor, card: Any) -> Tensor:
        return torch.full(observation.shape[:2], action, dtype=torch.int64)

    return ScriptPolicy(script, CARD, 1)


def test_the_guest_sits_in_every_seat_in_turn() -> None:
    team = Seated(constant(4), constant(1), N)
    observation = torch.zeros(2 * N, N, CARD.observation_size)
    actions, _ = team.act(observation, team.initial_state(2 * N))
    guest_in = [0, 0, 1, 1, 2, 2]
    assert actions.tolist() == [[4 if seat == i else 1 for i in range(N)] for seat in guest_in]


def test_every_seat_plays_the_same_episodes_and_hosts_alone_are_self_play() -> None:
    mine = load_policy(f"nearest@{SPREAD}")
    alone = evaluate(mine, CARD, (0,), 3, keys=env_keys((0,), Stream.ABSOLUTE_ENV, 3, "cpu")).team[0]
    beside = play_seats(mine, mine, CARD, 3)
    assert torch.equal(beside, torch.from_numpy(alone).expand(N, 3))
    other = play_seats(constant(0), mine, CARD, 3)
    assert other.shape == (N, 3) and not torch.equal(other[0], other[1])


def test_memory_of_guest_and_hosts_stays_apart(results: Path) -> None:
    """With recurrent actors, one's memory in the other's place would move returns."""
    from rlnet_bench.learning.actor import Actor, ActorSpec
    from rlnet_bench.learning.policy import ActorPolicy

    spec = ActorSpec.from_json({**load_policy(f"ippo@{SPREAD}", results=results).spec()["actor"], "memory": "gru"})
    a, b = (ActorPolicy(Actor(CARD, spec, (seed,))) for seed in (0, 1))
    for policy in (a, b):
        for w in policy.state_dict().values():
            w.mul_(3)
    n, keys = 2, env_keys((0,), Stream.ABSOLUTE_ENV, 2, "cpu")
    whole = evaluate(a, CARD, (0,), n, keys=keys).team[0]
    assert np.allclose(play_seats(a, a, CARD, n).numpy(), whole)
    mixed = play_seats(b, a, CARD, n).numpy()
    assert not np.allclose(mixed, whole)


BY_HAND = Crossplay(
    "t", "h", "deterministic", 2,
    (Player("a", 0, "run-a0"), Player("a", 1, "run-a1"), Player("b", 0, "run-b0"), Player("script", 0, "", False)),
    np.array([[10.0, 2, 3, 4], [6, 20, 5, 8], [1, 3, 30, 9], [7, 9, 11, 40.0]]),
)  # fmt: skip


def test_entries_by_hand() -> None:
    values = {pair: e.value for pair, e in BY_HAND.pairs().items()}
    assert values == {
        ("a", "a"): 4.0, ("a", "b"): 4.0, ("a", "script"): 6.0, ("b", "a"): 2.0, ("b", "script"): 9.0,
        ("script", "a"): 8.0, ("script", "b"): 11.0,
    }  # fmt: skip
    assert {m: e.value for m, e in BY_HAND.self_play().items()} == {"a": 15.0, "b": 30.0, "script": 40.0}


def test_bounds_name_the_run_and_are_blank_without_one() -> None:
    bounds = {m: b and (b.value, b.player.run_id) for m, b in BY_HAND.bounds().items()}
    # Beside the hosts of a: a0 reaches 2 (beside a1), a1 6 (beside a0), b0 2; the script, 8, is no run.
    assert bounds == {"a": (6.0, "run-a1"), "b": (5.0, "run-a1"), "script": (9.0, "run-b0")}
    scripts = Crossplay("t", "h", "deterministic", 2, BY_HAND.players[-1:] * 1, np.zeros((1, 1)))
    assert scripts.bounds() == {"script": None}


def test_a_record_is_read_back_and_a_changed_one_refused(tmp_path: Path) -> None:
    gap = Crossplay("x/y", "h", "sampled", 3, BY_HAND.players, np.where(np.eye(4) > 0, 1.5, np.nan), {("a", "b"): "n"})
    file = gap.write(tmp_path / "crossplay")
    again = read_crossplay(file)
    assert file.name == "x__y.json" and again.to_json() == gap.to_json() and again.notes == gap.notes
    data = json.loads(file.read_text())
    data["returns"].pop()
    file.write_text(json.dumps(data))
    with pytest.raises(StoreError, match="a row and a column for each of 4 players"):
        read_crossplay(file)


def test_published_methods_play_together(results: Path) -> None:
    found = crossplay(SPREAD, ["ippo", "alone", "nearest"], episodes=2, results=results)
    assert [(p.method, p.seed) for p in found.players] == [
        *(("ippo", s) for s in range(3)), *(("alone", s) for s in range(3)), ("nearest", 0),
    ]  # fmt: skip
    assert not np.isnan(found.returns).any() and not found.notes
    ippo = [load_policy(f"ippo@{SPREAD}", s, results=results) for s in range(3)]
    assert found.returns[0, 2] == pytest.approx(float(play_seats(ippo[0], ippo[2], CARD, 2).mean()))
    assert len({p.run_id for p in found.players if p.method == "ippo"}) == 2  # two groups of seeds


def test_who_acts_only_together_is_named(results: Path) -> None:
    found = crossplay(SPREAD, ["zoo/tag-3ppo", "central", "ippo"], episodes=2, results=results)
    assert found.notes["zoo/tag-3ppo", "zoo/tag-3ppo"] == LED
    assert found.notes["ippo", "zoo/tag-3ppo"].startswith("zoo/tag-3ppo has vertices outside of its agents (")
    assert found.notes["central", "ippo"] == (
        "central's agents act on each other's observations within a step: no seat can be taken alone."
    )
    assert set(found.pairs()) == {("zoo/tag-3ppo", "zoo/tag-3ppo"), ("ippo", "ippo")}
    with pytest.raises(BadInput, match="nobody can play with anybody: central's agents"):
        crossplay(SPREAD, ["central"], episodes=2, results=results)


def test_the_row_leads_and_the_column_acts(results: Path) -> None:
    from rlnet_bench.networks.led import external, led_by

    a, b = (load_policy(f"zoo/tag-3ppo@{SPREAD}", s, results=results) for s in (0, 1))
    mixed = led_by(a, b, CARD)
    assert mixed is not None and external(mixed) == external(a) != ()
    origin = {name: [torch.equal(w, p.state_dict()[name]) for p in (a, b)] for name, w in mixed.state_dict().items()}
    assert [True, False] in origin.values() and [False, True] in origin.values()
    assert led_by(a, load_policy(f"ippo@{SPREAD}", 0, results=results), CARD) is None


def test_by_name_is_by_folder(results: Path) -> None:
    whole = load_policy(f"ippo@{SPREAD}", results=results)
    assert whole.replicas == 3 and whole.trained is not None and whole.trained.seeds == (0, 1, 2)
    store = Store(results.parent / "s")
    for k, (seed, run) in enumerate(zip(whole.trained.seeds, whole.trained.run_ids)):
        theirs = load_policy(store.folder(run), seed)
        one = load_policy(f"ippo@{SPREAD}", seed, results=results / "small-v1")
        for name, w in theirs.state_dict().items():
            rows = len(w)
            assert torch.equal(whole.state_dict()[name][k * rows : (k + 1) * rows], w)
            assert torch.equal(one.state_dict()[name], w)


def test_names_that_nothing_has(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=f"Did you mean 'ippo@{SPREAD}'"):
        load_policy(f"ipo@{SPREAD}", results=results)
    with pytest.raises(BadInput, match=r"no weights of seed 7; .* has seeds \[0, 1, 2\]"):
        load_policy(f"ippo@{SPREAD}", 7, results=results)
    with pytest.raises(StoreError, match="expected published results"):
        load_policy(f"ippo@{SPREAD}", results=tmp_path)
    with pytest.raises(BadInput, match="the best weights of the suite's mode only"):
        load_policy(f"ippo@{SPREAD}", which="final", results=results)
    with pytest.raises(BadInput, match="was given twice"):
        crossplay(SPREAD, ["nearest", "nearest"])


def test_weights_that_were_not_scored_are_not_played(results: Path, tmp_path: Path) -> None:
    import shutil

    from rlnet_bench.runs.published import read_cell

    copy = Path(shutil.copytree(results, tmp_path / "r"))
    record = read_cell(copy / "small-v1", "ippo", SPREAD).records[0]
    file = weights_file(copy / "small-v1", "ippo", SPREAD, record.seeds[0])
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(StoreError, match="expected the weights of seed"):
        load_policy(f"ippo@{SPREAD}", results=copy)


def test_the_heat_map_has_self_play_apart() -> None:
    ax = plots.crossplay(BY_HAND, Figure().subplots())
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b", "script", "itself"]
    assert sorted(t.get_text() for t in ax.texts) == sorted(
        f"{e.value:.3g}" for e in (*BY_HAND.pairs().values(), *BY_HAND.self_play().values())
    )
