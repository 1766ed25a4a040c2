"""What every learner shares: groups of parameters, freezing with everything that belongs to a replica, resuming."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.registry import make_env
from rlnet_bench.learning.optimise import Optimiser, per_replica
from rlnet_bench.learning.stacked import StackedMLP, copy_keys
from rlnet_bench.learning.trainer import Tensors, Trainer
from rlnet_bench.runs.checkpoint import flatten, unflatten

SPREAD = "mpe/simple_spread-discrete-v1"


class Guess(Trainer):
    """Two networks that predict the next reward, one of them updated every second time; a target follows."""

    def __init__(self, seeds: tuple[int, ...] = (0, 1, 2), total_frames: int = 400) -> None:
        super().__init__(make_env(SPREAD, 4 * len(seeds)), seeds, steps=5, total_frames=total_frames)
        sizes = (18, 8, 1)
        self.fast, self.slow, self.target = (StackedMLP(sizes, copy_keys(seeds, 1, i)) for i in range(3))
        groups = {"fast": self.fast.parameters(), "slow": self.slow.parameters()}
        rates = {"fast": 0.1, "slow": 0.01}
        self.train(Optimiser(groups, len(seeds), learning_rate=rates, max_grad_norm=0.5))
        self.memory = Tensors(self.device, last=torch.zeros(4 * len(seeds), 1))
        self.parts |= {"fast": self.fast, "slow": self.slow, "target": self.target, "memory": self.memory}
        self.noise = self.keys(rng.Stream.ACTION, self.num_envs)

    def collect(self) -> None:
        self.seen = []
        for t in range(self.steps):
            key = rng.fold(self.noise[:, None], self.iteration * self.steps + t, torch.arange(3))
            before = self.now.observation[:, 0].clone()
            step = self.env.step(rng.integers(key, 5))
            self.seen.append((before, step.reward[:, :1].clone()))
            self.now = step  # type: ignore[assignment]
        self.memory.now["last"] = self.seen[-1][1].clone()

    def update(self) -> dict[str, Tensor]:
        self.optimiser.anneal(1.0 - self.progress)
        r = self.replicas
        x, y = (torch.cat([p.unflatten(0, (r, -1)) for p in parts], dim=1) for parts in zip(*self.seen))
        self.optimiser.zero()
        loss = (self.fast(x) - y).square().mean(dim=(1, 2)) + (self.slow(x) - y).square().mean(dim=(1, 2))
        loss.sum().backward()
        self.norms = self.step("fast") if self.updates % 2 else self.step()
        self.updates += 1
        return {"loss": loss.detach()}

    def held(self) -> list[Tensor]:
        return [*self.target.state_dict().values(), self.memory.now["last"]]


def state(made: Trainer) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in flatten(made.state_dict())[1].items()}


def test_counters_and_budget() -> None:
    made = Guess()
    assert (made.frames_per_iteration, made.iteration, made.progress) == (20, 0, 0.0)
    for i in range(1, 4):
        made.iterate()
        assert (made.frames, made.iteration, made.updates, made.progress) == (20 * i, i, i, 20 * i / 400)


def test_groups_are_stepped_alone_and_annealed_by_their_own_rates() -> None:
    made = Guess()
    made.iterate()
    assert made.norms.keys() == {"fast", "slow"} and made.norms["fast"].shape == (3,)
    before = [p.detach().clone() for p in made.optimiser.parameters]
    slots = [s.clone() for s in made.optimiser.slots()]
    made.iterate()  # an odd update: the fast one alone
    assert made.norms.keys() == {"fast"}
    moved = [not torch.equal(p, q) for p, q in zip(made.optimiser.parameters, before)]
    assert moved == [True] * 4 + [False] * 4
    still = [torch.equal(p, q) for p, q in zip(made.optimiser.slots(), slots)]
    assert still == [False] * 2 + [True] * 2
    assert made.optimiser.learning_rates == pytest.approx({"fast": 0.1 * 0.95, "slow": 0.01 * 0.95})


def test_a_replica_is_clipped_by_its_own_norm() -> None:
    wide = torch.zeros(2, 3, requires_grad=True)
    optimiser = Optimiser({"a": [wide]}, 2, learning_rate=1.0, max_grad_norm=1.0)
    wide.grad = torch.tensor([[3.0, 4.0, 0.0], [0.3, 0.4, 0.0]])
    norms = optimiser.step(torch.zeros(2, dtype=torch.bool))
    assert norms["a"].tolist() == pytest.approx([5.0, 0.5])
    clipped = torch.tensor([[0.6, 0.8, 0.0], [0.3, 0.4, 0.0]])
    torch.testing.assert_close(optimiser.slots()[0], 0.1 * clipped)  # the first mean: a tenth of the gradient


def test_steps_are_those_of_torch() -> None:
    """With two leading sizes in one group."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3, 2), (4, 1, 2), (2, 5))
    mine, theirs = ([torch.ones(s).requires_grad_() for s in shapes] for _ in range(2))
    made = Optimiser({"a": mine}, 2, learning_rate=0.01, max_grad_norm=float("inf"))
    torchs = torch.optim.Adam(theirs, lr=0.01, eps=1e-5)
    for _ in range(20):
        for p, q in zip(mine, theirs):
            p.grad = torch.randn(p.shape, generator=generator)
            q.grad = p.grad.clone()
        norms = made.step(torch.zeros(2, dtype=torch.bool))["a"]
        expected = torch.stack([per_replica(q.grad, 2).square().sum(dim=1) for q in theirs if q.grad is not None])
        torch.testing.assert_close(norms, expected.sum(dim=0).sqrt())
        torchs.step()
    for p, q in zip(mine, theirs):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
    made.zero()
    before = [p.detach().clone() for p in mine]
    assert made.step(torch.zeros(2, dtype=torch.bool)) == {}
    assert all(torch.equal(p, q) for p, q in zip(mine, before))


