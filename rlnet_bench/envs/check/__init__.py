"""``check_env``: the public conformance test of the environment contract.

    >>> from rlnet_bench.envs.check import check_env
    >>> report = check_env("mpe/simple_spread-discrete-v1", num_envs=4, steps=100)
    >>> report.ok
    True

Anyone who adds a task calls it in one line of a test: ``check_env(my_task).raise_if_failed()``.
"""

from __future__ import annotations

import dataclasses

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.check import devices, rules, state, twins  # noqa: F401
from rlnet_bench.envs.check.play import Factory, Subject
from rlnet_bench.envs.check.report import CheckReport, judge
from rlnet_bench.envs.check.rules import Rule
from rlnet_bench.envs.contract import VectorEnv
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.trust import typed

RULES: tuple[Rule, ...] = tuple(rules.RULES)


def check_env(
    task_or_factory: str | TaskCard | Factory,
    num_envs: int = 8,
    steps: int = 1000,
    device: str = "cpu",
    *,
    longer: Factory | None = None,
) -> CheckReport:
    """Test an environment against every obligation of :mod:`rlnet_bench.envs.contract`.

    The caller's random streams are left as they were. Nothing is raised for what the environment does
    wrong: an exception inside it is a failed check.

    Args:
        task_or_factory: a task id, a card, or ``factory(num_envs, device) -> VectorEnv``.
        num_envs: B, at least 2.
        steps: random batch steps of the long play; raised to two horizons where it is shorter.
        device: where the environment runs; the host-copy check always runs on the CPU.
        longer: a factory of the same task with a time limit one step later, which shows what the
            final observation should have been. Made from the card where a task id or a card is given.

    Raises:
        ValueError: fewer than two environments were asked for.
        RlnetError: the task is unknown or its package is missing.
    """
    if num_envs < 2:
        raise ValueError(f"num_envs: expected at least 2 (environments are compared), found {num_envs}")
    subject = _subject(task_or_factory, num_envs, steps, device, longer)
    return CheckReport(
        subject.card.id, device, num_envs, tuple(judge(rule, subject, "the environment") for rule in RULES)
    )


def _subject(
    given: str | TaskCard | Factory, num_envs: int, steps: int, device: str, longer: Factory | None
) -> Subject:
    if isinstance(given, (str, TaskCard)):
        if isinstance(given, str):
            typed(given)
        card = task_card(given) if isinstance(given, str) else given
        return Subject(_factory(card), card, num_envs, steps, device, longer or _factory(_later(card)))
    env = given(num_envs, device)
    env.close()
    return Subject(given, env.card, num_envs, steps, device, longer)


def _later(card: TaskCard) -> TaskCard:
    """The card with its time limit one step later, wherever it is written down."""
    limits = ("max_cycles", "max_episode_steps", "max_steps", "horizon")
    constructor = {k: v + 1 if k in limits and v == card.horizon else v for k, v in card.constructor.items()}
    return dataclasses.replace(card, horizon=card.horizon + 1, constructor=constructor)


def _factory(card: TaskCard) -> Factory:
    def build(num_envs: int, device: str) -> VectorEnv:
        return make_env(card, num_envs, device)

    return build
