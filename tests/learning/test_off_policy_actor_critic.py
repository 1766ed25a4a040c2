"""Targets by hand, gradients against finite differences, whose information critics read, toys with a known optimum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from games import EASY, Game
from torch import Tensor

from rlnet_bench.envs.contract import Transition
from rlnet_bench.learning.off_policy_actor_critic import ActorCriticLearner, living_mean, regression
from rlnet_bench.learning.replay import Transitions
from rlnet_bench.methods import find_method

SEEDS = (0, 1)
DETERMINISTIC = ("iddpg", "maddpg")
JOINT = ("maddpg", "masac")
TOY = {
    "num_envs": 8, "rollout_steps": 4, "updates_per_iteration": 4, "batch_size": 32, "buffer_size": 2000,
    "learning_starts": 256, "learning_rate": 3e-3, "hidden": [32], "critic_hidden": [32], "gamma": 0.9,
}  # fmt: skip
OPTIMUM = (0.5, -1.5)  # of actions in -2..2: the second is near the edge


class Quadratic(Game):
    """One step of two agents; each is paid by its own distance from its optimum, or all by everybody's."""

    def __init__(self, num_envs: int) -> None:
        super().__init__((EASY,), (None,), num_envs)
        self.card = replace(
            self.card, action_kind="continuous", action_sizes=(1, 1), action_low=-2.0, action_high=2.0,
            observation_sizes=(1, 1),
        )  # fmt: skip

    def step(self, actions: Tensor) -> Transition:
        step = super().step(torch.zeros(self.num_envs, 2, dtype=torch.int64))
        return step._replace(reward=-(actions[..., 0] - torch.tensor(OPTIMUM)).square())


def learner(method: str, game: Game | None = None, reward: str = "team_mean", **settings: Any) -> Any:
    found = find_method(method)
    return found.learner_class()(
        game or Quadratic(16), SEEDS, found.configure({**TOY, **settings}), training_reward=reward, total_frames=12_000
    )


def collected(method: str, game: Game | None = None, **settings: Any) -> tuple[ActorCriticLearner[Any], Transitions]:
    """A learner after its warm-up, and the batch of its next update."""
    made = learner(method, game, **settings)
    for _ in range(10):
        made.iterate()
    (batch,) = made.batches([made.updates])
    return made, batch


FAST_ACTORS = {"actor_learning_rate": 3e-3}  # as fast as their critics, which send them to an edge at first


@pytest.mark.parametrize(
    ("method", "updates", "settings"),
    [("iddpg", 600, {}), ("maddpg", 600, {"share_parameters": False}), ("maddpg", 1000, FAST_ACTORS)],
)
def test_a_quadratic_toy_reaches_its_optimum(method: str, updates: int, settings: dict[str, Any]) -> None:
    """Independent critics are paid by agent: in the team's mean they cannot tell others' exploration from their own."""
    made = learner(method, reward="team_mean" if method in JOINT else "individual", **settings)
    while made.updates < updates:
        made.iterate()
    policy = made.policy()
    action, _ = policy.act(torch.ones(2, 2, 1), policy.initial_state(2))
    assert (action[..., 0] - torch.tensor(OPTIMUM)).abs().max() < 0.25


@pytest.mark.parametrize("method", DETERMINISTIC)
def test_a_saturated_actor_is_drawn_back_whatever_critics_say(method: str) -> None:
    """u = -9, where tanh is flat: dL / du = 2 w u per agent, the mean over both; an unused dimension is none."""
    for weight, expected in ((0.0, 0.0), (1e-3, 2e-3 * -9.0)):
        made, batch = collected(method, saturation_weight=weight)
        *_, last, bias = made.actor.network.parameters()
        last.data.zero_()
        bias.data.fill_(-9.0)
        (slope,) = torch.autograd.grad(made.actor_loss(batch).sum(), bias)
        assert slope.flatten().tolist() == pytest.approx([expected] * 2, abs=1e-5)
    made.actor.actions.used = torch.tensor([[1.0], [0.0]])
    assert made.actor.mean_square(torch.full((2, 3, 2, 1), 3.0))[0, 0].tolist() == [9.0, 0.0]


