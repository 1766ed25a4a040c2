"""Q-learning's parts: exploration, targets by hand, memory along sequences, target networks, the warm-up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from games import EASY, Game, matrix
from scripted import CARD

from rlnet_bench.envs.registry import make_env, resized, task_card
from rlnet_bench.learning.q_learning import QLearner, QPolicy, QSpec, Step, Utilities, epsilon_greedy
from rlnet_bench.learning.replay import Sequences, Transitions
from rlnet_bench.methods import find_method

SPREAD = "mpe/simple_spread-discrete-v1"
SMALL = {
    "num_envs": 3, "rollout_steps": 4, "updates_per_iteration": 2, "batch_size": 16, "buffer_size": 120,
    "learning_starts": 30, "hidden": [16], "sequence_length": 4, "burn_in": 2, "n_step": 1,
}  # fmt: skip


def learner(method: str = "vdn", env: Any = None, **settings: Any) -> QLearner:
    found, seeds = find_method(method), (0, 1)
    env = env or make_env(task_card(SPREAD), 6)
    config = found.configure({**SMALL, **settings})
    made: QLearner = found.learner_class()(env, seeds, config, training_reward="team_mean", total_frames=10_000)
    return made


def ready(method: str, game: Game, **settings: Any) -> Any:
    """A learner that has learned for a while."""
    made = learner(method, game, **{"updates_per_iteration": 1, "double_q": False, **settings})
    for _ in range(6):
        made.iterate()
    return made


def target_of(made: QLearner, step: Step) -> torch.Tensor:
    """What the learner's values are pulled to."""
    kept: list[torch.Tensor] = []

    class Heard(Step):
        def squared(self, value: torch.Tensor, target: torch.Tensor, *weight: torch.Tensor) -> torch.Tensor:
            kept.append(target)
            return super().squared(value, target, *weight)

    made.loss(Heard(**{name: getattr(step, name) for name in step.__dataclass_fields__}))
    return kept[0]


def test_exploration_is_uniform_over_what_is_legal_and_counted() -> None:
    q = torch.tensor([1.0, 5.0, 3.0, 2.0]).expand(4000, 2, 4)
    legal = torch.tensor([[True, False, True, True], [True, True, False, False]])
    keys = torch.arange(4000)
    action = epsilon_greedy(q, legal, keys, 7, 0.5)
    first, second = (action[:, i].bincount(minlength=4) / 4000 for i in range(2))
    torch.testing.assert_close(first, torch.tensor([1 / 6, 0, 4 / 6, 1 / 6]), atol=0.03, rtol=0)
    torch.testing.assert_close(second, torch.tensor([0.25, 0.75, 0, 0]), atol=0.03, rtol=0)
    assert torch.equal(action, epsilon_greedy(q, legal, keys, 7, 0.5))
    assert torch.equal(action[5:9], epsilon_greedy(q[5:9], legal, keys[5:9], torch.full((4,), 7), 0.5))
    assert not torch.equal(action, epsilon_greedy(q, legal, keys, 8, 0.5))
    assert epsilon_greedy(q, legal, keys, 7, 0.0).unique(dim=0).tolist() == [[2, 1]]
    every = epsilon_greedy(q, legal, keys, 7, 1.0)[:, 0].bincount(minlength=4) / 4000
    torch.testing.assert_close(every, torch.tensor([1 / 3, 0, 1 / 3, 1 / 3]), atol=0.03, rtol=0)


def test_options_that_an_agent_lacks_are_never_best() -> None:
    card = replace(CARD, action_sizes=(3, 2))
    for share in (True, False):
        utilities = Utilities(card, QSpec((8,), "relu", share, "none", 0.1), (0, 1))
        q = utilities(torch.randn(2, 50, 2, 1))
        assert q.shape == (2, 50, 2, 3) and bool((q[:, :, 1, 2] == -1e9).all())
        assert utilities.network.copies == (1 if share else 2)
    assert utilities.legal(None).tolist() == [[True, True, True], [True, True, False]]
    mask = torch.tensor([[True, False, True], [True, True, True]])
    assert utilities.legal(mask).tolist() == [[True, False, True], [True, True, False]]


def transitions(**more: Any) -> Transitions:
    zeros = torch.zeros(1, 2, 2, 1)
    return Transitions(zeros, torch.zeros(1, 2, 2, dtype=torch.int64), torch.tensor([[[1.0], [2.0]]]),
                       torch.tensor([[[0.5], [0.0]]]), zeros, **more)  # fmt: skip


def made_of(chosen: torch.Tensor, following: torch.Tensor, *more: Any) -> Step:
    """A step whose agents have one option each."""
    options = {"options": following[..., None], "values": chosen[..., None]}
    return Step(chosen, following, *more, **options, greedy=torch.zeros_like(following).long())


