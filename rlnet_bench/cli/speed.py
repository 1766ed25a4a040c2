"""``rlnet-bench speed``: where the time of training goes on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from rlnet_bench.cli.output import JsonFlag, print_json, print_table

BUDGET_SECONDS = 3.0  # per measured part


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(speed)


def speed(
    task: Annotated[str, typer.Argument(help="A task id.")],
    method: Annotated[str, typer.Option("--method", help="Whose acting and updating is measured.")] = "mappo",
    envs: Annotated[int, typer.Option("--envs", min=1, help="Environments for stepping alone.")] = 4096,
    compile: Annotated[bool, typer.Option("--compile", help="Also measure compiled stepping.")] = False,
    json: JsonFlag = False,
) -> None:
    """Split the time of training into stepping, acting, updating and evaluating."""
    import torch

    from rlnet_bench.typed import task_card

    torch.set_num_threads(1)
    card = task_card(task)
    rows = [_stepping(card, envs, False)]
    if compile:
        rows.append(_stepping(card, envs, True))
    original = _original(card)
    if original:
        rows.append(original)
    rows += _training(card, method)
    if json:
        print_json(rows)
        return
    shown = [(r["part"], r["environments"], f"{r['frames_per_second']:,.0f}", r["note"]) for r in rows]
    print(f"{task}, one thread, {torch.get_num_threads()} of this machine's cores")
    print_table(("part", "environments", "frames/s", ""), shown)


def _rate(once: Callable[[], Any], frames: int) -> float:
    """Frames per second of a repeated call, after two calls of warm-up."""
    once(), once()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < BUDGET_SECONDS:
        once()
        count += 1
    return count * frames / (time.perf_counter() - started)


def _row(part: str, environments: int, rate: float, note: str = "") -> dict[str, Any]:
    return {"part": part, "environments": environments, "frames_per_second": rate, "note": note}


def _stepping(card: Any, envs: int, compile: bool) -> dict[str, Any]:
    from rlnet_bench import rng
    from rlnet_bench.envs.registry import make_env
    from rlnet_bench.learning.fixed import UniformPolicy

    options: dict[str, Any] = {"compile": True} if compile else {}
    env = make_env(card, envs, **options)
    keys = rng.env_keys((0,), rng.Stream.USER, envs)
    now = env.reset(keys)
    policy = UniformPolicy(card, 1)
    actions = policy.act(now.observation, policy.initial_state(envs, keys), now.action_mask)[0]
    rate = _rate(lambda: env.step(actions), envs)
    env.close()
    return _row("stepping, compiled" if compile else "stepping", envs, rate, "resets included")


def _original(card: Any) -> dict[str, Any] | None:
    from rlnet_bench.envs.reference import original_stepper

    step = original_stepper(card)
    return None if step is None else _row(f"original ({card.faithful_to})", 1, _rate(step, 1), "one environment")


def _training(card: Any, name: str) -> list[dict[str, Any]]:
    from rlnet_bench.learning.play import evaluate
    from rlnet_bench.methods import check_possible
    from rlnet_bench.typed import find_method

    method = find_method(name)
    config = method.configure({})
    check_possible(method, card, config)
    learner: Any = method.learner(card, config, (0,), total_frames=10**9, training_reward="team_mean")
    frames = learner.frames_per_iteration
    envs = getattr(config, "num_envs", 1)
    rows = []
    if hasattr(learner, "collect"):
        rows.append(_row(f"{name}: stepping and acting", envs, _rate(learner.collect, frames)))
        rows.append(_row(f"{name}: updating", envs, _rate(learner.update, frames)))
    rows.append(_row(f"{name}: training", envs, _rate(learner.iterate, frames), "end to end, evaluation off"))
    policy = learner.policy()
    rate = _rate(lambda: evaluate(policy, card, (0,), 320), 320 * card.horizon)
    rows.append(_row("evaluating", 320, rate, "deterministic"))
    return rows
