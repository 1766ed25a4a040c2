"""`check_method` passes every catalogued method, and catches learners that break the contract on purpose."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from rlnet_bench.envs.registry import task_card, task_ids
from rlnet_bench.errors import ContractViolation, RlnetError
from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.learning.policy import ActorPolicy
from rlnet_bench.methods import _REGISTRY, Capabilities, Method, find_method, method_ids, register
from rlnet_bench.runs.check import check_method

FAST = ("mpe/simple_spread-discrete-v1", "mpe/simple_speaker_listener-continuous-v1")


def one_per_family() -> list[str]:
    """The fast tasks, and of every family each kind of action on its first task (slow)."""
    first: dict[tuple[str, str], str] = {}
    for task in task_ids():
        card = task_card(task)
        first.setdefault((card.family, card.action_kind), task)
    return [*FAST, *(t for t in first.values() if t not in FAST)]


def cells() -> list[Any]:
    """The fast tasks are in the fast set; the rest of the grid is slow, and VMAS takes minutes."""
    marks = {task: [pytest.mark.slow] if task not in FAST else [] for task in one_per_family()}
    for task in marks:
        marks[task] += [pytest.mark.minutes] if task.startswith("vmas/") else []
    return [
        pytest.param(method, task, marks=marks[task], id=f"{method}-{task}")
        for method, task in itertools.product(method_ids(), one_per_family())
    ]


@pytest.mark.parametrize(("method", "task"), cells())
def test_every_method_on_what_it_claims_and_refused_on_the_rest(method: str, task: str) -> None:
    found, card = find_method(method), task_card(task)
    reason = found.impossible(card, found.configure({}))
    if reason:
        with pytest.raises(RlnetError) as refused:
            check_method(method, task)
        assert reason in str(refused.value)
        return
    check_method(method, task, seeds=(0, 1), faults=1).raise_if_failed()


@pytest.mark.slow
@pytest.mark.minutes
@pytest.mark.parametrize("task", one_per_family())
@pytest.mark.parametrize("method", [m for m in method_ids() if find_method(m).capabilities.trains])
def test_twenty_interrupted_runs(method: str, task: str) -> None:
    found = find_method(method)
    if found.impossible(task_card(task), found.configure({})):
        return  # refused; see above
    check_method(method, task, faults=20, only=["kill_and_resume"]).raise_if_failed()


@pytest.mark.parametrize(
    "settings",
    [
        {"share_parameters": False},
        {"memory": "gru"},
        {"observe": "all", "normalise_advantage": "agent", "normalise_value": False},
    ],
)
def test_settings_keep_the_contract(settings: dict[str, Any]) -> None:
    check_method("mappo", FAST[1], settings=settings, training_reward="individual", faults=1).raise_if_failed()


def test_untrained_methods_skip_by_name() -> None:
    report = check_method("random")
    assert report.ok
    skipped = {c.name for c in report if c.outcome == "skipped"}
    assert {"learner_contract", "divergence_freezes_one", "evaluation_disturbs_nothing"} <= skipped
    assert all("random does not train" in c.sentence for c in report if c.outcome == "skipped")
    assert "random on mpe/simple_spread-discrete-v1" in str(report)


def test_too_little_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 seeds and 2 iterations, found 1 and 4"):
        check_method("ippo", seeds=(0,))


def test_wrong_names_are_sentences() -> None:
    with pytest.raises(RlnetError, match=r"unknown method 'ipo'\. Did you mean 'ippo'\?"):
        check_method("ipo")
    with pytest.raises(RlnetError, match=r"ippo: unknown key 'learning_rat'\. Did you mean 'learning_rate'\?"):
        check_method("ippo", settings={"learning_rat": 1.0})
    with pytest.raises(ValueError, match=r"unknown checks \['resume'\]"):
        check_method("ippo", only=["resume"])


PpoLearner: Any = find_method("ippo").learner_class()

# -- mutants: each breaks one promise, and the check that guards it must say so -----------------------------


class Forgets(PpoLearner):
    """Its checkpoint lacks the optimiser (as in BenchMARL)."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "optimiser": {}}


class ForgetsTheEnvironment(PpoLearner):
    """Its checkpoint starts episodes anew."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict({**state, "env": self.env.state_dict()})


class GlobalNoise(PpoLearner):
    """Draws from torch's global generator."""

    def collect(self) -> None:
        super().collect()
        self.rollout.rewards += 0.01 * torch.randn(self.rollout.rewards.shape)


class StolenNoise(PpoLearner):
    """Training noise comes from a generator that acting in evaluation uses, too (as in BenchMARL)."""

    calls = 0

    def policy(self) -> Any:
        self.calls += 1
        return super().policy()

    def collect(self) -> None:
        super().collect()
        self.rollout.rewards += 0.01 * self.calls


class Miscounts(PpoLearner):
    """Counts the environments of all replicas (as papers that divide steps by ten)."""

    def iterate(self) -> dict[str, torch.Tensor]:
        metrics = super().iterate()
        self.frames += 1
        return metrics