def test_a_target_and_a_loss_of_transitions_by_hand() -> None:
    chosen, following = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[[10.0, 20.0], [30.0, 40.0]]])
    step = made_of(chosen, following, transitions(), 0.9, 1)
    assert step.target(following).tolist() == [[[6.0, 11.0], [2.0, 2.0]]]
    assert step.squared(chosen, step.target(following)).item() == pytest.approx((25 + 81 + 1 + 4) / 4)
    alive, then = torch.tensor([[[True, False], [True, True]]]), torch.tensor([[[True, True], [False, True]]])
    now, later = made_of(chosen, following, transitions(alive=alive, next_alive=then), 0.9, 1).living()
    assert now.tolist() == [[[1.0, 0.0], [3.0, 4.0]]] and later.tolist() == [[[10.0, 20.0], [0.0, 40.0]]]


def test_a_target_and_a_loss_of_sequences_by_hand() -> None:
    def flags(*x: int) -> torch.Tensor:
        return torch.tensor(x, dtype=torch.bool).view(-1, 1, 1, 1)

    column = torch.tensor([1.0, 2.0, 4.0]).view(-1, 1, 1, 1)
    within = flags(1, 1, 0)[..., 0]
    batch = Sequences(torch.zeros(4, 1, 1, 1, 1), flags(1, 0, 0, 0)[..., 0], torch.zeros(3, 1, 1, 1, dtype=torch.int64),
                      column, flags(0, 0, 0), flags(0, 1, 0), within)  # fmt: skip
    following = torch.tensor([10.0, 20.0, 30.0]).view(-1, 1, 1, 1)
    step = made_of(column, following, batch, 0.5, 2)
    target = step.target(following)  # 1 + .5 * 2 + .25 * 20, cut; 2 + .5 * 20; and one that is not within
    assert target.flatten().tolist() == [7.0, 12.0, 19.0]
    assert step.squared(torch.zeros(3, 1, 1, 1), target).item() == pytest.approx((49 + 144) / 2)


@pytest.mark.parametrize("burn_in", [0, 2])
def test_memory_along_a_sequence_is_that_of_acting(burn_in: int) -> None:
    """From the first row on, or from where an episode began; the last row is the final observation of a cut episode."""
    made = learner(memory="gru", burn_in=burn_in)
    for _ in range(12):
        made.collect()
        made.frames += made.frames_per_iteration
    (batch,) = made.batches([0])
    assert isinstance(batch, Sequences)
    with torch.no_grad():
        q = made._along(made.online, batch)  # [T + 1, R, M, N, A]
    assert len(q) == 5
    cuts = 0
    for m in range(16):
        memory = made.online.network.initial_memory(2)
        for t in range(burn_in + 5):
            memory = memory.masked_fill(batch.begins[t, :, m].view(2, 1, 1), 0.0)
            with torch.no_grad():
                expected, memory = made.online.act(batch.observation[t, :, m], memory)
            if t >= burn_in:
                torch.testing.assert_close(q[t - burn_in, :, m], expected, rtol=1e-4, atol=1e-5)
        cuts += int(batch.ended[:, :, m].any())
    assert cuts > 0
    policy = QPolicy.rebuild(made.policy().spec(), made.card, (0, 1))
    policy.load_state_dict(made.policy().state_dict())
    state = policy.initial_state(6)
    observation = torch.randn(6, 3, 18)
    once, state = policy.act(observation, state)
    assert float(state.memory["agents"].abs().sum()) > 0
    again, _ = policy.act(observation, state, reset=torch.ones(6, dtype=torch.bool))
    assert torch.equal(once, again)


def test_memory_ends_with_an_episode_while_collecting() -> None:
    made = learner(memory="gru")
    for _ in range(6):  # 24 steps of 25
        made.collect()
        made.frames += made.frames_per_iteration
    assert float(made.carried.now["agents"].abs().sum()) > 0
    made.steps = 1
    made.collect()
    assert float(made.carried.now["agents"].abs().sum()) == 0


def test_nothing_is_learned_before_the_warm_up_ends() -> None:
    made = learner()  # 12 frames an iteration, 30 of warm-up
    before = {n: p.clone() for n, p in made.policy().state_dict().items()}
    for _ in range(2):
        assert made.iterate() == {}
    assert made.updates == 0 and all(torch.equal(p, before[n]) for n, p in made.policy().state_dict().items())
    made.iterate()
    assert made.updates == 2 and not all(torch.equal(p, before[n]) for n, p in made.policy().state_dict().items())


def test_target_networks_are_copied_on_time_and_follow_softly() -> None:
    hard = learner(target_every=3, target_tau=1.0)
    while hard.updates < 4:
        hard.iterate()
    fast, slow = (x.network.state_dict() for x in (hard.online, hard.target))
    assert not any(torch.equal(fast[n], slow[n]) for n in fast)  # one update after the copy at 3
    while hard.updates % 3:
        hard.iterate()
    assert all(torch.equal(fast[n], slow[n]) for n in fast)
    soft = learner(target_tau=0.25, updates_per_iteration=1)
    start = {n: p.clone() for n, p in soft.target.network.state_dict().items()}
    while not soft.updates:
        soft.iterate()
    for n, p in soft.target.network.state_dict().items():
        torch.testing.assert_close(p, start[n] + 0.25 * (soft.online.network.state_dict()[n] - start[n]))


