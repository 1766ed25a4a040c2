"""QMIX's further values: their targets by hand, what they find in a small game, and following an optimum that moves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from games import EASY, Game, matrix
from test_q_learning import SMALL, Step, ready

from rlnet_bench.errors import BadInput
from rlnet_bench.learning.replay import Transitions
from rlnet_bench.learning.successive import chances, sub_targets, weigh
from rlnet_bench.methods import find_method
from rlnet_bench.runs.check import check_method

SECOND = (
    (12.0, 1.0, 1.0),
    (1.0, 2.0, 3.0),
    (1.0, 3.0, 6.0),
)  # second best lies where neither agent does as in the best


def test_targets_weights_and_chances_by_hand() -> None:
    target, star = torch.tensor([[5.0], [4.0], [3.0]]), torch.tensor([[7.0], [2.0], [1.0]])
    first, second = torch.tensor([[True], [False], [False]]), torch.tensor([[False], [True], [False]])
    two, three = sub_targets(target, star, (first, second))
    assert two.tolist() == [[-2.0], [4.0], [3.0]] and three.tolist() == [[-2.0], [2.0], [3.0]]
    assert weigh(torch.tensor([True, False])).tolist() == pytest.approx([1.0, 0.9])
    found = chances(torch.tensor([[0.2], [0.1], [0.1]]), 0.1)
    e = float(torch.tensor(1.0).exp())
    assert found.flatten().tolist() == pytest.approx([e / (e + 2), 1 / (e + 2), 1 / (e + 2)])


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_the_loss_step_by_step(memory: str) -> None:
    """Everything that is regressed, against the same of single joint steps."""
    made = ready(
        "qmix", Game((EASY, SECOND), ((1, 1, 1), None), 6), sub_values=2, memory=memory, sequence_length=2, burn_in=1,
        gamma=0.9, double_q=True, learning_rate=0.02,
    )  # fmt: skip
    draw = torch.Generator().manual_seed(3)
    for p in made.subs.utilities.network.parameters():  # greedy in anything
        p.data.add_(torch.randn(p.shape, generator=draw))
    (batch,) = made.batches([made.updates])
    step, subs, heard = made.estimate(batch), made.subs, []

    class Heard(Step):
        def squared(self, value: torch.Tensor, target: torch.Tensor, weight: Any = None) -> torch.Tensor:
            heard.append((value, target, torch.ones_like(value) if weight is None else weight))
            return super().squared(value, target, weight)

    made.loss(Heard(**{name: getattr(step, name) for name in step.__dataclass_fields__}))
    star, second, third, first = ([x.detach().flatten(0, -3) for x in each] for each in heard)
    every = [
        step.values.flatten(0, -4),
        *made.seen(subs.utilities, batch).flatten(0, -4).unflatten(0, (-1, 2)).unbind(1),
    ]
    now, then = (made.seen(subs.star_target.utilities, batch, after=after).flatten(0, -4) for after in (False, True))
    online = made.seen(subs.star.utilities, batch).flatten(0, -4)
    states, nexts = step.state.flatten(0, -3), step.next_state.flatten(0, -3)
    actions, greedy = batch.action.flatten(0, -3), step.greedy.flatten(0, -3)
    rewards = batch.reward.flatten(0, -3)
    over = (batch.discount == 0 if isinstance(batch, Transitions) else batch.terminated).flatten(0, -3)

    def mixed(net: Any, r: int, q: torch.Tensor, u: torch.Tensor, state: torch.Tensor) -> float:
        read = torch.cat((state, q.gather(-1, u[:, None])[:, 0]))
        return float(net.mix(read.expand(2, 1, -1))[r].detach())

    hits = [0, 0]
    for x in range(len(rewards)):
        r = x % 2
        for m in range(16):
            u = actions[x, m]
            best = [q[x, m].argmax(dim=-1) for q in every]
            y = float(rewards[x, m])
            if not bool(over[x, m]):
                y += 0.9 * mixed(subs.star_target, r, then[x, m], greedy[x, m], nexts[x, m])
            of_u = mixed(subs.star, r, online[x, m], u, states[x, m])
            most = max(mixed(subs.star_target, r, now[x, m], b, states[x, m]) for b in best)
            expected, taken = [(star, y, 1.0), (first, y, 1.0 if of_u >= most else 0.9)], False
            for k, (values, b) in enumerate(zip((second, third), best)):
                taken = taken or torch.equal(u, b)
                hits[k] += taken
                target = y - of_u * taken
                expected.append((values, target, 1.0 if float(values[0][x, m]) < target else 0.9))
            for (_, targets, weights), target, weight in expected:
                assert float(targets[x, m]) == pytest.approx(target, rel=1e-3, abs=1e-3)
                assert float(weights[x, m]) == pytest.approx(weight)
    assert 0 < hits[0] < hits[1]


def found(made: Any) -> list[list[int]]:
    """What Q_1 and Q_2 are greedy in, of the first replica's agents and the second's."""
    see = torch.ones(2, 1, 2, 1)
    with torch.no_grad():
        both = [made.online(see), *([made.subs.utilities(see).unflatten(0, (2, -1))[:, 0]] if made.subs else [])]
    return [q.argmax(dim=-1).flatten().tolist() for q in both]


def test_the_second_value_finds_the_second_best_and_follows_when_it_becomes_the_best() -> None:
    """A plain QMIX that explores no more stays where the optimum was."""
    settings = {
        "learning_rate": 5e-3,
        "updates_per_iteration": 6,
        "target_tau": 0.1,
        "epsilon_end": 0.0,
        "double_q": True,
    }
    for more, moves in (({"sub_values": 1, "sub_temperature": 10.0}, True), ({}, False)):
        made = ready("qmix", matrix(SECOND, 6), **{**settings, **more})
        made.total_frames = 10**9  # exploring all the time
        for _ in range(60):
            made.iterate()
        assert found(made) == [[0, 0, 0, 0], [2, 2, 2, 2]][: 1 + moves]
        made.total_frames = 0  # no more
        made.env.payoff[0, 2, 2] = 20.0
        for _ in range(60):
            made.iterate()
        assert found(made)[0] == ([2, 2, 2, 2] if moves else [0, 0, 0, 0])


def test_half_of_the_episodes_are_explored_by_all_values() -> None:
    game = Game((EASY, EASY, EASY), ((1, 1, 1), (2, 2, 2), None), 2000)
    card, method = game.card, find_method("qmix")
    config = method.configure({**SMALL, "num_envs": 1000, "buffer_size": 20_000, "sub_values": 2, "memory": "gru"})
    made = method.learner_class()(game, (0, 1), config, training_reward="team_mean", total_frames=10)
    for net in (made.online.network, made.subs.utilities.network):  # Q_k is greedy in option k
        net.load_state_dict({n: torch.zeros_like(p) for n, p in net.named_parameters()})
    made.online.network.load_state_dict(
        made.online.network.state_dict() | {"head.bias.0": torch.tensor([[[3.0, 0, 0]]] * 2)}
    )
    made.subs.utilities.network.load_state_dict(
        made.subs.utilities.network.state_dict()
        | {"head.bias.0": torch.tensor([[[0, 3.0, 0]], [[0, 0, 3.0]]] * 2)}
    )  # fmt: skip
    made.subs.star.load_state_dict({n: torch.zeros_like(p) for n, p in made.subs.star.named_parameters()})
    made.frames = 10**6  # a twentieth of actions is random
    before = {name: x.clone() for name, x in made.carried.now.items()}
    _, glanced = made.glance(made.now, 0)
    assert all(torch.equal(x, before[name]) for name, x in made.carried.now.items())
    followed, seen = [], []
    for step in range(3):
        _, action = made.behave(made.now, step)
        assert step or torch.equal(action, glanced)
        followed.append(action[:, 0])
        seen.append(made.carried.now["all"])
        made.replay.begin(made.now, action)
        made.now = made.env.step(action)
        made.told(made.now)
    assert torch.equal(seen[0], seen[2]) and abs(float(seen[0].float().mean()) - 0.5) < 0.04
    for action in followed:
        alone, every = (action[who].bincount(minlength=card.action_size) / who.sum() for who in (~seen[0], seen[0]))
        assert float(alone[0]) > 0.9
        torch.testing.assert_close(every, torch.full((3,), 1 / 3), rtol=0, atol=0.05)
    assert not torch.equal(followed[0][seen[0]], followed[1][seen[0]])  # drawn anew in every step
    _, action = made.behave(made.now, 3)  # other episodes
    assert not torch.equal(made.carried.now["all"], seen[0])


def test_networks_side_by_side_are_those_alone() -> None:
    """The stack's copies start from keys of their own; one of them is computed as alone."""
    made = ready("qmix", Game((EASY, SECOND), ((1, 1, 1), None), 6), sub_values=2, memory="gru")
    stack, x = made.subs.utilities, torch.randn(4, 2, 5, 2, 2, generator=torch.Generator().manual_seed(1))
    together, after = stack.along(x, None)
    alone = type(stack)(made.card, stack.spec, (0, 1))
    for k in range(2):
        weights = {n: p.unflatten(0, (2, 2))[:, k] for n, p in stack.network.state_dict().items()}
        alone.network.load_state_dict(weights)
        q, memory = alone.along(x, None)
        torch.testing.assert_close(together.unflatten(1, (2, 2))[:, :, k], q)
        torch.testing.assert_close(after.unflatten(0, (2, 2))[:, k], memory)
    first = stack.network.state_dict()["weight.0"]
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])


def test_off_they_are_no_part_of_a_run_and_other_targets_are_refused_beside_them() -> None:
    method = find_method("qmix")
    assert not {"sub_values", "sub_temperature"} & method.configure({}).model_dump(mode="json").keys()
    assert method.configure({"sub_values": 2}).model_dump(mode="json")["sub_values"] == 2
    for other in ({"similar_targets": True}, {"robust_rho": 0.1, "robust_set": "total_variation"}):
        with pytest.raises(
            BadInput, match=r"sub_values: .* expected no other target beside them, found (similar|robust)"
        ):
            method.configure({"sub_values": 2, "n_step": 1, **other})
    with pytest.raises(BadInput, match="unknown key 'sub_values'"):
        find_method("vdn").configure({"sub_values": 2})


@pytest.mark.parametrize(
    ("memory", "task"),
    [("none", "simple_speaker_listener"), pytest.param("gru", "simple_spread", marks=pytest.mark.slow)],
)
def test_the_contract_is_kept(memory: str, task: str) -> None:
    task = f"mpe/{task}-discrete-v1"
    check_method("qmix", task, settings={"sub_values": 2, "memory": memory}, seeds=(0, 1), faults=1).raise_if_failed()