class Spreads(PpoLearner):
    """One mean over all replicas: what happens to one happens to all."""

    def advantages(self) -> tuple[torch.Tensor, torch.Tensor]:
        advantage, returns = super().advantages()
        return advantage, returns - returns.mean()


class Unfrozen(PpoLearner):
    """Never notices a NaN."""

    def _freeze_diverged(self, metrics: dict[str, torch.Tensor]) -> None:
        return


class Seedless(PpoLearner):
    """The seed has no effect (as in Mava's issue 1194)."""

    def __init__(self, env: Any, seeds: Any, *rest: Any, **options: Any) -> None:
        super().__init__(env, tuple(0 for _ in seeds), *rest, **options)
        self.seeds = tuple(seeds)


class Pickles(PpoLearner):
    """Its state holds something that is no plain data."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "generator": torch.Generator()}


class Amnesiac(ActorPolicy):
    """Comes back with fresh weights: loading does nothing."""

    def load_state_dict(self, state: Any) -> None:
        return


class Clinging(ActorPolicy):
    """Remembers the episode before."""

    def act(self, observation: Any, state: Any, mask: Any = None, reset: Any = None, deterministic: bool = True) -> Any:
        return super().act(observation, state, mask, None, deterministic)


def acting_as(policy: type[ActorPolicy]) -> Any:
    class Acting(PpoLearner):
        def policy(self) -> Any:
            return policy(self.actor)

    Acting.__name__ = f"acting-{policy.__name__}".lower()
    return Acting


MUTANTS = [
    (Forgets, {"state_continues_to_the_bit", "kill_and_resume"}),
    (ForgetsTheEnvironment, {"state_continues_to_the_bit"}),
    (GlobalNoise, {"same_seeds_same_numbers", "state_continues_to_the_bit", "evaluation_disturbs_nothing"}),
    (StolenNoise, {"evaluation_disturbs_nothing"}),
    (Miscounts, {"learner_contract"}),
    (Spreads, {"replica_alone_or_in_a_batch", "divergence_freezes_one"}),
    (Unfrozen, {"divergence_freezes_one"}),
    (Seedless, {"same_seeds_same_numbers"}),
    (Pickles, {"state_continues_to_the_bit"}),
]


@pytest.fixture
def registered() -> Iterator[Any]:
    """Register a method around a learner class, and take it out again."""
    names = []

    def make(learner: type[Any], **attributes: Any) -> str:
        class Mutant(Method):
            @classmethod
            def learner_class(cls) -> Any:
                return learner

        name = f"mutant-{learner.__name__.lower()}"
        register(name, version=1, summary="broken", **{"Config": PpoConfig, "training": "none", **attributes})(Mutant)
        names.append(name)
        return name

    yield make
    for name in names:
        del _REGISTRY[name]


@pytest.mark.parametrize(("learner", "caught"), MUTANTS, ids=lambda x: getattr(x, "__name__", ""))
def test_mutants_are_caught(learner: type[Any], caught: set[str], registered: Any) -> None:
    report = check_method(registered(learner), seeds=(0, 1), faults=2, only=caught)
    assert caught == {c.name for c in report.failures}, str(report)
    with pytest.raises(ContractViolation, match=f"mutant-{learner.__name__.lower()} on .* breaks the contract"):
        report.raise_if_failed()


def test_what_a_method_raises_is_said_by_every_rule_that_meets_it(registered: Any) -> None:
    class Raises(PpoLearner):
        def loss(self, batch: Any) -> Any:
            return batch["nothing"]

    report = check_method(registered(Raises), seeds=(0, 1), faults=1, only=["records", "saved_policy"])
    assert [c.name for c in report.failures] == ["records", "saved_policy"]
    assert report["records"].sentence == report["saved_policy"].sentence
    assert "the method raised KeyError: 'nothing'" in report["records"].sentence
    with pytest.raises(ContractViolation, match="saved_policy: as records"):
        report.raise_if_failed()


def test_a_claim_that_is_not_kept_is_caught(registered: Any) -> None:
    name = registered(PpoLearner, capabilities=Capabilities(continuous=False))
    method = find_method(name)
    method.impossible = classmethod(lambda cls, card, config: None)  # type: ignore[method-assign,assignment]
    report = check_method(name, seeds=(0, 1), only=["capabilities"])
    assert "continuous actions: expected a refusal" in report["capabilities"].sentence


@pytest.mark.parametrize("policy", [Amnesiac, Clinging])
def test_a_policy_that_does_not_come_back_as_it_was_is_caught(policy: type[ActorPolicy], registered: Any) -> None:
    def rebuild(cls: Any, spec: Any, card: Any, seeds: Any, device: str = "cpu") -> Any:
        return policy.rebuild(spec, card, seeds, device)

    name = registered(acting_as(policy), rebuild=classmethod(rebuild))
    report = check_method(name, seeds=(0, 1), settings={"memory": "gru"}, only=["rebuilt_policy"])
    assert [c.name for c in report.failures] == ["rebuilt_policy"], str(report)
    words = {"Amnesiac": "loaded weights are not there", "Clinging": "memory from before a reset is not cleared"}
    assert words[policy.__name__] in report["rebuilt_policy"].sentence
