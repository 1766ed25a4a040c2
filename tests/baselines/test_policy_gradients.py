"""What small games say of every on-policy method; IA2C and MAA2C against PPO, COMA and HAPPO by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "learning"))
from games import CLIMBING, EASY, Game, matrix, two_step
from scripted import Scripted

from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.learning.joint import JointEnv, joint_mask, separate
from rlnet_bench.learning.on_policy import TeamLearner
from rlnet_bench.learning.policy_gradient import counterfactual, others_actions, permutations
from rlnet_bench.methods import find_method

SEEDS = (0, 1, 2)
SPREAD = "mpe/simple_spread-discrete-v1"
SPEAKER = "mpe/simple_speaker_listener-continuous-v1"
TINY: dict[str, Any] = {"num_envs": 4, "rollout_steps": 10, "hidden": [8], "critic_hidden": [8]}
# One setting for all games: nothing is annealed, so that what is learned depends on the number of iterations alone.
GAMES: dict[str, Any] = {
    "num_envs": 16, "rollout_steps": 8, "hidden": [32], "critic_hidden": [32], "learning_rate": 5e-3, "gamma": 0.99,
    "entropy_weight": 0.02, "anneal": False, "epochs": 4, "minibatches": 1, "width": 16,
}  # fmt: skip


def made(method: str, env: Any, seeds: tuple[int, ...] = SEEDS, reward: str = "team_mean", **settings: Any) -> Any:
    found = find_method(method)
    if method == "mat":
        settings.pop("hidden", None)
    config = found.configure({k: v for k, v in settings.items() if k in found.Config.model_fields})
    return found.learner_class()(env, seeds, config, training_reward=reward, total_frames=10**6)


def expected_return(learner: TeamLearner, game: Game) -> list[float]:
    """Mean return per episode of sampled play over the last rollout, per seed; episodes of ``game`` have one length."""
    rewards, ends = learner.rollout.rewards[..., 0].sum(dim=(0, 2)), learner.rollout.terminated.sum(dim=(0, 2))
    return (rewards / ends).tolist()


METHODS: list[Any] = ["ia2c", "maa2c", "coma", "happo", "central"]
METHODS += [pytest.param(name, marks=pytest.mark.slow) for name in ("commnet", "gnn", "mat")]


@pytest.mark.parametrize("method", METHODS)
def test_an_easy_game_is_solved_by_all(method: str) -> None:
    learner = made(method, matrix(EASY, 48), **GAMES)
    for _ in range(150):
        learner.iterate()
    assert min(expected_return(learner, matrix(EASY, 48))) > 3.7


@pytest.mark.parametrize("method", METHODS)
def test_values_reach_back_through_the_two_step_game(method: str) -> None:
    """A safe 7 or a coordinated 8: a team that moves in small steps from uniform play takes at least the 7."""
    learner = made(method, two_step(48), **GAMES)
    for _ in range(150):
        learner.iterate()
    assert min(expected_return(learner, two_step(48))) > 6.8


def test_one_policy_for_the_team_solves_the_climbing_game_and_independent_ones_do_not() -> None:
    """To the one, both choosing their first action is a choice of its own; the others learn to shun its halves."""
    found = {}
    for method in ("central", "ippo"):
        learner = made(method, matrix(CLIMBING, 48), **GAMES)
        for _ in range(150):
            learner.iterate()
        found[method] = expected_return(learner, matrix(CLIMBING, 48))
    assert min(found["central"]) > 10.0
    assert max(found["ippo"]) < 8.0


# -- advantage actor-critic ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a2c", "ppo"), [("ia2c", "ippo"), ("maa2c", "mappo")])
@pytest.mark.parametrize("task", [SPREAD, SPEAKER])
@pytest.mark.parametrize("share", [True, False])
def test_one_epoch_of_ppo_is_advantage_actor_critic(a2c: str, ppo: str, task: str, share: bool) -> None:
    """Where the ratio is 1 the clipped surrogate's gradient is the policy gradient; GAE(1) sums all rewards."""
    same = {**TINY, "share_parameters": share, "normalise_value": False, "entropy_weight": 0.02}
    one = made(a2c, make_env(task, 8), (0, 1), **same, n_step=10)
    settings = {"epochs": 1, "minibatches": 1, "gae_lambda": 1.0, "normalise_advantage": "none"}
    two = made(ppo, make_env(task, 8), (0, 1), **same, **settings)
    start = [p.detach().clone() for p in one.optimiser.parameters]
    for _ in range(2):
        first, second = one.iterate(), two.iterate()
    for mine, theirs, before in zip(one.optimiser.parameters, two.optimiser.parameters, start):
        assert not torch.equal(mine, before)
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-4)
    for name in ("value_loss", "entropy", "gradient_norm"):
        torch.testing.assert_close(first[name], second[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", ["ia2c", "maa2c"])
@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (["", "", "", ""], [-0.5, -6.5, -12.5, -11.0]),
        (["", "terminated", "", ""], [-8.0, -18.0, -12.5, -11.0]),
        (["", "truncated", "", ""], [17.0, 32.0, -12.5, -11.0]),
    ],
)
def test_two_step_advantages_by_hand(method: str, ends: list[str], expected: list[float]) -> None:
    """V(x) = 10 x sees 1 to 5 and, at the time limit, 10; rewards 1 to 4; gamma 1/2:
    A_0 = 1 + 2 / 2 + 30 / 4 - 10, and 1 + 2 / 2 - 10 where the task ends, 1 + 2 / 2 + 100 / 4 - 10 at the limit."""
    env = Scripted([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]], [1.0, 2.0, 3.0, 4.0, 5.0], ends, [0, 10.0, 0, 0])
    settings = {"num_envs": 1, "rollout_steps": 4, "gamma": 0.5, "n_step": 2, "hidden": [4], "critic_hidden": []}
    learner = made(method, env, (0,), **settings, normalise_value=False)
    with torch.no_grad():
        weight, bias = learner.critic.parameters()
        weight.zero_()
        weight[:, 0] = 10.0
        bias.zero_()
    learner.collect()
    advantage, returns = learner.advantages()
    assert [advantage[:, 0, 0, agent].tolist() for agent in range(2)] == [expected] * 2
    assert returns[:, 0, 0, 0].tolist() == [a + v for a, v in zip(expected, (10.0, 20.0, 30.0, 40.0))]


