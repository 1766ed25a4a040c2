"""The PPO learner: its loss against plain torch, chunks, minibatches, masks, annealing, what actors read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal

import rlnet_bench.learning.rollout as rollout_module
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.learning.on_policy import TeamLearner
from rlnet_bench.learning.ppo import METRICS, Minibatch, minibatches
from rlnet_bench.methods import find_method

LEARNERS = {"observation": find_method("ippo").learner_class(), "state": find_method("mappo").learner_class()}
SPREAD = "mpe/simple_spread-discrete-v1"
SPEAKER = "mpe/simple_speaker_listener-{}-v1"
REFERENCE = "mpe/simple_reference-discrete-v1"
TINY: dict[str, Any] = {"num_envs": 4, "rollout_steps": 10, "hidden": (8,), "critic_hidden": (8,)}


def learner(
    task: str = SPREAD, critic: str = "observation", seeds: tuple[int, ...] = (0, 1), reward: str = "team_mean",
    total_frames: int = 4000, **settings: Any,
) -> TeamLearner:  # fmt: skip
    config = PpoConfig(**{**TINY, **settings})
    env = make_env(task, len(seeds) * config.num_envs)
    return LEARNERS[critic](env, seeds, config, training_reward=reward, total_frames=total_frames)


def plain_forward(parameters: list[Tensor], copy: int, x: Tensor) -> Tensor:
    """One copy of a stacked network, one matrix product at a time."""
    layers = len(parameters) // 2
    for i in range(layers):
        x = x @ parameters[2 * i][copy] + parameters[2 * i + 1][copy, 0]
        x = torch.tanh(x) if i < layers - 1 else x
    return x


@pytest.mark.parametrize("reward", ["individual", "team_mean"])
def test_an_agent_s_own_rewards_end_with_it_and_the_team_s_go_on(reward: str) -> None:
    """With lambda 1 and values of zero the targets are discounted sums of rewards, added up here by hand."""
    ours = learner(reward=reward, normalise_value=False, gamma=0.5, gae_lambda=1.0, rollout_steps=6)
    ours.collect()
    for p in ours.critic.parameters():
        p.data.zero_()
    seen = ours.rollout
    seen.terminated[:], seen.truncated[:] = False, False
    seen.rewards[:] = 1.0
    seen.alive, seen.died = torch.ones(seen.shape), torch.zeros(seen.shape, dtype=torch.bool)
    seen.died[2, :, :, 1] = True  # agent 1 dies of the action of step 2
    seen.rewards[3:, :, :, 1], seen.alive[3:, :, :, 1] = 0.0, 0.0
    _, returns = ours.advantages()
    late = [1.75, 1.5, 1.0] if reward == "individual" else [(2 / 3) * x for x in (1.75, 1.5, 1.0)]
    on = [1 + 0.5 * (1 + 0.5 * (1 + 0.5 * late[0])), 1 + 0.5 * (1 + 0.5 * late[0]), 1 + 0.5 * late[0], *late]
    torch.testing.assert_close(returns[:, 0, 0, 0], torch.tensor(on))
    dies = [1.75, 1.5, 1.0, 0.0, 0.0, 0.0] if reward == "individual" else on
    torch.testing.assert_close(returns[:, 0, 0, 1], torch.tensor(dies))


@pytest.mark.parametrize("critic", ["observation", "state"])
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("task", [SPREAD, SPEAKER.format("discrete"), SPEAKER.format("continuous")])
def test_one_update_equals_plain_torch(task: str, critic: str, share: bool) -> None:
    """Clipped surrogate, value error, entropy, clipping per replica and Adam, written out again."""
    options: dict[str, Any] = {
        "epochs": 2, "minibatches": 1, "normalise_value": False, "anneal": False, "share_parameters": share,
        "learning_rate": 0.01,
    }  # fmt: skip
    ours, plain = (learner(task, critic, reward="individual", **options) for _ in range(2))
    ours.collect()
    plain.collect()
    assert torch.equal(ours.rollout.actions, plain.rollout.actions)
    ours.update()

    card, config = plain.env.card, plain.config
    seen = plain.rollout
    t, r, _, n = seen.shape
    advantage, returns = plain.advantages()
    used = torch.arange(card.action_size)[None] < torch.tensor(card.action_sizes)[:, None]

    def run(k: int, actor: list[Tensor], critics: list[Tensor], log_std: Tensor | None) -> tuple[Tensor, ...]:
        """(log probability, entropy, value), each [T, B, N], of replica k with its own copies of weights."""
        log_p, entropy, value = [], [], []
        for agent in range(n):
            copy = 0 if share else agent
            features = seen.features[:t, k, :, agent]
            out = plain_forward(actor, copy, features)
            action, a = seen.actions[:, k, :, agent], card.action_sizes[agent]
            if log_std is None:
                one = Categorical(logits=out[..., :a])
            else:
                mean, std = out[..., :a], log_std[copy, :a].exp()
                one, action = Independent(Normal(mean, std.expand_as(mean)), 1), action[..., :a]  # type: ignore[assignment]
            log_p.append(one.log_prob(action))
            entropy.append(one.entropy())
            if critic == "observation":
                value.append(plain_forward(critics, copy, features)[..., 0])
            else:
                assert seen.states is not None
                head = plain_forward(critics, copy, seen.states[:t, k])
                value.append(head[..., agent] if share else head[..., 0])
        return tuple(torch.stack(x, dim=-1) for x in (log_p, entropy, value))

    copies = 1 if share else n
    parts = {"actor": list(plain.actor.network.parameters()), "critic": list(plain.critic.parameters())}
    for k in range(r):
        mine = {
            name: [p.detach()[k * copies : (k + 1) * copies].clone().requires_grad_() for p in ps]
            for name, ps in parts.items()
        }
        log_std = None
        if plain.actor.log_std is not None:
            log_std = plain.actor.log_std.detach()[k * copies : (k + 1) * copies].clone().requires_grad_()
        actor_group = mine["actor"] + ([log_std] if log_std is not None else [])
        adam = torch.optim.Adam(actor_group + mine["critic"], lr=0.01, eps=1e-5)
        old = run(k, mine["actor"], mine["critic"], log_std)[0].detach()
        for _ in range(config.epochs):
            log_p, entropy, value = run(k, mine["actor"], mine["critic"], log_std)
            ratio = (log_p - old).exp()
            a = advantage[:, k]
            policy_loss = -torch.min(ratio * a, ratio.clamp(0.8, 1.2) * a).mean()
            value_loss = 0.5 * (value - returns[:, k]).square().mean()
            adam.zero_grad()
            (policy_loss + value_loss - config.entropy_weight * entropy.mean()).backward()
            torch.nn.utils.clip_grad_norm_(actor_group, 0.5)
            torch.nn.utils.clip_grad_norm_(mine["critic"], 0.5)
            adam.step()
        for name, stack in (("actor", ours.actor.network), ("critic", ours.critic)):
            for p, q in zip(stack.parameters(), mine[name]):
                torch.testing.assert_close(p.detach()[k * copies : (k + 1) * copies], q.detach(), rtol=0, atol=2e-6)
        if log_std is not None:
            assert ours.actor.log_std is not None
            mine_std = ours.actor.log_std.detach()[k * copies : (k + 1) * copies]
            torch.testing.assert_close(mine_std[:, used.any(0)], log_std.detach()[:, used.any(0)], rtol=0, atol=2e-6)


@pytest.mark.parametrize("task", [SPREAD, SPEAKER.format("continuous")])
def test_chunks_change_nothing(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = learner(task, "state")
    first = whole.iterate()
    monkeypatch.setattr(rollout_module, "CPU_ROWS", 7)
    chunked = learner(task, "state")
    second = chunked.iterate()
    for name in METRICS:
        torch.testing.assert_close(first[name], second[name], rtol=1e-5, atol=1e-6)
    for a, b in zip(whole.optimiser.parameters, chunked.optimiser.parameters):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_minibatches_cover_every_joint_step_once_and_never_mix_replicas() -> None:
    made = learner(minibatches=3)  # 40 rows do not divide by 3
    t, r, b = made.shape

    def epoch(number: int) -> list[Minibatch]:
        return list(minibatches(made.batch_keys, (0, number), made.shape, 3))

    parts = [p.rows for p in epoch(0)]
    assert sorted(p.shape[1] for p in parts) == [13, 13, 14]
    rows = torch.cat(parts, dim=1)
    replica = rows % (r * b) // b
    for k in range(r):
        assert (replica[k] == k).all()
        assert len(set(rows[k].tolist())) == t * b
    again, other = (torch.cat([p.rows for p in epoch(number)], dim=1) for number in (0, 1))
    assert torch.equal(rows, again) and not torch.equal(rows, other)
    assert not torch.equal(rows[0], rows[1] - b)  # every replica shuffles for itself
    envs = torch.cat([p.envs for p in epoch(0)], dim=1)
    assert envs.sort(dim=1).values.tolist() == [list(range(b))] * r


def test_a_rollout_steps_every_environment_exactly_as_often_as_it_says() -> None:
    made = learner()
    calls = []
    step = made.env.step
    made.env.step = lambda a: calls.append(len(a)) or step(a)  # type: ignore[method-assign,func-returns-value]
    for i in range(1, 4):
        made.iterate()
        assert made.frames == i * 40 and sum(calls) == 2 * made.frames and made.updates == 16 * i  # 4 epochs of 4


def test_learning_rate_falls_linearly_to_zero() -> None:
    made = learner(total_frames=160, learning_rate=0.1)
    rates = []
    for _ in range(5):
        made.iterate()
        rates.append(made.optimiser.learning_rates["actor"])
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025, 0.0])
    before = [p.detach().clone() for p in made.optimiser.parameters]
    made.iterate()
    assert all(torch.equal(p, q) for p, q in zip(before, made.optimiser.parameters))
    fixed = learner(total_frames=160, learning_rate=0.1, anneal=False)
    for _ in range(3):
        fixed.iterate()
    assert fixed.optimiser.learning_rates == {"actor": 0.1, "critic": 0.1}


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_narrow_agents_never_take_actions_they_lack(kind: str) -> None:
    made = learner(SPEAKER.format(kind), learning_rate=0.5)  # large steps: logits go far
    sizes = made.env.card.action_sizes
    assert len(set(sizes)) > 1
    for _ in range(5):
        made.collect()
        if kind == "discrete":
            for agent, size in enumerate(sizes):
                assert int(made.rollout.actions[..., agent].max()) < size
        else:
            task = made.actor.actions.to_task(made.rollout.actions)
            assert not task[..., 0, sizes[0] :].any()
            assert bool((task[..., 1, :] != 0).any())
        made.update()


def test_continuous_actions_stay_within_the_box() -> None:
    made = learner(SPEAKER.format("continuous"))
    card = made.env.card
    raw = torch.randn(4, 2, 4, 2, card.action_size) * 50
    task = made.actor.actions.to_task(raw)
    assert task.min().item() >= min(card.action_low, 0.0) and task.max().item() <= card.action_high


def test_observe_all_reads_every_observation_in_the_same_order() -> None:
    own, everyone = learner(), learner(observe="all")
    observation = torch.arange(8 * 3 * 18, dtype=torch.float32).view(8, 3, 18)
    assert own.actor.width == 18 + 3 and everyone.actor.width == 54 + 3
    features = everyone.actor.features(observation)
    for agent in range(3):
        assert torch.equal(features[..., agent, :54].reshape(8, 54), observation.reshape(8, 54))
        assert features[..., agent, 54:].eq(torch.eye(3)[agent]).all()
    mine = own.actor.features(observation)
    assert torch.equal(mine[..., :18].reshape(8, 3, 18), observation)
    everyone.iterate()


def test_shared_parameters_are_one_network_and_separate_ones_are_many() -> None:
    shared, separate = learner(), learner(share_parameters=False)
    first = next(separate.actor.parameters())
    assert next(shared.actor.parameters()).shape[0] == 2 and first.shape[0] == 6
    assert shared.actor.width == 21 and separate.actor.width == 18
    before = first.detach().clone()
    separate.iterate()
    assert all(not torch.equal(before[m], first[m]) for m in range(6))


def test_individual_and_team_rewards_train_differently_where_agents_are_paid_apart() -> None:
    """In spread every agent is paid for its own collisions."""
    made = {reward: learner(reward=reward, num_envs=16, rollout_steps=25) for reward in ("team_mean", "individual")}
    for one in made.values():
        one.collect()
    team, own = made["team_mean"], made["individual"]
    assert torch.equal(team.rollout.rewards, own.rollout.rewards)
    assert bool((own.rollout.rewards.std(dim=3) > 0).any())
    a, b = team.advantages()[1], own.advantages()[1]
    assert not torch.allclose(a, b)


@pytest.mark.parametrize("poison", ["actor", "critic", "reward"])
@pytest.mark.parametrize("task", [SPREAD, SPEAKER.format("continuous")])
def test_poison_freezes_one_replica_whatever_it_enters_by(task: str, poison: str) -> None:
    healthy, sick = (learner(task, "state", seeds=(5, 6, 7)) for _ in range(2))
    for one in (healthy, sick):
        one.iterate()
        one.collect()
    with torch.no_grad():
        if poison == "reward":
            sick.rollout.rewards[3, 1, 0, 0] = float("inf")
        else:
            next((sick.actor if poison == "actor" else sick.critic).parameters())[1, 0, 0] = float("nan")
    for one in (healthy, sick):
        one.learn()
        for _ in range(2):
            one.iterate()
    assert [d.seed for d in sick.divergences] == [6] and sick.divergences[0].frames == 80
    assert sick.divergences[0].tensor in METRICS
    for p, q in zip(healthy.optimiser.parameters, sick.optimiser.parameters):
        assert torch.equal(p[[0, 2]], q[[0, 2]]) and not q[1].any()
    assert sick.frozen.tolist() == [False, True, False]


def test_environments_never_see_a_nan() -> None:
    """VMAS raises on one, which would take the healthy replicas down, too."""
    made = learner(SPEAKER.format("continuous"))
    step = made.env.step

    def strict(actions: Tensor) -> Any:
        assert bool(actions.isfinite().all())
        return step(actions)

    made.env.step = strict  # type: ignore[method-assign]
    with torch.no_grad():
        next(made.actor.parameters())[1] = float("nan")
    made.iterate()
    assert [(d.seed, d.tensor) for d in made.divergences] == [(1, "action")]
    made.iterate()


def test_every_replica_can_diverge() -> None:
    made = learner()
    with torch.no_grad():
        next(made.actor.parameters()).fill_(float("nan"))
    made.iterate()
    assert [d.seed for d in made.divergences] == [0, 1]
    made.iterate()
    assert len(made.divergences) == 2


def test_a_wrong_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 x 4 environments, found 9"):
        LEARNERS["state"](make_env(SPREAD, 9), (0, 1), PpoConfig(**TINY), training_reward="team_mean", total_frames=1)


def test_the_card_of_every_mpe_task_fits() -> None:
    for task in (REFERENCE, "mpe/simple_spread-n4-continuous-v1"):
        made = learner(task, "state", seeds=(0,))
        assert all(bool(v.isfinite().all()) for v in made.iterate().values())
        assert made.actor.card.num_agents == task_card(task).num_agents
