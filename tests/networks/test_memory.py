"""`memory: gru`: what is remembered while acting is what is learned from, and it serves its purpose."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import LBF, MIXED, SMOOTH, SPREAD, differing, learner, trained, weights
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.contract import Reset, Scene, Transition, VectorEnv
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.errors import ImpossibleCell
from rlnet_bench.learning.agents import AgentNetwork
from rlnet_bench.learning.ppo import Batch
from rlnet_bench.learning.recurrent import Recurrent
from rlnet_bench.methods import check_possible
from rlnet_bench.networks.build import Network, continuous, discrete, nominal_card
from rlnet_bench.networks.graph import expand
from rlnet_bench.networks.learner import NetworkLearner
from rlnet_bench.networks.losses import cluster_loss
from rlnet_bench.networks.method import NetworkConfig, method_from_json
from rlnet_bench.networks.policy import NetworkPolicy
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.runs.check import check_method
from rlnet_bench.runs.checkpoint import flatten, unflatten


def crew(**motor: Any) -> NetworkSpec:
    """Memory on two levels, one of them choosing options, beside a slow vertex without."""
    return (
        Network("rememberers", hidden=[8])
        .vertex("top", action=continuous(2), period=3)
        .vertex("boss", count=2, action=discrete(3), memory="gru", critic="subtree")
        .motors("motor", memory="gru", **motor)
        .edge("top", "boss")
        .edge("boss", "motor")
        .build()
    )


OWN = {"instruction": continuous(2)}


def test_the_unit_is_torchs() -> None:
    ours = Recurrent((5, 4, 6, 2), [3, 9], output_gain=0.5)
    theirs = torch.nn.GRU(6, 6)
    with torch.no_grad():
        for p in (ours.read_bias, ours.recall_bias):
            p.normal_()
        theirs.weight_ih_l0.copy_(ours.read[1].T)
        theirs.weight_hh_l0.copy_(ours.recall[1].T)
        theirs.bias_ih_l0.copy_(ours.read_bias[1, 0])
        theirs.bias_hh_l0.copy_(ours.recall_bias[1, 0])
    x, h = torch.randn(2, 7, 3, 5), torch.randn(2, 3, 6)
    out, after = ours(x, h)
    seen = torch.tanh(ours.trunk(x.flatten(1, 2)))[1].view(7, 3, 6)
    expected, _ = theirs(seen, h[None, 1].contiguous())
    assert torch.allclose(after[1], expected, atol=1e-6)
    assert torch.allclose(out[1], expected @ ours.head.weights[0][1] + ours.head.biases[0][1], atol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_an_episode_that_begins_forgets(shared: bool) -> None:
    net = AgentNetwork((5, 4, 2), [1, 2] if shared else [1, 2, 3, 4, 5, 6], 2, 3, memory="gru")
    x, h = torch.randn(2, 6, 4, 3, 5), torch.randn(2, 4, 3, 4)  # [R, T, n, K, F]
    begins = torch.zeros(2, 6, 4, dtype=torch.bool)
    begins[:, 2, 1] = True
    out, after = net.along(x, h, begins)
    for n in range(4):
        now = h[:, n : n + 1]
        for t in range(6):
            now = torch.zeros_like(now) if (t, n) == (2, 1) else now
            one, state = net.along(x[:, t : t + 1, n : n + 1], now)
            now = state[:, 0]
            assert torch.allclose(one[:, 0, 0], out[:, t, n], atol=1e-6)
            assert torch.allclose(now[:, 0], after[:, t, n], atol=1e-6)


@pytest.mark.parametrize("task", [SPREAD, SMOOTH, LBF])
@pytest.mark.parametrize("share", [False, True])
def test_probabilities_of_the_rollout_are_found_again(task: str, share: bool) -> None:
    """Episodes end within the rollout, and the second one begins in the middle of an episode."""
    spec = crew(**OWN) if task == SMOOTH else crew()
    made = trained(1, spec, task, rollout_steps=30, share_parameters=share)
    made.collect()
    assert made.rollout.begins().any() and any(bool((h != 0).any()) for h in made.rollout.start.values())
    data = made.estimator.estimate()
    envs = torch.tensor([[2, 0, 3], [1, 3, 0]])
    seen = 0
    for net in made.nets:
        if net.is_recurrent:
            rows, memory = made._sequences(net.stack.number, envs)
            part = {k: v[rows] for k, v in data[net.stack.number].items()}
            x = part["features"].unflatten(1, (30, -1))
            outputs, _ = net.outputs_along(x, memory["memory"], memory["begins"])
            log_p, _ = net.stats(outputs, part.get("env"), part.get("own"), part.get("mask"))
            assert torch.allclose(log_p, part["log_p"], atol=1e-5)
            seen += 1
    assert seen == 2


def test_critics_remember_step_by_step() -> None:
    """By hand over two rollouts; a last observation is valued with what was known in its episode."""
    made = learner(crew(), SPREAD, rollout_steps=20, normalise_value=False)
    memory: dict[int, Tensor] = {}
    for i in range(2):
        made.collect()
        made.frames += made.frames_per_iteration
        for buffer in made.rollout.stacks:
            net, number = buffer.net, buffer.net.stack.number
            if not net.is_recurrent:
                continue
            value, final = made.estimator.memories[number].values(net.values_along, buffer.valued, buffer.final)
            h = memory.get(number, torch.zeros_like(made.estimator.memories[number].now))
            for t in range(20):
                one, after = net.values_along(buffer.valued[t][:, None], h)
                h = after[:, 0]
                assert torch.allclose(value[t], one[:, 0], atol=1e-5)
                if made.rollout.truncated[t].any():
                    last, _ = net.values_along(buffer.final[t][:, None], h)
                    assert torch.allclose(final[t], last[:, 0], atol=1e-5)
                    h = torch.zeros_like(h)
            memory[number] = h
            assert torch.allclose(made.estimator.memories[number].now, h, atol=1e-5)
        assert made.rollout.truncated.any() == bool(i)


def test_gradients_through_time_equal_finite_differences() -> None:
    made = learner(crew(**OWN), SMOOTH, rollout_steps=30)
    made.collect()
    data = made.estimator.estimate()
    for p in made.optimiser.parameters:
        p.data = p.data.double()
    (net,) = [n for n in made.nets if n.is_recurrent and n.stack.is_motor]
    number = net.stack.number
    rows, memory = made._sequences(number, torch.tensor([[0, 1], [2, 3]]))
    part = {k: v[rows] for k, v in data[number].items()} | memory
    part = {k: v.double() if v.is_floating_point() else v for k, v in part.items()}

    def loss() -> Tensor:
        return cluster_loss([net], {number: Batch(part, rows.shape[1])}, made.config)[0][number].total.sum()

    loss().backward()
    policy, critic = net.policy.gru, net.critic.gru
    for parameter in (policy.recall, policy.trunk.weights[0], critic.recall, critic.read):
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for i in gradient.abs().topk(2).indices.tolist():
            kept, found = float(flat[i]), []
            for step in (1e-5, -1e-5):
                flat[i] = kept + step
                with torch.no_grad():
                    found.append(float(loss()))
            flat[i] = kept
            assert gradient[i] != 0
            assert (found[0] - found[1]) / 2e-5 == pytest.approx(float(gradient[i]), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("task", [SPREAD, LBF])
def test_training_continues_to_the_bit(task: str) -> None:
    one, two = trained(2, crew(), task), learner(crew(), task)
    two.load_state_dict(unflatten(*flatten(one.state_dict())))
    for _ in range(2):
        one.iterate()
        two.iterate()
    assert differing(weights(one), weights(two)) == []
    assert all(torch.equal(a, b) for a, b in zip(one.optimiser.parameters, two.optimiser.parameters))


def test_replicas_do_not_know_of_each_other() -> None:
    both, alone = trained(3, crew(), LBF, (4, 7)), trained(3, crew(), LBF, (7,))
    other = weights(alone)
    for name, value in weights(both).items():
        assert torch.allclose(value[len(value) // 2 :], other[name], atol=1e-6)


def test_a_replica_that_is_no_number_any_more_forgets() -> None:
    made, healthy = trained(1, crew(), LBF), trained(1, crew(), LBF)
    for net in made.nets:
        for p in (net.policy, net.critic) if net.is_recurrent else ():
            p.gru.recall.data[: len(p.gru.recall) // 2] = float("nan")
    for _ in range(2):
        made.iterate()
        healthy.iterate()
    assert made.frozen.tolist() == [True, False]
    kept = [*made.memory.now.values(), *(m.now for m in made.estimator.memories.values())]
    assert all(bool(h.float().isfinite().all()) for h in kept)
    for name, value in weights(healthy).items():
        assert torch.equal(value[len(value) // 2 :], weights(made)[name][len(value) // 2 :])


def test_a_policy_acts_as_in_training_and_loads_from_weights() -> None:
    made = trained(1, crew(), LBF)
    policy = NetworkPolicy.rebuild(made.policy().spec(), task_card(LBF), (0, 1))
    policy.load_state_dict(weights(made))
    env = make_env(task_card(LBF), 8)
    now: Any = env.reset(rng.env_keys((0, 1), rng.Stream.TRAINING_ENV, 4))
    state = policy.initial_state(8, made.action_keys)
    fresh = made.env.reset(rng.env_keys((0, 1), rng.Stream.TRAINING_ENV, 4))
    made.rollout.collect(made.action_keys, 0, fresh, made.executor.initial_memory(8))
    motors = next(b for b in made.rollout.stacks if b.net.stack.is_motor)
    reset = torch.ones(8, dtype=torch.bool)
    for t in range(12):
        action, state = policy.act(now.observation, state, now.action_mask, reset, deterministic=False)
        assert torch.equal(action.view(2, 4, -1), motors.env[t])
        now = env.step(action)
        reset = now.terminated | now.truncated


# -- a task of memory ----------------------------------------------------------------------------------------


class Cue(VectorEnv):
    """Two agents are each shown one of two cues at the first of five steps, and asked for it at the last."""

    def __init__(self, num_envs: int) -> None:
        card = nominal_card(agents=2, observation=4, actions=2)
        self.card = dataclasses.replace(card, horizon=5, can_terminate=False)
        self.num_envs, self.device = num_envs, torch.device("cpu")

    def reset(self, seeds: Tensor) -> Reset:
        self.keys, self.clock = seeds, 0
        return self._seen()

    def _seen(self) -> Reset:
        age = self.clock % 5
        draws = rng.fold(rng.fold(self.keys[:, None], self.clock // 5), torch.arange(2))
        self.cue = (rng.uniform32(draws) < 0.5).long()
        shown = torch.nn.functional.one_hot(self.cue, 2).float() * float(age == 0)
        time = torch.tensor([float(age == 0), float(age == 4)]).expand(self.num_envs, 2, 2)
        x = torch.cat((shown, time), dim=-1)
        return Reset(x, x.flatten(1), None, None)

    def step(self, actions: Tensor) -> Transition:
        right = (actions == self.cue).float() * float(self.clock % 5 == 4)
        self.clock += 1
        end = torch.full((self.num_envs,), self.clock % 5 == 0)
        x, state, _, _ = self._seen()
        nobody = torch.zeros_like(end)
        return Transition(x, state, right, nobody, end, nobody[:, None].expand(-1, 2), None, None, x.clone(), state,
                          None, None, right.mean(dim=1))  # fmt: skip

    def current(self) -> Reset:
        return self._seen()

    def state_dict(self) -> dict[str, Any]:
        return {"keys": self.keys, "clock": self.clock}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.keys, self.clock = state["keys"], int(state["clock"])

    def scene(self, index: int) -> Scene:
        return Scene((0.0, 0.0, 1.0, 1.0), ())


@pytest.mark.parametrize(("memory", "low", "high"), [("gru", 0.95, 1.0), ("none", 0.3, 0.7)])
def test_a_cue_is_remembered(memory: str, low: float, high: float) -> None:
    spec = Network("cue", hidden=[16]).motors("motor", memory=memory).build()
    env = Cue(64)
    config = NetworkConfig(num_envs=32, rollout_steps=10, gamma=0.95, learning_rate=5e-3, anneal=False)
    made = NetworkLearner(
        env, (0, 1), expand(spec, env.card), config, training_reward="individual", total_frames=100_000
    )
    for _ in range(60):
        made.iterate()
    rewards = made.rollout.rewards[[4, 9]]
    assert low <= float(rewards.mean()) <= high


# -- what is refused -----------------------------------------------------------------------------------------


def boss(**fields: Any) -> Network:
    return Network("refused").vertex("boss", **{"action": continuous(2), "memory": "gru", **fields})


REFUSED = {
    "needs period 1 so far, found 2": boss(period=2).motors("motor").edge("boss", "motor"),
    "found learner 'frozen'": boss(learner="frozen").motors("motor").edge("boss", "motor"),
    "needs `gradient: stop`": boss(gradient="through").motors("motor").edge("boss", "motor"),
    "at least one hidden layer": boss(hidden=[]).motors("motor").edge("boss", "motor"),
    "it chooses nothing": boss(action="none").motors("motor", advantage="superiors").edge("boss", "motor"),
    "no gradient can pass it to 'top'": (
        boss().vertex("top", gradient="through").motors("motor").edge("top", "boss").edge("boss", "motor")
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_what_memory_does_not_go_with_is_refused_by_name(words: str) -> None:
    method = method_from_json(REFUSED[words].build().to_json())
    with pytest.raises(ImpossibleCell) as error:
        check_possible(method, task_card(SPREAD), method.configure({}))
    assert words in str(error.value) and "vertex 'boss'" in str(error.value)


def test_settings_that_leave_nothing_to_learn_from_are_refused() -> None:
    method = method_from_json(crew().to_json())
    for settings, words in (
        ({"num_envs": 3, "minibatches": 4}, "num_envs must be at least minibatches = 4, found 3"),
        ({"critic_hidden": ()}, "at least one hidden layer"),
    ):
        with pytest.raises(ImpossibleCell, match=words):
            check_possible(method, task_card(SPREAD), method.configure(settings))


@pytest.mark.slow
@pytest.mark.parametrize("task", [SPREAD, MIXED])
def test_conformance(tmp_path: Path, task: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(crew().to_yaml())
    check_method(str(file), task, faults=1).raise_if_failed()
