"""The run loop: train a cell group, score it at equal frames, record it, survive being killed.

A curve point at frame p scores the weights that act when frame p is sampled: those of the last
iteration that ends at or before p. So evaluation points are equal for all methods whatever their batch
sizes, and choosing other points changes no training run.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import Interrupted
from rlnet_bench.learning.channel import degraded
from rlnet_bench.learning.learner import Divergence, Learner
from rlnet_bench.learning.play import evaluate, evaluate_on_reference
from rlnet_bench.learning.policy import Policy
from rlnet_bench.runs.callbacks import Callback, Event
from rlnet_bench.runs.checkpoint import read_newest, write_checkpoint
from rlnet_bench.runs.plan import method_of
from rlnet_bench.runs.policies import save_policies
from rlnet_bench.runs.recorder import Recorder
from rlnet_bench.runs.records import EvalLine
from rlnet_bench.vocabulary import MODES, Kind, Mode, Status

CHECKPOINT_SECONDS = 60.0


@dataclass
class Best:
    """Per seed: the best curve point so far and a copy of its weights."""

    value: list[float]
    point: list[int]
    meta: list[tuple[int, int, int]]  # frames, trained frames, updates
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def none(cls, seeds: int) -> Best:
        """Before the first evaluation."""
        return cls([-float("inf")] * seeds, [0] * seeds, [(0, 0, 0)] * seeds)

    def offer(
        self,
        k: int,
        value: float,
        point: int,
        meta: tuple[int, int, int],
        weights: Mapping[str, torch.Tensor],
    ) -> None:
        """Keep seed k's weights if they scored higher than any before."""
        if value <= self.value[k]:
            return
        self.value[k], self.point[k], self.meta[k] = value, point, meta
        for name, tensor in weights.items():
            store = self.weights.setdefault(name, torch.zeros_like(tensor))
            rows = len(tensor) // len(self.value)
            store[k * rows : (k + 1) * rows] = tensor[k * rows : (k + 1) * rows]

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors; infinities become None, as JSON has none."""
        values = [None if v == -float("inf") else v for v in self.value]
        return {
            "value": values,
            "point": self.point,
            "meta": [list(m) for m in self.meta],
            "weights": self.weights,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Best:
        """Inverse of :meth:`state_dict`."""
        values = [-float("inf") if v is None else v for v in state["value"]]
        return cls(values, list(state["point"]), [tuple(m) for m in state["meta"]], dict(state["weights"]))


@dataclass(frozen=True)
class Outcome:
    """How a group ended."""

    seeds: dict[int, Status]
    divergences: tuple[Divergence, ...]


def build_learner(config: Mapping[str, Any]) -> tuple[TaskCard, Learner]:
    """The card and a fresh learner of a resolved group configuration."""
    card = task_card(config["task"])
    method = method_of(config)
    settings = method.configure(config["settings"])
    learner = method.learner(
        card,
        settings,
        tuple(config["seeds"]),
        total_frames=config["frames"],
        training_reward=config["training_reward"],
        device=config["device"],
    )
    return card, learner


def weights_digest(state: Mapping[str, torch.Tensor], replica: int, replicas: int) -> str:
    """Digest of one replica's slice of stacked weights; ``-`` for a policy without weights."""
    if not state:
        return "-"
    total = hashlib.sha256()
    for name in sorted(state):
        rows = len(state[name]) // replicas
        part = state[name][replica * rows : (replica + 1) * rows]
        total.update(name.encode() + part.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


def run_group(
    folder: Path,
    config: Mapping[str, Any],
    *,
    callbacks: tuple[Callback, ...] = (),
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Train, evaluate and record a group in ``folder``, continuing whatever is already there.

    Args:
        folder: the run directory.
        config: the resolved configuration of a :class:`~rlnet_bench.runs.plan.Group`.
        callbacks: told about every event.
        should_stop: asked between iterations; True makes a checkpoint and raises Interrupted.
        checkpoint_seconds: time between checkpoints.
        clock: seconds, injectable.

    Returns:
        What became of every seed.

    Raises:
        Interrupted: after a clean stop.
        NotReproducible: when a line made again differs from the stored one.
    """
    torch.set_num_threads(int(config["threads"]))
    seeds, budget, evaluation = tuple(config["seeds"]), int(config["frames"]), config["evaluation"]
    folder.mkdir(parents=True, exist_ok=True)

    def tell(kind: str, **data: Any) -> None:
        for callback in callbacks:
            callback.on_event(Event(kind, data))

    card, learner = build_learner(config)
    recorder = Recorder(folder)
    points = curve_points(budget, evaluation["every"])
    next_point, best = 0, Best.none(len(seeds))
    diverged: dict[int, Divergence] = {}

    saved, notes = read_newest(folder / "checkpoints", lambda state: recorder.holds(state["recorded"]))
    for note in notes:
        tell("note", text=note)
    if saved is not None:
        learner.load_state_dict(saved["learner"])
        next_point, best = saved["next_point"], Best.from_state(saved["best"])
        diverged = {d["seed"]: Divergence(**d) for d in saved["diverged"]}
        tell("resumed", frames=learner.frames)

    def checkpoint() -> None:
        write_checkpoint(
            folder / "checkpoints",
            learner.frames,
            {
                "learner": learner.state_dict(),
                "next_point": next_point,
                "best": best.state_dict(),
                "recorded": recorder.heads(),
                "diverged": [d.to_json() for d in diverged.values()],
            },
        )
        tell("checkpoint", frames=learner.frames)

    def score(
        kind: Kind,
        policy: Policy,
        episodes: int,
        stream: rng.Stream,
        meta: Mapping[int, tuple[int, ...]],
        modes: tuple[Mode, ...] = MODES,
    ) -> None:
        """Evaluate all replicas in these modes and record a line per healthy seed."""
        weights = policy.state_dict()
        digests = [weights_digest(weights, k, len(seeds)) for k in range(len(seeds))]
        for mode in modes:
            if kind == "reference":
                played = evaluate_on_reference(policy, card, seeds, episodes, mode=mode, device=config["device"])
            else:
                played = evaluate(policy, card, seeds, episodes, stream=stream, mode=mode, device=config["device"])
            for k, seed in enumerate(seeds):
                if seed in diverged:
                    continue
                point, frames, trained, updates = meta[seed]
                if not np.isfinite(played.returns[k]).all():
                    diverged[seed] = Divergence(seed, "evaluation return", trained)
                    continue
                recorder.record(
                    EvalLine(
                        kind, mode, seed, point, frames, trained, updates,
                        played.returns[k], played.success[k], played.length[k], digests[k],
                    )
                )  # fmt: skip
                last_chance = point == len(points) - 1 and best.value[k] == -float("inf")
                eligible = getattr(policy, "competes", True) or last_chance
                if kind == "curve" and mode == evaluation["primary"] and eligible:
                    best.offer(k, float(played.team[k].mean()), point, (frames, trained, updates), weights)
        recorder.sync()

    started = saved_at = clock()
    frames_at_start = learner.frames
    for point in range(next_point, len(points)):
        frames = points[point]
        train_started = clock()
        while len(diverged) < len(seeds) and learner.frames + learner.frames_per_iteration <= frames:
            metrics = learner.iterate()
            for found in learner.divergences:
                if found.seed not in diverged:
                    diverged[found.seed] = found
                    tell("diverged", seed=found.seed, tensor=found.tensor, frames=found.frames)
            now = clock()
            rate = (learner.frames - frames_at_start) * len(seeds) / max(now - started, 1e-9)
            tell("progress", frames=learner.frames, budget=budget, rate=rate, metrics=metrics)
            if should_stop():
                checkpoint()
                raise Interrupted("stopped as asked; the checkpoint is written and `rlnet-bench run` goes on from it.")
            if now - saved_at >= checkpoint_seconds:
                checkpoint()
                saved_at = clock()
        eval_started = clock()
        if len(diverged) < len(seeds):
            meta = dict.fromkeys(seeds, (point, frames, learner.frames, learner.updates))
            score("curve", learner.policy(), evaluation["episodes"], rng.Stream.EVALUATION_ENV, meta)
        next_point = point + 1
        ended = clock()
        recorder.timing(
            frames=frames, trained_frames=learner.frames, updates=learner.updates,
            train_seconds=eval_started - train_started, eval_seconds=ended - eval_started,
            frames_per_second=(learner.frames - frames_at_start) * len(seeds) / max(ended - started, 1e-9),
        )  # fmt: skip
        tell("evaluated", point=point, points=len(points), frames=frames, best=list(best.value))

    _finish(folder, config, card, learner, best, points, diverged, score)
    recorder.close()
    return Outcome({s: "diverged" if s in diverged else "ok" for s in seeds}, tuple(diverged.values()))


def _finish(
    folder: Path,
    config: Mapping[str, Any],
    card: TaskCard,
    learner: Learner,
    best: Best,
    points: list[int],
    diverged: Mapping[int, Divergence],
    score: Callable[..., None],
) -> None:
    """Score the final and the best weights on fresh episodes, and keep both."""
    seeds, episodes = tuple(config["seeds"]), config["evaluation"]["absolute_episodes"]
    policy = learner.policy()
    final = {k: v.clone() for k, v in policy.state_dict().items()}
    if len(diverged) < len(seeds):
        meta = {s: (len(points) - 1, points[-1], learner.frames, learner.updates) for s in seeds}
        score("final", policy, episodes, rng.Stream.ABSOLUTE_ENV, meta)
        meta = {s: (best.point[k], *best.meta[k]) for k, s in enumerate(seeds)}
        if final:
            policy.load_state_dict(best.weights)
        score("absolute", policy, episodes, rng.Stream.ABSOLUTE_ENV, meta)
        if config["evaluation"].get("referee") == "reference":
            score("reference", policy, episodes, rng.Stream.ABSOLUTE_ENV, meta)
        for kind, changed in degraded(policy, card, config["device"]):
            score(kind, changed, episodes, rng.Stream.ABSOLUTE_ENV, meta, (config["evaluation"]["primary"],))
    sets = {"final": final, "best": best.weights if final else {}}
    save_policies(folder, card, policy, sets, config["device"])


def curve_points(budget: int, every: int) -> list[int]:
    """Frames at which the curve is scored: 0, every, 2 * every, ..., and always the budget."""
    if budget == 0:
        return [0]
    return sorted({*range(0, budget + 1, every), budget})
