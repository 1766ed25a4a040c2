"""Densities against integrals, soft targets by hand, and toys whose soft optimum is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from games import Game, matrix
from scripted import Scripted
from test_off_policy_actor_critic import OPTIMUM, SEEDS, Quadratic, collected, learner
from torch import Tensor

from rlnet_bench.learning.distributions import categorical_means, squashed_log_density
from rlnet_bench.learning.soft import option_aim, soft_value, temperature_loss
from rlnet_bench.methods import find_method

METHODS = ("isac", "masac")
SHARED = ((0.0, 1.0, 2.0), (0.5, 1.5, 2.5), (1.0, 2.0, 3.0))  # u1 / 2 + u2: each agent's part is its own


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -1.0), (-1.5, 0.5), (0.1, -3.0), (2.5, 0.0)])
def test_a_squashed_density_integrates_to_the_probabilities_of_its_gaussian(mean: float, log_std: float) -> None:
    """Over any part of -1..1, by the midpoint rule in double precision."""
    edges = torch.tanh(torch.linspace(mean - 6 * math.exp(log_std), mean + 6 * math.exp(log_std), 20_001).double())
    a, width = (edges[1:] + edges[:-1]) / 2, edges.diff()
    wide = [torch.full((1,), x).double() for x in (mean, log_std)]
    mass = torch.exp(squashed_log_density(*wide, torch.atanh(a)[:, None], None)) * width
    normal = torch.distributions.Normal(*(x.double() for x in (wide[0], wide[1].exp())))
    for end in (5_000, 10_000, 20_000):
        expected = normal.cdf(torch.atanh(edges[end])) - normal.cdf(torch.atanh(edges[0]))
        assert float(mass[:end].sum()) == pytest.approx(float(expected), abs=2e-5)


def test_a_squashed_density_is_finite_far_out_and_sums_over_what_is_used() -> None:
    u = torch.tensor([[12.0, -30.0], [0.3, 0.0]])
    zero = torch.zeros(2, 2)
    found = squashed_log_density(zero, zero, u, torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    # log N(12) + 2 * 12 - 2 log 2, as 1 - tanh(u)^2 is 4 exp(-2 u) there
    assert float(found[0]) == pytest.approx(-72 - 0.918939 + 24 - 1.386294, abs=1e-4)
    each = squashed_log_density(zero[..., None], zero[..., None], u[..., None], None)
    assert float(found[1]) == pytest.approx(float(each[1].sum()), abs=1e-6)
    assert bool(each.isfinite().all())


def test_means_over_options_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0), -1e9], [0.0, 0.0, 0.0]])
    q, log_p = categorical_means(logits, torch.tensor([[4.0, 8.0, 100.0], [1.0, 2.0, 6.0]]))
    assert q.tolist() == pytest.approx([7.0, 3.0])
    assert log_p.tolist() == pytest.approx([0.25 * math.log(0.25) + 0.75 * math.log(0.75), -math.log(3.0)])


def test_soft_values_and_temperatures_by_hand() -> None:
    q, log_p = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[-3.0, 4.0]]])
    assert soft_value(q, log_p, torch.tensor(0.5)).tolist() == [[[2.5, 0.0]]]
    assert soft_value(q, log_p, torch.tensor(0.5), torch.tensor([[[True, False]]])).tolist() == [[[2.5, 2.0]]]
    log_alpha = torch.tensor([[[0.3]]], requires_grad=True)
    loss = temperature_loss(log_alpha, log_p, 1.0)
    assert loss.flatten().tolist() == pytest.approx([-0.3 * -2.0, -0.3 * 5.0])
    (slope,) = torch.autograd.grad(loss[..., 0].sum(), log_alpha)
    assert float(slope) == 2.0  # an entropy of 3, above its aim of 1, lowers alpha


def test_what_the_entropy_aims_at_follows_the_legal_options() -> None:
    sizes = torch.tensor([2, 4])
    assert option_aim(0.5, sizes, None).tolist() == pytest.approx([math.log(2) / 2, math.log(4) / 2])
    mask = torch.tensor([[[[True, False, False, False], [True, True, True, False]]]])
    assert option_aim(0.5, sizes, mask).flatten().tolist() == pytest.approx([0.0, math.log(3) / 2])


@pytest.mark.parametrize("method", METHODS)
def test_soft_targets_by_hand_at_a_termination_and_at_a_time_limit(method: str) -> None:
    """Critics of what is seen alone: Q^-_1 = o + 2 and Q^-_2 = o + 5; Q_k = 0; alpha 1/2, pi uniform over two options.

    y = r + gamma (o' + 2 + log(2) / 2), with the *final* observation where the clock cut and r alone at a termination.
    """
    env = Scripted([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0], [0.0, 0.0]], [0.0, 1.0, 2.0, 3.0, 4.0],
                   ["", "terminated", "truncated", ""], [0.0, 50.0, 100.0, 0.0])  # fmt: skip
    found = find_method(method)
    config = found.configure({"num_envs": 1, "rollout_steps": 4, "critic_hidden": [], "hidden": [], "buffer_size": 8,
                              "gamma": 0.5, "temperature_start": 0.5, "batch_size": 64})  # fmt: skip
    made = found.learner_class()(env, (0,), config, training_reward="team_mean", total_frames=100)
    made.collect()
    for p in (*made.actor.network.parameters(), *made.critics.parameters(), *made.target_critics.parameters()):
        p.data.zero_()
    for network, bias in zip(made.target_critics.parts.values(), (2.0, 5.0)):
        weight, constant = network.parameters()
        weight.data[:, 0], constant.data[:] = 1.0, bias
    (batch,) = made.batches([0])
    bonus = math.log(2) / 2
    y = {0.0: 1 + 0.5 * (1 + 2 + bonus), 1.0: 2.0, 2.0: 4 + 0.5 * (100 + 2 + bonus)}
    seen = batch.observation[0, :, 0, 0].tolist()
    assert set(seen) == set(y)
    expected = 2 * sum(y[o] ** 2 for o in seen) / len(seen)
    assert float(made.critic_loss(batch).detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("task", ["options", "continuous"])
@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_of_the_actors_is_that_of_finite_differences(method: str, task: str) -> None:
    game = matrix(SHARED, 16) if task == "options" else Quadratic(16)
    made, batch = collected(method, game, activation="tanh", temperature_start=0.5)
    parameters = list(made.actor.network.parameters())
    slopes = torch.autograd.grad(made.actor_loss(batch).sum(), parameters)
    weight, slope = parameters[2], slopes[2]  # the last layer's
    for place in ((0, 0, 0), (1, 5, 1), (0, 20, 1)):
        losses = []
        for change in (1e-2, -1e-2):
            with torch.no_grad():
                weight[place] += change
                losses.append(made.actor_loss(batch).sum().double())
                weight[place] -= change
        assert float(slope[place]) == pytest.approx(float(losses[0] - losses[1]) / 2e-2, rel=0.02, abs=1e-4)


def trained(method: str, game: Game, updates: int, **settings: Any) -> Any:
    """Independent critics are paid by agent where they can be, and else see each other's choices as noise."""
    rates = {"learning_rate": 1e-2, "actor_learning_rate": 1e-2, "batch_size": 128}
    reward = "individual" if method == "isac" else "team_mean"
    made = learner(method, game, reward, **{**rates, **settings})
    while made.updates < updates:
        made.iterate()
    return made


@pytest.mark.parametrize(("method", "share"), [("isac", False), ("masac", True)])
def test_over_options_the_policy_is_the_softmax_of_values_at_its_target_entropy(method: str, share: bool) -> None:
    """The payoff is a sum: u / 2 of the first agent's option, u of the second's. alpha log pi differs likewise."""
    made = trained(method, matrix(SHARED, 16), 700, target_entropy_share=0.5, share_parameters=share,
                   temperature_start=0.25)  # fmt: skip
    log_p = torch.log_softmax(made.actor(torch.ones(2, 1, 2, 1))[:, 0].detach(), dim=-1)  # [R, N, A]
    entropy = -(log_p.exp() * log_p).sum(dim=-1)
    aim = 0.5 * math.log(3)
    assert (entropy.mean(dim=1) if share else entropy).sub(aim).abs().max() < 0.15
    rise = made.alpha.squeeze(1)[..., None] * log_p.diff(dim=-1)
    assert (rise - torch.tensor([[0.5, 0.5], [1.0, 1.0]])).abs().max() < 0.15


@pytest.mark.parametrize("method", METHODS)
def test_continuous_actions_reach_the_optimum_and_the_target_entropy(method: str) -> None:
    made = trained(method, Quadratic(16), 1200, target_entropy=-1.5, temperature_start=0.04)
    policy, seen = made.policy(), torch.ones(2 * 2000, 2, 1)
    start = policy.initial_state(len(seen), torch.arange(len(seen)))
    assert (policy.act(seen, start)[0][..., 0] - torch.tensor(OPTIMUM)).abs().max() < 0.15
    drawn = policy.act(seen, start, deterministic=False)[0] / 2.0  # actions are in -2..2
    expected = math.exp(-1.5) / math.sqrt(2 * math.pi * math.e)  # of a Gaussian of that entropy
    assert drawn.unflatten(0, (len(SEEDS), -1)).std(dim=1).mean().item() == pytest.approx(expected, rel=0.3)


@pytest.mark.parametrize("method", METHODS)
def test_play_is_uniform_over_legal_options_until_learning_starts(method: str) -> None:
    class Masked(Game):
        def _see(self, at: Tensor) -> Any:
            mask = torch.ones(len(at), 2, 3, dtype=torch.bool)
            mask[:, 1, 0] = False
            return super()._see(at)._replace(action_mask=mask)

    made = learner(method, Masked((SHARED,), (None,), 512), num_envs=256, buffer_size=20_000, learning_starts=10_000)
    for p in made.actor.network.parameters():
        p.data.fill_(1e3)  # whatever the actors would like
    made.collect()
    done = made.replay.room["action"][: made.replay.position].reshape(-1, 2)
    count = torch.stack([torch.bincount(done[:, i], minlength=3) for i in range(2)]) / len(done)
    assert count.flatten().tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0, 0.5, 0.5], abs=0.05)


def test_temperatures_are_kept_and_learned_per_replica() -> None:
    made = trained("isac", matrix(SHARED, 16), 100, share_parameters=False)
    assert made.alpha.shape == (2, 1, 2) and made.alpha.unique().numel() == 4
    other = learner("isac", matrix(SHARED, 16), "individual", share_parameters=False)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other.alpha, made.alpha)