def test_advantages_have_the_units_in_which_the_critic_speaks() -> None:
    """Rewards a hundred times as large give the same advantages, once the returns are known."""
    found = []
    for scale in (1.0, 100.0):
        env = Scripted([[scale * x] * 2 for x in (1.0, 5.0, 3.0, 4.0)], [0.0] * 5, ["terminated"] * 4, [0.0] * 4)
        learner = made("ia2c", env, (0,), num_envs=1, rollout_steps=4, critic_hidden=[])
        for p in learner.critic.parameters():
            p.data.zero_()
        learner.collect()
        advantage, returns = learner.advantages()
        deviation = torch.tensor([1.0, 5.0, 3.0, 4.0]).std(correction=0)
        torch.testing.assert_close(advantage[:, 0, 0, 0], torch.tensor([1.0, 5.0, 3.0, 4.0]) / deviation)
        found.append(advantage)
    torch.testing.assert_close(*found)


# -- counterfactual advantages ---------------------------------------------------------------------------------


def test_counterfactual_advantages_by_hand() -> None:
    """Q = (1, 2, 6): on average 3 under uniform play, 1.5 where the third option is not legal."""
    q = torch.tensor([[1.0, 2.0, 6.0]] * 3)
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -1e9], [0.0, torch.tensor(3.0).log(), -1e9]])
    found = counterfactual(q, logits, torch.tensor([2, 1, 0]))
    torch.testing.assert_close(found, torch.tensor([6 - 3.0, 2 - 1.5, 1 - 1.75]))


def test_a_policy_s_own_mean_advantage_is_zero() -> None:
    q, logits = torch.randn(50, 4), torch.randn(50, 4)
    each = torch.stack([counterfactual(q, logits, torch.full((50,), u)) for u in range(4)], dim=-1)
    torch.testing.assert_close((torch.softmax(logits, dim=-1) * each).sum(dim=-1), torch.zeros(50), atol=1e-5, rtol=0)


