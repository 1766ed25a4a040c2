"""IQL, VDN and QMIX: what theory says of small games, mixing that is monotonic, one agent is DQN, refusals."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "learning"))
from games import CLIMBING, EASY, Game, matrix, two_step

from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.learning.mixing import MonotonicMixer
from rlnet_bench.learning.q_learning import QLearner
from rlnet_bench.methods import find_method
from rlnet_bench.runs.check import check_method
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.suite import Suite

METHODS = ("iql", "vdn", "qmix")
SEEDS = (0, 1, 2)
SPREAD = "mpe/simple_spread-discrete-v1"
# Uniform play: what is learned depends on the method alone.
UNIFORM = {
    "num_envs": 8, "rollout_steps": 4, "updates_per_iteration": 4, "batch_size": 32, "buffer_size": 2000,
    "learning_starts": 256, "learning_rate": 3e-3, "hidden": [32], "target_every": 50, "target_tau": 1.0,
    "epsilon_start": 1.0, "epsilon_end": 1.0, "n_step": 1, "gamma": 0.99,
}  # fmt: skip


def learner(method: str, game: Game, **settings: Any) -> QLearner:
    found = find_method(method)
    config = found.configure({k: v for k, v in {**UNIFORM, **settings}.items() if k in found.Config.model_fields})
    made: QLearner = found.learner_class()(game, SEEDS, config, training_reward="team_mean", total_frames=10**6)
    return made


def trained(method: str, game: Game, updates: int = 1200, **settings: Any) -> QLearner:
    made = learner(method, game, **settings)
    while made.updates < updates:
        made.iterate()
    return made


def greedy_return(made: QLearner, game: Game) -> list[float]:
    """Return of greedy play from the first state, per seed."""
    policy, now = made.policy(), game.reset(torch.zeros(game.num_envs))
    state, total, running = policy.initial_state(game.num_envs), torch.zeros(game.num_envs), torch.ones(game.num_envs)
    for _ in range(2):
        action, state = policy.act(now.observation, state)
        step = game.step(action)
        total, running = total + running * step.reward[:, 0], running * ~step.terminated
        now = step  # type: ignore[assignment]
    return total.view(len(SEEDS), -1)[:, 0].tolist()


@pytest.mark.parametrize("method", METHODS)
def test_an_easy_game_is_solved_by_all(method: str) -> None:
    made = trained(method, matrix(EASY, 24), updates=500)
    assert greedy_return(made, matrix(EASY, 3)) == [4.0] * 3


def test_in_the_two_step_game_qmix_finds_what_vdn_cannot_represent() -> None:
    found = {m: greedy_return(trained(m, two_step(24)), two_step(3)) for m in ("vdn", "qmix")}
    assert found["qmix"] == [8.0] * 3
    assert found["vdn"] == [7.0] * 3


def test_in_the_climbing_game_independent_learners_shun_the_optimum() -> None:
    """Against uniform partners the actions of the optimum are worth -6.3, those of the third row 1.7."""
    made = trained("iql", matrix(CLIMBING, 24), updates=500)
    assert greedy_return(made, matrix(CLIMBING, 3)) == [5.0] * 3
    q = made.online(torch.ones(3, 1, 2, 1))[:, 0].detach()  # [R, N, A]
    means = torch.tensor(CLIMBING).mean(dim=1), torch.tensor(CLIMBING).mean(dim=0)
    assert (q - torch.stack(means)).abs().max() < 2.0


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_the_mixture_rises_with_every_utility(scale: float) -> None:
    mixer = MonotonicMixer(3, 5, 8, 16, (0, 1))
    g = torch.Generator().manual_seed(0)
    for p in mixer.parameters():
        with torch.no_grad():
            p.copy_(torch.randn(p.shape, generator=g) * scale)
    q = (torch.randn(2, 500, 3, generator=g) * 5).requires_grad_()
    state = torch.randn(2, 500, 5, generator=g)
    total = mixer(q, state)
    assert total.shape == (2, 500, 1)
    (slope,) = torch.autograd.grad(total.sum(), q)
    assert bool((slope >= 0).all()) and float((slope > 0).float().mean()) > 0.5
    stacked = mixer(q.view(2, 4, 125, 3).transpose(0, 1), state.view(2, 4, 125, 5).transpose(0, 1))
    torch.testing.assert_close(stacked.transpose(0, 1).flatten(1, 2), total)


def test_a_mixer_by_hand() -> None:
    mixer = MonotonicMixer(2, 1, 1, 1, (0,))
    values = {"w1.weight.0": 1, "w1.bias.0": 0, "w1.weight.1": [[-2.0, 3.0]], "w1.bias.1": 0, "b1.weight.0": 1,
              "b1.bias.0": 0, "w2.weight.0": 1, "w2.bias.0": 0, "w2.weight.1": -4, "w2.bias.1": 0, "b2.weight.0": 1,
              "b2.bias.0": 0, "b2.weight.1": 5, "b2.bias.1": 0}  # fmt: skip
    mixer.load_state_dict(
        {n: torch.as_tensor(values[n], dtype=torch.float32).expand(p.shape) for n, p in mixer.named_parameters()}
    )
    # state 1, with t = tanh(1): W_1 = (2t, 3t), b_1 = 1, w_2 = 4t, b_2 = 5t
    total, t = mixer(torch.tensor([[[1.0, 2.0], [-1.0, -1.0]]]), torch.ones(1, 2, 1)), math.tanh(1)
    by_hand = [4 * t * (2 * t + 6 * t + 1) + 5 * t, 4 * t * (math.exp(1 - 5 * t) - 1) + 5 * t]
    assert total.flatten().tolist() == pytest.approx(by_hand)


def test_what_a_state_makes_of_utilities_has_bounds() -> None:
    """However far agents go: the slopes of Q_tot, at most those of the hypernetworks' last layers."""
    mixer = MonotonicMixer(3, 5, 8, 16, (0, 1))
    g = torch.Generator().manual_seed(0)
    state = torch.randn(2, 500, 5, generator=g)
    q = torch.randn(2, 500, 3, generator=g).requires_grad_()

    def most(p: MonotonicMixer, name: str) -> float:
        last = dict(p.parts[name].named_parameters())
        return float(last["weight.1"].detach().abs().sum(dim=-2).max() + last["bias.1"].detach().abs().max())

    bound = 8 * most(mixer, "w1") * most(mixer, "w2")
    for scale in (1.0, 1e3, 1e6):
        (slope,) = torch.autograd.grad(mixer(q, state * scale).sum(), q)
        assert float(slope.detach().max()) <= bound


