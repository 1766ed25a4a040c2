"""An option of VDN and QMIX, off by default: targets of a neighbourhood, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from games import CLIMBING, EASY, Game
from test_q_learning import ready, target_of

from rlnet_bench.errors import BadInput
from rlnet_bench.learning.similar import neighbours, similarity_mean
from rlnet_bench.methods import find_method
from rlnet_bench.runs.check import check_method

TEAM = ("vdn", "qmix")


def test_neighbours_by_hand() -> None:
    near = neighbours(torch.tensor([5.0, 7.0]), torch.tensor([[5.0, 1.0, 2.0], [3.0, 7.0, 4.0]]))
    assert near.tolist() == [[5, 7], [1, 7], [2, 7], [5, 3], [5, 7], [5, 4]]


def test_the_neighbourhood_of_the_climbing_game_by_hand() -> None:
    """Around (1, 1), worth 11, lie -30 and 0 twice each: worth little, the more so the more alike they are."""
    row = torch.tensor([*CLIMBING[0], *(line[0] for line in CLIMBING)])
    alike, apart = torch.ones(6), torch.tensor([1.0, 0.0, -1.0, 1.0, 0.0, -0.5])
    assert float(similarity_mean(row, alike)) == pytest.approx((2 * 11 - 60) / 6)
    e = math.exp(3.0)
    assert float(similarity_mean(row, apart)) == pytest.approx((22 * e - 60) / (2 * e + 4), rel=1e-5)
    legal = torch.tensor([True, False, True, True, False, True])
    assert float(similarity_mean(row, apart, legal)) == pytest.approx(22 * e / (2 * e + 2), rel=1e-5)


@pytest.mark.parametrize("method", TEAM)
def test_targets_are_means_over_joint_actions_that_the_target_networks_value(method: str) -> None:
    """The learner's target against one made joint action by joint action, and rows that end the task against r."""
    made = ready(method, Game((EASY, CLIMBING), ((1, 1, 1), None), 6), similar_targets=True)
    (batch,) = made.batches([made.updates])
    step = made.estimate(batch)
    kept = target_of(made, step)
    options = made.target(batch.next_observation)
    effect = made.effects().detach()
    for r in range(2):
        for m in range(4):
            best = options[r, m].argmax(dim=-1)
            total, weights = 0.0, 0.0
            for i in range(2):
                for a in range(3):
                    u = best.clone()
                    u[i] = a
                    q = options[r, m].gather(-1, u[:, None])[:, 0]
                    if method == "vdn":
                        value = float(q.sum())
                    else:
                        wide = q.expand(2, 1, 2)  # the mixer holds both replicas
                        value = float(made.mix_target(wide, batch.next_state[r, m].expand(2, 1, -1))[r, 0, 0])
                    cosine = torch.cosine_similarity(effect[r, i, a], effect[r, i, best[i]], dim=0)
                    w = math.exp(3 * max(0.0, float(cosine)))
                    total, weights = total + w * value, weights + w
            expected = float(batch.reward[r, m, 0]) + float(batch.discount[r, m, 0]) * total / weights
            assert float(kept[r, m, 0]) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_effects_are_learned_apart_from_values() -> None:
    """In the first state both agents' options lead to one of two others, by the first agent's choice alone."""
    game = Game((EASY, EASY, EASY), ((1, 2, 2), None, None), 6)
    made = ready("vdn", game, similar_targets=True, learning_rate=1e-2)
    for _ in range(150):
        made.iterate()
    cosine = made.effects.cosines(torch.zeros(2, 1, 2, dtype=torch.int64))[:, 0].detach()  # with option 0, [R, N, A]
    torch.testing.assert_close(cosine[..., 0], torch.ones(2, 2))
    other = made.effects.cosines(torch.ones(2, 1, 2, dtype=torch.int64))[:, 0].detach()
    assert bool((other[:, 0, 2] > other[:, 0, 0] + 0.2).all())  # the first agent's options 1 and 2 do the same
    (batch,) = made.batches([made.updates])
    value, parameters = made.loss(made.estimate(batch)).sum(), list(made.effects.parameters())
    assert torch.autograd.grad(value, parameters, allow_unused=True) == (None,) * len(parameters)


@pytest.mark.parametrize("method", TEAM)
def test_what_is_off_has_no_part_in_a_run_s_identity(method: str) -> None:
    found = find_method(method)
    assert not {"robust_rho", "similar_targets"} & found.configure({}).model_dump(mode="json").keys()
    on = found.configure({"robust_rho": 0.1, "similar_targets": True, "n_step": 1}).model_dump(mode="json")
    assert (on["robust_rho"], on["similar_targets"]) == (0.1, True)
    assert found.configure(on).model_dump(mode="json") == on
    with pytest.raises(BadInput, match="expected n_step 1 and memory none, found n_step 5 and memory none"):
        found.configure({"similar_targets": True})
    with pytest.raises(BadInput, match="unknown key 'robust_rho'"):
        find_method("iql").configure({"robust_rho": 0.1})


def test_the_contract_is_kept_with_both() -> None:
    settings = {"similar_targets": True, "robust_rho": 0.1, "n_step": 1}
    check_method("qmix", settings=settings, seeds=(0, 1), faults=1).raise_if_failed()