def test_targets_by_hand() -> None:
    """A row that goes on, one that terminated, one that the clock cut (its value is the final observation's)."""
    reward = torch.tensor([[[1.0], [1.0], [2.0]]])  # [R, M, V]
    discount = torch.tensor([[[0.9], [0.0], [0.9]]])
    nothing = torch.zeros(1, 3, 2, 1)
    batch = Transitions(nothing, nothing, reward, discount, nothing)
    following = torch.tensor([[[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]]])
    value = torch.zeros(2, 1, 3, 2)
    value[1] = 1.0
    y = torch.tensor([[10.0, 19.0], [1.0, 1.0], [47.0, 56.0]])
    expected = y.square().mean() + (y - 1).square().mean()
    torch.testing.assert_close(regression(value, batch, following), expected[None])


def test_the_dead_do_not_move_actors() -> None:
    x = torch.tensor([[[1.0, 2.0], [3.0, 5.0]]])
    assert float(living_mean(x, torch.tensor([[[True, False], [True, True]]]))) == 3.0
    assert float(living_mean(x, None)) == 2.75


@pytest.mark.parametrize("method", DETERMINISTIC)
def test_the_gradient_through_the_critic_is_that_of_finite_differences(method: str) -> None:
    made, batch = collected(method, activation="tanh")
    parameters = list(made.actor.network.parameters())
    slopes = torch.autograd.grad(made.actor_loss(batch).sum(), parameters)
    weight, slope = parameters[2], slopes[2]  # the last layer's
    for place in ((0, 0, 0), (1, 5, 0), (0, 20, 0)):
        losses = []
        for change in (1e-2, -1e-2):
            with torch.no_grad():
                weight[place] += change
                losses.append(made.actor_loss(batch).sum().double())
                weight[place] -= change
        assert float(slope[place]) == pytest.approx(float(losses[0] - losses[1]) / 2e-2, rel=0.02, abs=1e-4)


@pytest.mark.parametrize("method", ["iddpg", "maddpg", "isac", "masac"])
def test_whose_actions_and_observations_critics_read(method: str) -> None:
    made, batch = collected(method)
    assert (batch.state is not None) == (method in JOINT)

    def values(observation: Tensor, action: Tensor, state: Tensor | None) -> Tensor:
        return made.critics(observation, state, action)[0].detach()

    before = values(batch.observation, batch.action, batch.state)
    action = batch.action.clone()
    action[:, :, 1] += 0.5
    moved = (values(batch.observation, action, batch.state) - before).abs().amax(dim=(0, 1))
    assert moved[1] > 0 and (moved[0] > 0) == (method in JOINT)
    seen = batch.observation.clone()
    seen[:, :, 1] += 1.0
    moved = (values(seen, batch.action, batch.state) - before).abs().amax(dim=(0, 1))
    assert bool((moved > 0).any()) == (method not in JOINT) and moved[0] == 0
    # What agent 0 would do instead enters its own value alone.
    own = batch.action.clone()
    own[:, :, 0] += 0.5
    moved = (made.critics(batch.observation, batch.state, batch.action, own)[0] - before).abs().amax(dim=(0, 1))
    assert moved[0] > 0 and moved[1] == 0


def test_exploration_falls_and_sampled_play_is_its_end() -> None:
    made = learner("iddpg", noise_start=0.4, noise_end=0.2)
    output, noise = torch.zeros(2, 4, 2, 1), torch.ones(2, 4, 2, 1)
    assert made.actor.uniform(torch.linspace(-3, 3, 7)[:, None, None, None])[6].item() == pytest.approx(
        0.9973, abs=1e-4
    )
    made.frames = 300
    assert made.explore(output, noise).unique().tolist() == pytest.approx([0.39])
    made.frames = 3_000
    assert made.explore(output, noise).unique().tolist() == pytest.approx([0.3])
    made.frames = 12_000
    assert made.explore(output, noise).unique().tolist() == pytest.approx([0.2])
    assert made.policy().spec()["head"]["noise"] == 0.2
    policy, seen = made.policy(), torch.ones(4000, 2, 1)
    start = policy.initial_state(4000, torch.arange(4000))
    drawn = policy.act(seen, start, deterministic=False)[0] / 2.0  # actions are in -2..2
    assert float(drawn.std()) == pytest.approx(0.2, abs=0.01)


def test_target_networks_follow_and_freeze_with_their_replica() -> None:
    made, _ = collected("iddpg", target_tau=0.5)
    slow, fast = next(iter(made.target_critics.parameters())), next(iter(made.critics.parameters()))
    assert not torch.equal(slow, fast)
    with torch.no_grad():
        fast[1] = float("nan")
    made.iterate()
    assert made.frozen.tolist() == [False, True] and made.divergences[0].seed == 1
    for target in made.held():
        assert bool(target[0].any() if target.ndim == 3 and target.shape[1] > 1 else True) and not bool(target[1].any())
