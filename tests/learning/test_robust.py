"""Targets of a worst case, an option of VDN and QMIX: by hand, against the moving of probability, and learned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from games import CLIMBING, EASY, Game
from test_q_learning import ready, target_of

from rlnet_bench.errors import BadInput
from rlnet_bench.learning.replay import Transitions
from rlnet_bench.learning.robust import dual_loss, worst_case
from rlnet_bench.methods import find_method
from rlnet_bench.runs.check import check_method

TEAM = ("vdn", "qmix")
GAME = (EASY, CLIMBING, EASY), ((1, 1, 2), (2, 2, 2), None)


def test_what_is_bootstrapped_by_hand() -> None:
    g, following = torch.tensor([2.0, 2.0, 3.0, -1.0, -1.0]), torch.tensor([1.0, 3.0, 3.0, 4.0, -5.0])
    assert worst_case(g, following, 0.25).tolist() == [0.5, 1.5, 2.25, 0.0, -5.0]
    assert worst_case(g, following, 0.0)[:3].tolist() == [1.0, 2.0, 3.0]  # V, where g is no less
    assert dual_loss(g, following, 0.25).tolist() == [-0.5, -1.5, -2.25, 0.75, 4.75]


def moved(values: torch.Tensor, chances: torch.Tensor, rho: float) -> float:
    """A share rho of what chance does, taken from the best, is worth nothing then."""
    total, left = 0.0, rho
    for i in values.argsort(descending=True).tolist():
        taken = min(left, float(chances[i]))
        total, left = total + (float(chances[i]) - taken) * float(values[i]), left - taken
    return total


@pytest.mark.parametrize("rho", [0.0, 0.1, 0.35, 0.8])
def test_the_best_dual_is_the_worst_that_can_be_done(rho: float) -> None:
    draw = torch.Generator().manual_seed(7)
    for _ in range(5):
        values, chances = 3 * torch.rand(6, generator=draw), torch.rand(6, generator=draw)
        chances /= chances.sum()
        losses = torch.stack([(chances * dual_loss(v, values, rho)).sum() for v in values])  # a kink is the best
        best = values[losses.argmin()]
        expected = moved(values, chances, rho)
        assert -float(losses.min()) == pytest.approx(expected, abs=1e-5)
        assert float((chances * worst_case(best, values, rho)).sum()) == pytest.approx(expected, abs=1e-5)
        anything = 4 * torch.randn(100, 1, generator=draw)
        assert bool((worst_case(anything, values - 1.5, rho) <= values - 1.5 + 1e-6).all())


def test_why_errors_of_the_dual_are_not_squared() -> None:
    """Squared, they are least where nothing is bootstrapped."""
    following, rho = torch.tensor(2.0), 0.25
    for g in (torch.tensor(0.0), following / rho):
        assert float(dual_loss(g, following, rho) ** 2) == pytest.approx(0.0)
        assert float(worst_case(g, following, rho)) == pytest.approx(0.0)
    assert float(dual_loss(following, following, rho) ** 2) > 1


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize("method", TEAM)
def test_targets_are_made_of_the_dual_of_what_was_done(method: str, memory: str) -> None:
    made = ready(
        method, Game(*GAME, 6), memory=memory, robust_rho=0.25, robust_set="total_variation", learning_rate=0.01,
        gamma=0.9, sequence_length=2, burn_in=1,
    )  # fmt: skip
    (batch,) = made.batches([made.updates])
    step = made.estimate(batch)
    found = target_of(made, step)
    q, state, then = step.following.flatten(0, -3), step.state.flatten(0, -3), step.next_state.flatten(0, -3)
    ended = 0
    for x in range(len(q)):  # replicas, and steps of replicas
        r = x % 2
        g = made.dual.of(step.state, batch.action).flatten(0, -3)[x]
        read = torch.cat((state[x], torch.eye(3)[batch.action.flatten(0, -3)[x]].flatten(-2)), dim=-1)
        torch.testing.assert_close(g, made.dual(read.expand(2, -1, -1))[r])
        if method == "vdn":
            value = q[x].sum(dim=-1, keepdim=True)
        else:
            value = made.mix_target(q[x].expand(2, -1, -1), then[x].expand(2, -1, -1))[r]
        more = 0.75 * g.clamp(min=0) - (g - value).clamp(min=0)
        over = batch.discount == 0 if isinstance(batch, Transitions) else batch.terminated
        over = over.flatten(0, -3)[x]
        expected = batch.reward.flatten(0, -3)[x] + torch.where(over, 0.0, 0.9 * more)
        torch.testing.assert_close(found.flatten(0, -3)[x], expected, rtol=1e-4, atol=1e-4)
        ended += int(over.sum())
    assert ended > 0 and step.beside[0].shape == (2,)


@pytest.mark.parametrize("method", TEAM)
def test_without_a_worst_case_all_is_plain(method: str) -> None:
    plain, none = (ready(method, Game(*GAME, 6), robust_set=kind) for kind in ("contamination", "total_variation"))
    weights = [torch.cat([p.flatten() for p in made.online.network.parameters()]) for made in (plain, none)]
    assert plain.updates > 2 and torch.equal(*weights) and "dual" not in none.parts


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize("method", TEAM)
def test_contamination_is_exactly_a_smaller_discount(method: str, memory: str) -> None:
    settings: dict[str, Any] = {"n_step": 3, "memory": memory}
    robust, less, plain = (
        ready(method, Game(*GAME, 6), **settings, **more)
        for more in ({"gamma": 0.8, "robust_rho": 0.25}, {"gamma": 0.75 * 0.8}, {"gamma": 0.8})
    )
    weights = [torch.cat([p.flatten() for p in made.online.network.parameters()]) for made in (robust, less, plain)]
    assert robust.updates > 2 and torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


class Chance(Game):
    """What follows the first state pays 1 in every other environment, else nothing, whatever is done."""

    def step(self, actions: torch.Tensor) -> Any:
        first, found = self.at == 0, super().step(actions)
        self.at = torch.where(first, 1 + torch.arange(self.num_envs) % 2, self.at)
        now = self.current()
        return found._replace(observation=now.observation, state=now.state)


@pytest.mark.parametrize(("kind", "worth"), [("contamination", 0.75 * 0.5), ("total_variation", 0.5 - 0.25)])
def test_what_the_worst_case_is_worth(kind: str, worth: float) -> None:
    nothing, one = ((0.0, 0.0), (0.0, 0.0)), ((1.0, 1.0), (1.0, 1.0))
    game = Chance((nothing, nothing, one), ((1, 1), None, None), 16)
    made = ready(
        "vdn", game, num_envs=8, robust_rho=0.25, robust_set=kind, gamma=1.0, learning_rate=1e-3, buffer_size=800,
        batch_size=64, target_tau=0.1, updates_per_iteration=8,
    )  # fmt: skip
    values = []
    for _ in range(60):
        made.iterate()
        with torch.no_grad():
            values.append(made.online(torch.eye(3)[0].expand(2, 1, 2, 3)).mean(dim=-1).sum())
    assert float(torch.stack(values[-30:]).mean()) / 2 == pytest.approx(worth, abs=0.04)


def test_it_is_refused_for_more_than_a_step_and_off_it_is_no_part_of_a_run() -> None:
    found = find_method("vdn")
    assert "robust_set" not in found.configure({"robust_set": "contamination"}).model_dump(mode="json")
    settings = {"robust_rho": 0.1, "robust_set": "total_variation", "n_step": 1}
    on = found.configure(settings).model_dump(mode="json")
    assert found.configure(on).model_dump(mode="json") == on and settings.items() <= on.items()
    with pytest.raises(BadInput, match="total_variation says the worst that one step can do; expected n_step 1"):
        found.configure({**settings, "n_step": 5})


@pytest.mark.parametrize("memory", ["none", pytest.param("gru", marks=pytest.mark.slow)])
def test_the_contract_is_kept_with_a_dual(memory: str) -> None:
    settings = {"robust_rho": 0.1, "robust_set": "total_variation", "n_step": 1, "memory": memory}
    check_method("qmix", settings=settings, seeds=(0, 1), faults=1).raise_if_failed()