def test_the_critic_does_not_see_what_the_agent_itself_did() -> None:
    found = others_actions(torch.tensor([1, 0]), 3)
    assert found.tolist() == [[0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0]]
    learner = made("coma", make_env(SPREAD, 8), (0, 1), **TINY)
    state, features = torch.randn(5, 54), torch.randn(5, 3, learner.actor.width)
    one, two = torch.tensor([[0, 1, 2]] * 5), torch.tensor([[4, 1, 2]] * 5)  # agent 0 does something else
    a, b = (learner.critic(learner.reads(state, features, u)[None].expand(2, -1, -1, -1)) for u in (one, two))
    assert torch.equal(a[:, :, 0], b[:, :, 0]) and not torch.equal(a[:, :, 1], b[:, :, 1])


@pytest.mark.parametrize(
    ("ends", "expected"),
    [(["", ""], [1 + 0.25 * 8 + 0.25 * 6, 6.0]), (["terminated", ""], [1.0, 6.0]), (["truncated", ""], [5.0, 6.0])],
)
def test_targets_of_the_critic_by_hand(ends: list[str], expected: list[float]) -> None:
    """Q' = 8 everywhere, rewards 1 and 2, gamma 1/2, lambda 1/2: y_1 = 2 + 8 / 2, y_0 = 1 + (8 + y_1) / 4."""
    env = Scripted([[1.0, 1.0], [2.0, 2.0]], [0.0] * 3, ends, [0.0] * 2)
    settings = {"gamma": 0.5, "td_lambda": 0.5, "normalise_value": False, "critic_minibatches": 1}
    learner = made("coma", env, (0,), num_envs=1, rollout_steps=2, critic_hidden=[], **settings)
    weight, bias = learner.target.parameters()
    weight.data.zero_()
    bias.data.fill_(8.0)
    learner.collect()
    assert [learner.targets()[:, 0, 0, agent].tolist() for agent in range(2)] == [expected] * 2


class Clocked(Game):
    """An endless game that the clock cuts after so many steps, by environment."""

    def __init__(self, periods: list[int]) -> None:
        super().__init__((EASY, CLIMBING), ((1, 0, 1), (0, 1, 1)), len(periods))
        self.periods, self.t = torch.tensor(periods), torch.zeros(len(periods), dtype=torch.int64)

    def step(self, actions: torch.Tensor) -> Any:
        step, self.t = super().step(actions), self.t + 1
        cut = self.t % self.periods == 0
        self.at = torch.where(cut, 0, self.at)
        now = self.current()
        return step._replace(observation=now.observation, state=now.state, truncated=cut)


def test_what_is_cut_beside_a_replica_does_not_move_its_targets() -> None:
    """Joint actions at a time limit are drawn by its step: alone a replica draws the same."""
    settings = {**TINY, "num_envs": 2, "critic_minibatches": 1}
    batch = made("coma", Clocked([2, 2, 3, 3]), (0, 1), **settings)
    alone = made("coma", Clocked([3, 3]), (1,), **settings)
    for learner in (batch, alone):
        with torch.no_grad():
            for p in learner.target.parameters():
                p.add_(torch.ones_like(p))  # joint actions differ in value
        learner.collect()
    assert len(batch.rollout.cuts()) > len(alone.rollout.cuts()) > 1
    torch.testing.assert_close(batch.targets()[:, 1], alone.targets()[:, 0])


def test_continuous_actions_are_refused() -> None:
    card = task_card(SPEAKER)
    assert "coma needs discrete actions" in str(find_method("coma").impossible(card, find_method("coma").configure({})))


