"""Every network of the zoo trains on discrete, continuous and heterogeneous tasks."""

from __future__ import annotations

import pytest
import torch
from tiny import LBF, MIXED, SPREAD, learner, weights

from rlnet_bench import rng
from rlnet_bench.envs.registry import task_card
from rlnet_bench.learning.play import evaluate
from rlnet_bench.networks.build import zoo_ids
from rlnet_bench.networks.method import method_from_json


@pytest.mark.parametrize("task", [SPREAD, LBF, MIXED])
@pytest.mark.parametrize("name", zoo_ids())
def test_trains_evaluates_and_loads(name: str, task: str) -> None:
    made = learner(name, task)
    before = weights(made)
    for _ in range(2):
        metrics = made.iterate()
    assert all(bool(m.isfinite().all()) for m in metrics.values())
    assert not made.divergences
    after = weights(made)
    still = {k for k in after if torch.equal(before[k], after[k])}
    untrained = name in ("zoo/frozen-director", "zoo/control-features")
    assert still == ({k for k in after if k.startswith("0.")} if untrained else set())
    policy, card = made.policy(), task_card(task)
    loaded = method_from_json(policy.spec()["network"]).rebuild(policy.spec(), card, (7, 8))
    loaded.load_state_dict(after)
    for mode in ("deterministic", "sampled"):
        one, two = (evaluate(p, card, (0, 1), 2, stream=rng.Stream.USER, mode=mode) for p in (policy, loaded))
        assert (one.returns == two.returns).all()
