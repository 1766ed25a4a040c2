"""One channel protocol for networks, talking teams, shared observations and tasks with words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.learning import probe
from rlnet_bench.learning.policy import Policy, PolicyState
from rlnet_bench.learning.probe import probes
from rlnet_bench.learning.protocol import find_channel, heard_words, own_habits, scores
from rlnet_bench.methods import find_method
from rlnet_bench.networks.method import network_method

SPREAD = "mpe/simple_spread-discrete-v1"
SPEAKER = "mpe/simple_speaker_listener-discrete-v1"
REFERENCE = "mpe/simple_reference-discrete-v1"
SMALL = {"num_envs": 4, "rollout_steps": 5, "hidden": (8,), "critic_hidden": (8,)}
CASES: list[Any] = [
    ("zoo/tag-3ppo", SPREAD, {}, "edges between places"),
    ("commnet", SPREAD, {}, "rounds of talk"),
    pytest.param("gnn", SPREAD, {}, "rounds of talk", marks=pytest.mark.slow),
    pytest.param("mat", SPREAD, {}, "others' observations", marks=pytest.mark.slow),
    ("ippo", SPREAD, {"observe": "all"}, "others' observations"),
    ("ippo", SPEAKER, {}, "the task's words"),
    ("ippo", REFERENCE, {}, "the task's words"),
]


def policy_of(name: str, task: str, seeds: tuple[int, ...] = (0, 1), **settings: Any) -> Policy:
    """Untrained, its outputs loud enough that what it reads matters."""
    method = network_method(name)[0] if "/" in name else find_method(name)
    small = {k: v for k, v in SMALL.items() if k in method.Config.model_fields and name != "mat"}
    made = method.learner(task_card(task), method.configure({**small, **settings}), seeds, total_frames=100,
                          training_reward="team_mean")  # fmt: skip
    policy = made.policy()
    for key, tensor in policy.state_dict().items():
        if "weight" in key and tensor.abs().max() < 0.1:
            tensor.mul_(100)
    return policy


@pytest.mark.parametrize(("name", "task", "settings", "kind"), CASES)
def test_every_channel_is_found_and_scored(
    name: str, task: str, settings: dict[str, Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "PERMUTATIONS", 19)
    policy, card = policy_of(name, task, **settings), task_card(task)
    channel = find_channel(policy, card)
    assert channel is not None and channel.name == kind
    found = {(s.kind, s.value): s for s in scores(policy, channel, card, (0, 1), episodes=4, mode="deterministic")}
    played = {key: s.team for key, s in found.items() if s.team is not None}
    assert {k for k, _ in found} == {
        "intact", "cut", "constant", "self", "shuffled", "noise", "broadcast", "bits", "delay", "drop",
    }  # fmt: skip
    assert len([k for k, _ in played if k == "bits"]) == 6 and len([k for k, _ in played if k == "drop"]) == 5
    whole = played["intact", 0.0]
    assert whole.shape == (2, 4) and all(np.isfinite(x).all() for x in played.values())
    changes = [("cut", 0.0), ("constant", 0.0), ("noise", 0.0), ("bits", 1.0), ("delay", 2.0), ("drop", 0.5)]
    if kind != "the task's words":  # an untrained speaker may say one word to all
        changes.append(("shuffled", 0.0))
    for change in changes:
        assert not np.array_equal(played[change], whole), change
    again = list(scores(policy, channel, card, (0, 1), episodes=4, mode="deterministic"))
    assert all(np.array_equal(s.team, played[s.kind, s.value]) for s in again if s.team is not None)
    assert all(s.reason for s in found.values() if s.team is None)
    told = probes(channel, card, (0, 1), "deterministic")
    assert len(told) == 2 and all(0 <= p.r2 <= 1 and 0 < p.p <= 1 for p in told)
    if kind == "others' observations":
        assert all(p.r2 > 0.9 and p.p <= 0.05 for p in told)  # what is heard is what is asked for


def test_nobody_hears_anybody() -> None:
    assert find_channel(policy_of("ippo", SPREAD), task_card(SPREAD)) is None
    assert find_channel(policy_of("zoo/flat", SPREAD), task_card(SPREAD)) is None


@pytest.mark.parametrize("task", [SPEAKER, REFERENCE])
def test_words_are_where_the_task_puts_them(task: str) -> None:
    """By intervention: another word changes these numbers of what is observed next, and no others."""
    card = task_card(task)
    words, n = heard_words(card), card.num_agents
    seen = []
    for word in (0, 1):
        env = make_env(card, 2)
        env.reset(torch.tensor([3, 4]))
        action = torch.zeros(2, n, dtype=torch.int64)
        action[:] = word * 5 if card.action_sizes[0] == 50 else 0
        if task == SPEAKER:
            action[:, 0] = word
        seen.append(env.step(action).observation)
    moved = (seen[0] != seen[1]).any(dim=0)
    inside = torch.zeros_like(moved)
    for agent, columns in words.items():
        inside[agent, columns] = True
    assert bool(moved.any(dim=1)[list(words)].all()) and not bool((moved & ~inside).any())
    assert heard_words(task_card(SPREAD)) == {}


def test_what_is_usual_is_what_the_policy_itself_sends() -> None:
    """A director that says a constant has no range, whatever a random walk would make it say."""
    policy, card = policy_of("zoo/control-constant", SPREAD), task_card(SPREAD)
    for net in policy.nets:  # type: ignore[attr-defined]
        net.usual.fill_(0.25)
    channel = find_channel(policy, card)
    assert channel is not None
    usual = own_habits(channel, card, (0, 1), "deterministic", 4)
    habit = usual[1, "reads"]
    heard = channel.masks[1, "reads"]
    assert habit.deviation is not None
    assert torch.allclose(habit.mean[0, 0][heard], torch.tensor(0.25))
    assert torch.equal(habit.low[0, 0][heard], habit.high[0, 0][heard])
    assert float(habit.deviation[0, 0][heard].abs().max()) < 1e-6


class Signaller(Policy):
    """Reference: says the colour that it sees for the other, or always the same."""

    replicas = 2

    def act(
        self, observation: Tensor, state: PolicyState, mask: Tensor | None = None, reset: Tensor | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, PolicyState]:  # fmt: skip
        colour = observation[..., 8:11].argmax(dim=-1)
        talks = (torch.arange(len(observation)) < len(observation) // 2)[:, None]  # the first seed does
        word = torch.where(talks, colour, 0)
        # Whoever is told goes where it is told to.
        told = observation[..., 11:14].argmax(dim=-1)
        goal = (
            observation[..., 2:8]
            .unflatten(-1, (3, 2))
            .gather(-2, told[..., None, None].expand(-1, -1, 1, 2))[..., 0, :]
        )
        wide = goal[..., 0].abs() > goal[..., 1].abs()
        move = torch.where(wide, torch.where(goal[..., 0] > 0, 2, 1), torch.where(goal[..., 1] > 0, 4, 3))
        return move + 5 * word, state


def test_a_signalling_seed_is_told_from_a_silent_one() -> None:
    card = task_card(REFERENCE)
    policy = Signaller()
    channel = find_channel(policy, card)
    assert channel is not None
    talks, silent = probes(channel, card, (0, 1), "deterministic")
    assert talks.r2 > 0.05 and talks.p <= 0.01
    assert silent.r2 < 0.01 and silent.p > 0.05
    team = {s.kind: s.team for s in scores(policy, channel, card, (0, 1), episodes=32, mode="deterministic")}
    lost = (team["intact"] - team["shuffled"]).mean(axis=1)
    assert lost[0] > 1.0 and lost[1] == pytest.approx(0.0)