def dqn_step(made: QLearner) -> dict[str, torch.Tensor]:
    """The weights after one update as DQN's authors write it, in plain torch, for one agent."""
    online, target, c = made.online.network.mlp, made.target.network.mlp, made.config
    assert online is not None and target is not None
    weights = {n: p.detach().clone().requires_grad_() for n, p in online.named_parameters()}

    def q(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(x @ parameters["weight.0"] + parameters["bias.0"])
        return hidden @ parameters["weight.1"] + parameters["bias.1"]

    (batch,) = made.batches([made.updates])
    x, after = (torch.cat((o[:, :, 0], torch.ones(*o.shape[:2], 1)), dim=-1)  # the id of the only agent
                for o in (batch.observation, batch.next_observation))  # type: ignore[union-attr]  # fmt: skip
    slow = dict(target.named_parameters())
    best = q(weights, after).argmax(dim=-1, keepdim=True)
    y = batch.reward + batch.discount * q(slow, after).gather(-1, best)  # type: ignore[union-attr]
    loss = (y.detach() - q(weights, x).gather(-1, batch.action)).square().mean(dim=(1, 2)).sum()
    loss.backward()
    for seed in range(len(SEEDS)):
        norm = torch.stack([p.grad[seed].square().sum() for p in weights.values()]).sum().sqrt()  # type: ignore[index]
        for p in weights.values():
            p.grad[seed] *= min(1.0, c.max_grad_norm / float(norm + 1e-6))  # type: ignore[index]
    torch.optim.Adam(weights.values(), lr=c.learning_rate, eps=1e-5).step()
    return {n: p.detach() for n, p in weights.items()}


class Alone(Game):
    """The first agent of a game whose second always takes the first action."""

    def __init__(self, num_envs: int) -> None:
        super().__init__((((1.0, 0.0), (0.5, 0.0)), ((2.0, 0.0), (3.0, 0.0))), ((0, 1), None), num_envs)
        from dataclasses import replace

        self.card = replace(self.card, agents=("a",), action_sizes=(2,), observation_sizes=(2,))

    def _see(self, at: torch.Tensor) -> Any:
        seen = super()._see(at)
        return seen._replace(observation=seen.observation[:, :1])

    def step(self, actions: torch.Tensor) -> Any:
        step = super().step(torch.cat((actions, torch.zeros_like(actions)), dim=1))
        return step._replace(reward=step.reward[:, :1], agent_terminated=step.agent_terminated[:, :1])


@pytest.mark.parametrize("method", METHODS)
def test_with_one_agent_it_is_dqn(method: str) -> None:
    """QMIX's mixture of one utility is made the identity: elu(1 q + 100) - 100."""
    made = learner(method, Alone(24), learning_starts=96, updates_per_iteration=1)
    for _ in range(2):
        made.iterate()
    assert made.updates == 0
    if method == "qmix":
        for mixer in (made.mix, made.mix_target):  # type: ignore[attr-defined]
            state = {n: torch.zeros_like(p) for n, p in mixer.named_parameters()}
            state["w1.bias.1"][:, 0, 0] = state["w2.bias.1"][:, 0, 0] = 1.0
            state["b1.bias.0"][:], state["b2.bias.1"][:] = 100.0, -100.0
            mixer.load_state_dict(state)
    made.collect()
    expected = dqn_step(made)
    (batch,) = made.batches([made.updates])
    if method == "qmix":  # the mixer's own gradient is DQN's of nothing: only the utility's is compared
        made.optimiser.max_grad_norm = float("inf")
    made.learn_from(batch)
    for name, weight in made.online.network.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_is_refused_at_planning(method: str) -> None:
    def planned(task: str = SPREAD, frames: int = 100_000, **settings: Any) -> None:
        make_plan(Suite.model_validate({
            "name": "t", "tasks": [task], "methods": [{"id": method, "set": settings}], "seeds": 2,
            "budget": {"frames": frames},
        }))  # fmt: skip

    planned()
    with pytest.raises(BadInput, match=f"{method} needs discrete actions, and .* has continuous ones"):
        planned("mpe/simple_spread-continuous-v1")
    with pytest.raises(
        BadInput, match=r"episodes of .* have 25 steps; expected .* burn_in 4 \+ sequence_length 22 = 26"
    ):
        planned(memory="gru", sequence_length=22)
    with pytest.raises(BadInput, match=r"buffer_size: expected at least 4 steps of 64 environments = 256, found 48"):
        planned(n_step=3, buffer_size=48)
    with pytest.raises(BadInput, match="a warm-up of 1,000 and one iteration"):
        planned(frames=1000)
    with pytest.raises(BadInput, match="at least one hidden layer"):
        planned(memory="gru", hidden=[])


def test_five_seeds_fit_into_a_gigabyte() -> None:
    for method in METHODS:
        config = find_method(method).configure({})
        for task in (SPREAD, "lbf/8x8-2p-2f-coop-v1", "lbf/10x10-3p-3f-v1"):
            assert 2**20 < config.memory_bytes(task_card(task), 5) < 2**30


def test_an_agent_without_a_legal_action_is_named() -> None:
    class Stuck(Game):
        def _see(self, at: torch.Tensor) -> Any:
            mask = torch.ones(len(at), 2, 3, dtype=torch.bool)
            mask[4, 1] = False
            return super()._see(at)._replace(action_mask=mask)

    with pytest.raises(BadInput, match="agent 1 has no legal action at the start of episode 0 of environment 4"):
        learner("iql", Stuck((EASY,), (None,), 24))


FADING = f"{Path(__file__).parent.parent / 'envs' / 'pettingzoo' / 'foreign_envs.py'}:Fading"
LONG = [pytest.mark.slow, pytest.mark.minutes]  # its environments are processes
VARIANTS = [
    ("qmix", SPREAD, {"memory": "gru"}, "team_mean"),
    ("vdn", "mpe/simple_speaker_listener-discrete-v1", {"share_parameters": False, "n_step": 3}, "team_mean"),
    ("iql", SPREAD, {"memory": "gru", "share_parameters": False, "burn_in": 0}, "individual"),
    pytest.param("qmix", FADING, {}, "team_mean", marks=LONG),
    pytest.param("iql", FADING, {"share_parameters": False}, "individual", marks=LONG),
    pytest.param("vdn", FADING, {"memory": "gru", "sequence_length": 2, "burn_in": 1}, "team_mean", marks=LONG),
]


@pytest.mark.parametrize(("method", "task", "settings", "reward"), VARIANTS)
def test_variants_keep_the_contract(method: str, task: str, settings: dict[str, Any], reward: Any) -> None:
    """Memory, networks of their own, n steps, individual rewards; masks, unlike agents and agents that die."""
    check_method(method, task, settings=settings, training_reward=reward, seeds=(0, 1), faults=1).raise_if_failed()
