"""``rlnet-bench speed``: where the time of training goes on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from rlnet_bench.cli.output import JsonFlag, print_json, print_table

BUDGET_SECONDS = 3.0  # per measured part


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(speed)


def speed(
    task: Annotated[str, typer.Argument(help="A task id.")],
    method: Annotated[
        str, typer.Option("--method", help="Whose training is split: a method id, zoo/NAME or a YAML file.")
    ] = "mappo",
    envs: Annotated[int, typer.Option("--envs", min=1, help="Environments for stepping alone.")] = 4096,
    compile: Annotated[bool, typer.Option("--compile", help="Also measure compiled stepping.")] = False,
    json: JsonFlag = False,
) -> None:
    """Split the time of training into its parts: stepping, acting, valuing, forward, backward, optimiser."""
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
    from rlnet_bench.learning.untrained import UniformPolicy

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
    from rlnet_bench.learning.yardstick import gemm_rate, products_per_frame
    from rlnet_bench.methods import check_possible

    method = _method(name)
    config = method.configure({})
    check_possible(method, card, config)
    learner: Any = method.learner(card, config, (0,), total_frames=10**9, training_reward="team_mean")
    envs = getattr(config, "num_envs", 1)
    products = products_per_frame(learner)
    learner.iterate()
    parts = Parts(learner)
    rate = _rate(learner.iterate, learner.frames_per_iteration)
    spent = parts.seconds
    rows = [
        _row(
            f"{name}: {part}", envs, rate * sum(spent.values()) / seconds, f"{seconds / sum(spent.values()):.0%} of it"
        )
        for part, seconds in spent.items()
        if seconds > 0
    ]
    efficiency = f"{rate * products / gemm_rate():.2f} of this machine's matrix products, evaluation off"
    rows.append(_row(f"{name}: training", envs, rate, efficiency))
    policy = learner.policy()
    rate = _rate(lambda: evaluate(policy, card, (0,), 320), 320 * card.horizon)
    rows.append(_row("evaluating", 320, rate, "deterministic"))
    return rows


def _method(name: str) -> Any:
    from rlnet_bench.methods import find_method
    from rlnet_bench.networks.method import network_method

    return network_method(name)[0] if name.startswith("zoo/") or name.endswith((".yaml", ".yml")) else find_method(name)


class Parts:
    """Splits the time of a learner's iterations by timing what it calls; what is left over is its own.

    ``backward`` is what an update takes beside valuing, losses and optimiser steps. A learner that shows less of itself
    has fewer parts.
    """

    def __init__(self, learner: Any) -> None:
        self._totals: dict[str, float] = {}
        for owner, name in (
            (learner.env, "step"), (learner, "collect"), (learner, "estimate"), (learner, "losses"), (learner, "step"),
            (learner, "update"),
        ):  # fmt: skip
            if hasattr(owner, name):
                key = "env" if owner is learner.env else name
                self._totals[key] = 0.0
                setattr(owner, name, self._timed(key, getattr(owner, name)))

    def _timed(self, key: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self._totals[key] += time.perf_counter() - start
            return self._each(key, result) if isinstance(result, Iterator) else result

        return timed

    def _each(self, key: str, results: Iterator[Any]) -> Iterator[Any]:
        """What a generator spends between its results."""
        while True:
            start = time.perf_counter()
            result = next(results, self)
            self._totals[key] += time.perf_counter() - start
            if result is self:
                return
            yield result

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds so far, part by part; they add up to collecting and updating."""
        t = dict.fromkeys(("env", "collect", "estimate", "losses", "step", "update"), 0.0) | self._totals
        if not self._totals.get("collect"):  # it steps its environments while it learns
            t["collect"] = t["env"]
        update = t["estimate"] + t["losses"] + t["step"]
        rest = "updating" if not t["losses"] else "backward"
        return {
            "stepping": t["env"], "acting": t["collect"] - t["env"], "valuing": t["estimate"], "forward": t["losses"],
            rest: t["update"] - update, "optimiser": t["step"],
        }  # fmt: skip
