"""The referee: the same policy on our batched rules and on the original packages."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from rlnet_bench.envs.reference import original_stepper, parallel_env
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput
from rlnet_bench.learning.play import evaluate, evaluate_on_reference
from rlnet_bench.learning.policy import Policy
from rlnet_bench.learning.untrained import ScriptPolicy
from rlnet_bench.methods import find_method
from rlnet_bench.rng import Stream
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.policies import rebuild_policy
from rlnet_bench.runs.suite import load_suite
from rlnet_bench.runs.worker import work_on

ROOT = Path(__file__).parent.parent.parent
# Two-sided p < 1e-4 under the normal approximation; the seeds are fixed, so the outcome is, too.
Z = 3.9


def published(method: str, task: str) -> Policy:
    """The median seed's trained policy of the published MPE suite."""
    folder = ROOT / "results" / "mpe-v1" / method
    stem = task.replace("/", "__")
    with gzip.open(folder / f"{stem}.jsonl.gz", "rt") as lines:
        header = json.loads(next(iter(lines)))
    (weights,) = folder.glob(f"{stem}.seed*.safetensors")
    return rebuild_policy(find_method(method), header["policy"], load_file(weights), (0,), task_card(task))


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Difference of means in standard errors."""
    se = np.sqrt(a.var(ddof=1) / a.size + b.var(ddof=1) / b.size)
    return float(abs(a.mean() - b.mean()) / max(se, 1e-12))


@pytest.mark.parametrize("name", ["simple_spread", "simple_speaker_listener", "simple_reference"])
def test_trained_policies_score_alike_on_mpe2(name: str) -> None:
    task = f"mpe/{name}-discrete-v1"
    policy, card = published("mappo", task), task_card(task)
    ours = evaluate(policy, card, (0,), 2000, stream=Stream.ABSOLUTE_ENV)
    theirs = evaluate_on_reference(policy, card, (0,), 160)
    assert theirs.returns.shape == (1, 160, card.num_agents)
    assert (theirs.length == 25).all()
    assert apart(ours.team, theirs.team) < Z
    assert apart(ours.success, theirs.success) < Z


def test_a_script_scores_alike_on_lbforaging() -> None:
    from rlnet_bench.envs.lbf.policies import SCRIPTS

    card = task_card("lbf/8x8-2p-2f-coop-v1")
    policy = ScriptPolicy(SCRIPTS["forage"], card, 1)
    ours = evaluate(policy, card, (0,), 2000, stream=Stream.ABSOLUTE_ENV)
    theirs = evaluate_on_reference(policy, card, (0,), 200)
    for name in ("team", "success", "length"):
        assert apart(getattr(ours, name), getattr(theirs, name)) < Z, name


def test_the_comparison_can_fail() -> None:
    """A policy that plays another game's scores is told apart: the threshold is not too wide."""
    task = "mpe/simple_spread-discrete-v1"
    card = task_card(task)
    from rlnet_bench.envs.mpe.policies import SCRIPTS

    trained = evaluate(published("mappo", task), card, (0,), 2000)
    scripted = evaluate_on_reference(ScriptPolicy(SCRIPTS["assignment"], card, 1), card, (0,), 160)
    assert apart(trained.team, scripted.team) > Z


def test_reference_episodes_repeat() -> None:
    card = task_card("mpe/simple_spread-discrete-v1")
    policy = published("ippo", card.id)
    first, second = (evaluate_on_reference(policy, card, (0,), 8) for _ in range(2))
    assert np.array_equal(first.returns, second.returns)


def test_a_suite_can_name_the_referee(tmp_path: Path) -> None:
    from rlnet_bench.runs.store import Store

    overrides = ["tasks=[mpe/simple_spread-discrete-v1]", "methods=[uncoordinated]", "seeds=1"]
    overrides += ["evaluation.referee=reference", "evaluation.absolute_episodes=8", "evaluation.episodes=2"]
    plan = make_plan(load_suite("quick", overrides))
    store = Store.create(tmp_path / "store")
    store.add_plan(plan)
    (group,) = plan.groups
    lease = store.claim(group)
    assert lease is not None and work_on(store, group, lease) == "ok"
    record = store.record(group)
    assert record is not None and len(record.lines("reference", "deterministic")) == 1
    plain = make_plan(load_suite("quick", overrides[:3])).groups[0]
    assert "referee" not in plain.config["evaluation"] and plain.run_id != group.run_id


def test_families_without_a_second_referee_are_refused() -> None:
    with pytest.raises(BadInput, match="is its own"):
        parallel_env("vmas/balance-continuous-v1")
    with pytest.raises(BadInput, match="is its own"):
        make_plan(
            load_suite(
                "quick", ["tasks=[vmas/balance-continuous-v1]", "methods=[random]", "evaluation.referee=reference"]
            )
        )
    assert original_stepper(task_card("vmas/balance-continuous-v1")) is None
