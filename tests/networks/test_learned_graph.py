"""Graphs that are drawn at every step: never a cycle, probabilities that sum to one, depth that is bounded."""

from __future__ import annotations

import itertools
from math import comb, log
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import MIXED, SMOOTH, SPREAD, learner

from rlnet_bench import rng
from rlnet_bench.learning.policy import action_noise
from rlnet_bench.learning.ppo import Batch
from rlnet_bench.networks.learned_graph import Drawn, before, chains, draw, graph_noise, graph_stats


def made_of(task: str = SPREAD, seeds: tuple[int, ...] = (0, 1), **more: Any) -> Any:
    made = learner("zoo/learned-graph", task, seeds, **more)
    for name, tensor in made.actor.state_dict().items():
        if name.startswith(("choice", "score", "gate")):
            tensor.mul_(100)
    return made


def rows_of_rollout(made: Any) -> dict[str, torch.Tensor]:
    """[R, T * B, ...]."""
    t, r, b, _ = made.rollout.shape
    return {k: v.unflatten(0, (t, r, b)).transpose(0, 1).flatten(1, 2) for k, v in made.rollout.rows().items()}


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 7), st.integers(0, 2**31), st.booleans(), st.floats(0.1, 30.0))
def test_no_graph_has_a_cycle(n: int, seed: int, sampled: bool, loud: float) -> None:
    g = torch.Generator().manual_seed(seed)
    score, gate = loud * torch.randn(20, n, generator=g), loud * torch.randn(20, n, n, generator=g)
    drawn = draw(score, gate, torch.rand(20, n, 1 + n, generator=g) if sampled else None)
    assert drawn.place.sort(dim=-1).values.tolist() == [list(range(n))] * 20
    walks = drawn.hears.double()
    for _ in range(n):  # no walk of n edges: nobody comes back to where it was
        walks = walks @ drawn.hears.double()
    assert not walks.any()
    assert bool((drawn.hears <= before(drawn.place)).all())
    longest = torch.zeros(20, dtype=torch.int64)
    walks = torch.eye(n, dtype=torch.float64).expand(20, n, n)
    for k in range(1, n):
        walks = walks @ drawn.hears.double()
        longest[walks.flatten(1).any(dim=1)] = k
    assert torch.equal(drawn.depth, longest)


def test_the_most_likely_graph_by_hand() -> None:
    score = torch.tensor([0.5, 2.0, -1.0])
    gate = torch.tensor([[9.0, 9.0, 1.0], [-1.0, 9.0, 3.0], [9.0, 9.0, 9.0]])
    drawn = draw(score, gate, None)
    assert drawn.place.tolist() == [1, 0, 2]  # agent 1 first, then 0, then 2
    assert drawn.hears.int().tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert int(drawn.depth) == 1


def test_probabilities_by_hand_sum_to_one_and_drawing_follows_them() -> None:
    g = torch.Generator().manual_seed(1)
    score, gate = torch.randn(3, generator=g), torch.randn(3, 3, generator=g)
    total, table = 0.0, {}
    for order in itertools.permutations(range(3)):
        place = torch.tensor([order.index(i) for i in range(3)])
        pairs = [(a, b) for k, a in enumerate(order) for b in order[k + 1 :]]
        for bits in itertools.product([False, True], repeat=3):
            hears = torch.zeros(3, 3, dtype=torch.bool)
            expected, left = 0.0, list(range(3))
            for i in order:
                expected += float(score[i] - torch.logsumexp(score[left], 0))
                left.remove(i)
            for (i, j), bit in zip(pairs, bits, strict=True):
                hears[i, j] = bit
                p = float(torch.sigmoid(gate[i, j]))
                expected += log(p if bit else 1 - p)
            log_p = float(graph_stats(score, gate, Drawn(place, hears))[0])
            assert log_p == pytest.approx(expected, abs=1e-5)
            total += 2.718281828459045**log_p
            table[(*place.tolist(), *hears.flatten().tolist())] = log_p
    assert total == pytest.approx(1.0, abs=1e-5)
    rows = 40_000
    drawn = draw(score.expand(rows, -1), gate.expand(rows, -1, -1), torch.rand(rows, 3, 4, generator=g))
    for key, log_p in itertools.islice(table.items(), 0, None, 7):
        same = (drawn.place == torch.tensor(key[:3])).all(dim=1)
        same &= (drawn.hears.flatten(1) == torch.tensor(key[3:])).all(dim=1)
        assert float(same.float().mean()) == pytest.approx(2.718281828459045**log_p, abs=0.01)


def test_the_penalty_is_the_expected_share_of_chains_and_bounds_depth() -> None:
    g = torch.Generator().manual_seed(2)
    n, rows = 5, 20_000
    gate, place = torch.randn(n, n, generator=g), torch.randperm(n, generator=g)
    closed, opened = torch.full((n, n), -50.0), torch.full((n, n), 50.0)
    assert float(chains(closed, place)) == pytest.approx(0.0, abs=1e-9)
    assert float(chains(opened, place)) == pytest.approx(1.0, abs=1e-6)
    assert float(chains(opened[:2, :2], torch.tensor([1, 0]))) == 0.0  # of two agents nobody waits for one who waits
    hears = (torch.rand(rows, n, n, generator=g) < torch.sigmoid(gate)) & before(place)
    shares, walks = [], hears.double()
    for k in range(2, n):
        walks = walks @ hears.double()
        paths = walks.sum(dim=(-1, -2))
        shares.append(float(paths.mean()) / comb(n, k + 1))
        deep = Drawn(place.expand(rows, -1), hears).depth >= k
        assert float(deep.float().mean()) <= float(paths.mean()) + 1e-9
    assert float(chains(gate, place)) == pytest.approx(sum(shares) / len(shares), abs=0.01)