# -- one agent after the other ---------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [SPREAD, SPEAKER])
@pytest.mark.parametrize("memory", ["none", "gru"])
def test_agents_take_turns_and_mind_those_before_them(task: str, memory: str) -> None:
    """In a turn one agent per replica moves. What is compounded in the end is the ratio of the joint policies."""
    settings = {"epochs": 2, "minibatches": 2, "learning_rate": 0.02, "memory": memory, "clip": 0.05}
    learner = made("happo", make_env(task, 8), (0, 1), **TINY, **settings)
    n = learner.env.card.num_agents
    seen: list[Any] = []
    plain = learner.compound

    def heard(data: Any) -> None:
        before = data["compound"].clone()
        plain(data)
        weights = torch.cat([p.detach().reshape(2, n, -1) for p in learner.actor.parameters()], dim=2)
        seen.append((learner.turn.tolist(), weights.clone(), before, data["compound"].clone(), data))

    learner.compound = heard
    for iteration in range(2):
        seen.clear()
        start = torch.cat([p.detach().reshape(2, n, -1) for p in learner.actor.parameters()], dim=2).clone()
        learner.iterate()
        assert len(seen) == n and torch.equal(seen[0][2], torch.ones_like(seen[0][2]))
        for turn, weights, _, _, _ in seen:
            moved = (weights != start).any(dim=2)
            assert moved.nonzero().tolist() == [[k, agent] for k, agent in enumerate(turn)]
            start = weights
        for k in range(2):
            assert sorted(turn[k] for turn, *_ in seen) == list(range(n))
        data, last = seen[-1][4], seen[-1][3]
        with torch.no_grad():
            everything = {name: x.unflatten(0, (10, 2, 4)).transpose(0, 1).flatten(1, 2) for name, x in data.items()}
            if memory == "gru":
                everything["memory"] = learner.rollout.start.unflatten(0, (2, 4))
                everything["begins"] = learner.rollout.begins()[:10].transpose(0, 1)
            log_p = learner.actor.evaluate(everything)[0]
        ratio = torch.exp((log_p - everything["log_p"]).sum(dim=2, keepdim=True))
        found = last.unflatten(0, (10, 2, 4)).transpose(0, 1).flatten(1, 2)
        torch.testing.assert_close(found, ratio, atol=1e-5, rtol=1e-4)
        assert float((ratio - 1).abs().max()) > 0.01
        (actor,) = learner.optimiser.blocks["actor"]
        assert actor.steps == 0 and actor.own.flatten().tolist() == [4.0 * (iteration + 1)] * 2 * n
        assert [block.steps for block in learner.optimiser.blocks["critic"]] == [4 * (iteration + 1)]


def test_a_team_of_one_is_mappo() -> None:
    """One agent, one turn: nobody has moved before it."""
    settings = {**TINY, "share_parameters": False, "entropy_weight": 0.01}
    one, two = (made(method, JointEnv(two_step(12)), **settings) for method in ("happo", "mappo"))
    for _ in range(2):
        one.iterate()
        two.iterate()
    for mine, theirs in zip(one.optimiser.parameters, two.optimiser.parameters):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)


def test_orders_are_drawn_by_replica_and_iteration() -> None:
    keys = torch.arange(500)
    orders = permutations(keys, 3, 3)
    assert torch.equal(orders.sort(dim=1).values, torch.arange(3).expand(500, 3))
    counts = torch.bincount(orders[:, 0] * 3 + orders[:, 1], minlength=9).view(3, 3).fill_diagonal_(83)
    assert int((counts - 83).abs().max()) < 40  # six orders, 83 of each
    assert torch.equal(permutations(keys[7:8], 3, 3), orders[7:8]) and not torch.equal(permutations(keys, 4, 3), orders)


# -- the team as one agent -------------------------------------------------------------------------------------


def test_joint_actions_and_masks_are_those_of_the_agents() -> None:
    sizes = (2, 3, 4)
    joint = torch.arange(24)
    apart = separate(joint, sizes)
    assert apart.tolist() == [[a, b, c] for a in range(2) for b in range(3) for c in range(4)]
    mask = torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(0)) > 0.4
    legal = joint_mask(mask, sizes)
    assert legal is not None and legal.shape == (5, 1, 24)
    for u in range(24):
        each = torch.stack([mask[:, i, apart[u, i]] for i in range(3)]).all(dim=0)
        assert torch.equal(legal[:, 0, u], each)


@pytest.mark.parametrize(
    ("task", "heads", "outputs"),
    [(SPREAD, "joint", 125), ("vmas/balance-discrete-v1", "factorised", 9), (SPEAKER, "gaussian", 5)],
)
def test_the_kind_of_heads_stands_in_the_spec(task: str, heads: str, outputs: int) -> None:
    learner = made("central", make_env(task, 4), (0,), **TINY)
    assert learner.policy().spec()["heads"] == heads and learner.actor.actions.outputs == outputs