def test_a_diverged_replica_loses_its_targets_too() -> None:
    made = learner("qmix")
    with torch.no_grad():
        next(made.online.network.parameters())[1] = float("nan")
    while not made.updates:
        made.iterate()
    assert [d.seed for d in made.divergences] == [1]
    for p in made.held():
        assert bool(p.isfinite().all()) and float(p[1].abs().sum()) == 0
    made.iterate()
    assert len(made.divergences) == 1


def test_epsilon_falls_in_its_share_of_the_budget() -> None:
    made = learner(epsilon_share=0.5, epsilon_end=0.1)
    found = []
    for frames in (0, 2500, 5000, 9000):
        made.frames = frames
        found.append(made.epsilon)
    assert found == pytest.approx([1.0, 0.55, 0.1, 0.1])
    assert made.policy().spec()["utilities"]["epsilon"] == 0.1


@pytest.mark.parametrize("method", ["iql", "qmix"])
@pytest.mark.parametrize("memory", ["none", "gru"])
def test_who_reads_entities_plays_in_a_team_of_another_size(method: str, memory: str) -> None:
    found, many = find_method(method), resized(task_card(SPREAD), 5)
    for encoder in ("plain", "entities"):
        made = learner(method, encoder=encoder, memory=memory)
        while not made.updates:
            made.iterate()
        policy = made.policy()
        assert ("encoder" in policy.spec()["utilities"]) == (encoder == "entities")
        larger = found.rebuild(policy.spec(), many, (0, 1))
        if encoder == "plain":
            with pytest.raises(ValueError, match=r"expected shape \(2, 35, 16\), found \(2, 21, 16\)"):
                larger.load_state_dict(policy.state_dict())
            continue
        larger.load_state_dict(policy.state_dict())
        env = make_env(many, 8)
        now, state = env.reset(torch.arange(8)), larger.initial_state(8)
        action, state = larger.act(now.observation, state)
        assert action.shape == (8, 5) and len(action.unique()) > 1
        again = found.rebuild(policy.spec(), made.card, (0, 1))
        again.load_state_dict(larger.state_dict())
        seen = made.now.observation
        assert torch.equal(*(p.act(seen, p.initial_state(6))[0] for p in (policy, again)))
    plain = {**SMALL, "encoder": "plain", "sequence_length": 10}
    assert "encoder" not in found.configure(plain).model_dump(mode="json")


def test_what_declares_no_entities_is_not_read_as_such() -> None:
    card, method = task_card("mpe/simple_speaker_listener-discrete-v1"), find_method("vdn")
    assert method.impossible(card, method.configure({})) is None
    reason = method.impossible(card, method.configure({"encoder": "entities"}))
    assert reason is not None and "does not declare it" in reason


def test_what_follows_is_legal_and_chosen_by_the_online_network() -> None:
    class Narrow(Game):
        """The best looking action is never legal."""

        def _see(self, at: torch.Tensor) -> Any:
            mask = torch.tensor([False, True, True]).expand(len(at), 2, 3)
            return super()._see(at)._replace(action_mask=mask)

    game = Narrow((EASY, EASY), ((1, 1, 1), (0, 0, 0)), 6)
    game.card = replace(game.card, masked=True)
    for double in (True, False):
        made = learner("iql", game, double_q=double)
        for utilities, q in ((made.online, (9.0, 1.0, 2.0)), (made.target, (9.0, 5.0, 3.0))):
            state = {n: torch.zeros_like(p) for n, p in utilities.network.named_parameters()}
            state["bias.1"][:] = torch.tensor(q)
            utilities.network.load_state_dict(state)
        for _ in range(3):
            made.collect()
            made.frames += made.frames_per_iteration
        (batch,) = made.batches([0])
        step = made.estimate(batch)
        assert step.following.unique().tolist() == [3.0 if double else 5.0]
        assert set(step.chosen.unique().tolist()) <= {1.0, 2.0}


def test_both_rewards_reach_the_learner() -> None:
    made = learner("iql", matrix(EASY, 6))
    assert made.team_reward and made.replay.room["reward"].shape[-1] == 1
    found = find_method("iql")
    own = found.learner_class()(
        matrix(EASY, 6), (0, 1), found.configure(SMALL), training_reward="individual", total_frames=100
    )
    assert not own.team_reward and own.replay.room["reward"].shape[-1] == 2
    joint = find_method("qmix")
    team = joint.learner_class()(
        matrix(EASY, 6), (0, 1), joint.configure(SMALL), training_reward="individual", total_frames=100
    )
    assert team.team_reward  # one joint value has one reward