@pytest.mark.parametrize("task", [SPREAD, SMOOTH, MIXED])
@pytest.mark.parametrize("share", [True, False])
def test_acting_in_order_and_learning_at_once_say_the_same(task: str, share: bool) -> None:
    made = made_of(task, share_parameters=share)
    made.collect()
    rows = rows_of_rollout(made)
    assert rows["hears"].any() and len(rows["place"].unique(dim=1)) > 1
    log_p, _ = made.actor.evaluate(rows)
    torch.testing.assert_close(log_p.detach(), rows["log_p"], atol=1e-4, rtol=1e-4)
    score, gate = made.actor.network.look(rows["features"])
    graph_log_p = graph_stats(score, gate, Drawn(rows["place"], rows["hears"]))[0]
    torch.testing.assert_close(graph_log_p.detach(), rows["graph_log_p"][..., 0], atol=1e-4, rtol=1e-4)


def test_an_agent_knows_its_parents_actions_and_no_other() -> None:
    made = made_of()
    made.collect()
    rows = rows_of_rollout(made)
    base = made.actor.network.choice(
        made.actor.network.own(rows["features"]), made.actor.told(rows["actions"], rows["hears"])
    )
    for i in range(3):
        other = rows["actions"].clone()
        other[:, :, i] = (other[:, :, i] + 1) % 5
        told = made.actor.told(other, rows["hears"])
        moved = (made.actor.network.choice(made.actor.network.own(rows["features"]), told) - base).abs().amax(
            dim=-1
        ) > 1e-6
        assert torch.equal(moved, rows["hears"][:, :, i])


def test_graphs_are_drawn_by_counter() -> None:
    made = made_of(seeds=(4, 9))
    keys, steps = made.action_keys, torch.arange(3)[:, None]
    noise = graph_noise(keys, steps, made.actor)
    n = 3
    assert torch.equal(noise[..., 0], action_noise(keys, steps, made.actor))
    key = rng.fold(rng.fold(keys[None], steps)[..., None], (1 << 18) + torch.arange(n * (1 + n)))
    assert torch.equal(noise[..., 1:].flatten(-2).flatten(1, 2), rng.uniform32(key))
    made.collect()
    alone = made_of(seeds=(9,))
    alone.collect()
    for name in ("place", "hears"):
        assert torch.equal(getattr(alone.rollout, name)[:, 0], getattr(made.rollout, name)[:, 1])


def test_gradients_of_motors_and_generator_never_meet_and_equal_finite_differences() -> None:
    made = made_of(seeds=(0,), depth_weight=0.5, entropy_weight=0.1)
    made.collect()
    data = made.estimate()
    for p in (*made.actor.parameters(), *made.critic.parameters()):
        p.data = p.data.double()
    rows = {k: v[:12][None] for k, v in data.items()}
    batch = Batch({k: v.double() if v.is_floating_point() else v for k, v in rows.items()}, 12)
    generator = {n: p for n, p in made.actor.named_parameters() if not n.startswith(("own", "choice"))}
    motors = {n: p for n, p in made.actor.named_parameters() if n.startswith(("own", "choice"))}

    def grads(total: torch.Tensor, of: dict[str, torch.Tensor]) -> list[torch.Tensor | None]:
        return list(torch.autograd.grad(total, list(of.values()), retain_graph=True, allow_unused=True))

    log_p, _ = made.actor.evaluate(batch.rows)
    assert all(g is None for g in grads(log_p.sum(), generator)) and all(
        g is not None for g in grads(log_p.sum(), motors)
    )
    score, gate = made.actor.network.look(batch["features"])
    deep = chains(gate, batch["place"]).sum()
    assert all(g is None for g in grads(deep, motors))
    total = made.loss(batch).total.sum()
    total.backward()
    for name in ("score.weight.0", "gate.weight.0", "from.weight.0", "own.weight.0", "choice.weight.0"):
        parameter = dict(made.actor.named_parameters())[name]
        data_, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for i in gradient.abs().topk(2).indices.tolist():
            kept, found = float(data_[i]), []
            for step in (1e-6, -1e-6):
                data_[i] = kept + step
                with torch.no_grad():
                    found.append(float(made.loss(batch).total.sum()))
            data_[i] = kept
            assert gradient[i] != 0
            assert (found[0] - found[1]) / 2e-6 == pytest.approx(float(gradient[i]), rel=1e-3, abs=1e-8), name


def test_the_penalty_makes_graphs_flat() -> None:
    """With nothing else to learn from, the expected share of chains falls."""
    shares = []
    for weight in (0.0, 50.0):
        made = learner("zoo/learned-graph", SPREAD, (0,), depth_weight=weight, learning_rate=0.01, anneal=False)
        for _ in range(15):
            made.iterate()
        made.collect()
        rows = rows_of_rollout(made)
        gate = made.actor.network.look(rows["features"])[1]
        shares.append(float(chains(gate, rows["place"]).detach().mean()))
    assert shares[1] < 0.05 < shares[0]


def test_what_a_graph_usually_needs() -> None:
    policy = made_of().policy()
    found = policy.usual()
    assert 0 < found.edges < 3 and 0 < found.depth <= 2
    assert found.bits_down == pytest.approx(2 * 3 * 2 + 3 * found.edges)
    assert found.hops == pytest.approx(2 + found.depth)
    assert found.bits_down <= policy.columns()["bits_down"] and found.hops <= policy.columns()["hops"]