def test_copies_that_are_left_out_keep_weights_moments_and_counts() -> None:
    """Every copy ends where an optimiser of its own would have taken it; clipping knows the chosen copies alone."""
    g = torch.Generator().manual_seed(0)
    gradients = torch.randn(6, 4, 3, generator=g)
    together = torch.ones(4, 3, requires_grad=True)
    optimiser = Optimiser({"a": [together]}, 4, learning_rate=0.1, max_grad_norm=1.0)
    alone = [torch.ones(1, 3, requires_grad=True) for _ in range(4)]
    own = [Optimiser({"a": [p]}, 1, learning_rate=0.1, max_grad_norm=1.0) for p in alone]
    for t, gradient in enumerate(gradients):
        rows = torch.tensor([True, t % 2 == 0, t > 3, False])
        together.grad = gradient.clone()
        optimiser.step(torch.zeros(4, dtype=torch.bool), rows={"a": rows})
        for k in rows.nonzero().flatten().tolist():
            alone[k].grad = gradient[k : k + 1].clone()
            own[k].step(torch.zeros(1, dtype=torch.bool))
    torch.testing.assert_close(together, torch.cat(alone))
    assert torch.equal(together[3], torch.ones(3))
    again = Optimiser({"a": [together.detach().clone().requires_grad_()]}, 4, learning_rate=0.1, max_grad_norm=1.0)
    again.load_state_dict(optimiser.state_dict())
    for made in (optimiser, again):
        made.parameters[0].grad = gradients[0].clone()
        made.step(torch.zeros(4, dtype=torch.bool))
    assert torch.equal(optimiser.parameters[0], again.parameters[0])


@pytest.mark.parametrize("poison", ["fast", "target", "memory"])
def test_a_diverged_replica_loses_everything_and_the_others_nothing(poison: str) -> None:
    healthy, sick = Guess(), Guess()
    for made in (healthy, sick):
        made.iterate()
        made.collect()
    with torch.no_grad():
        if poison == "memory":
            sick.memory.now["last"][4:8] = float("nan")
        else:
            getattr(sick, poison).weights[0][1] = float("nan")
    for made in (healthy, sick):
        made.learn()
        made.iterate()
    assert [(d.seed, d.frames) for d in sick.divergences] == [(1, 40)]
    assert sick.divergences[0].tensor == ("loss" if poison == "fast" else "weights")
    owned = [*sick.optimiser.parameters, *sick.optimiser.slots(), *sick.target.state_dict().values()]
    whole = [*healthy.optimiser.parameters, *healthy.optimiser.slots(), *healthy.target.state_dict().values()]
    for mine, theirs in zip(owned, whole):
        assert not mine[1].any() and torch.equal(mine[[0, 2]], theirs[[0, 2]])


def test_the_state_is_that_of_its_parts_and_continues_to_the_bit() -> None:
    one, two = Guess(), Guess()
    for _ in range(3):
        one.iterate()
    plain: dict[str, Any] = unflatten(*flatten(one.state_dict()))
    expected = {"frames", "updates", "frozen", "divergences", "env", "optimiser", "fast", "slow", "target", "memory"}
    assert plain.keys() == expected
    two.load_state_dict(plain)
    for _ in range(2):
        one.iterate()
        two.iterate()
    mine, theirs = state(one), state(two)
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a multiple of 2 environments, found 9"):
        Trainer(make_env(SPREAD, 9), (0, 1), steps=1, total_frames=1)
