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
from rlnet_bench.errors import Interrupted
from rlnet_bench.learning.channel import degraded
from rlnet_bench.learning.learner import Divergence, Learner
from rlnet_bench.learning.play import evaluate, evaluate_on_reference
from rlnet_bench.learning.policy import Policy
from rlnet_bench.runs.callbacks import Callback, Event
from rlnet_bench.runs.checkpoint import CHECKPOINT_SECONDS, read_newest, write_checkpoint
from rlnet_bench.runs.plan import method_of, task_of
from rlnet_bench.runs.policies import save_policies
from rlnet_bench.runs.record_files import best_weights
from rlnet_bench.runs.recorder import Recorder
from rlnet_bench.runs.records import EvalLine
from rlnet_bench.vocabulary import MODES, Kind, Mode, Status


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
    card = task_of(config)
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
    checkpoint_seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Train, evaluate and record a group in ``folder``, continuing whatever is already there.

    Args:
        folder: the run directory.
        config: the resolved configuration of a :class:`~rlnet_bench.runs.plan.Group`.
        callbacks: told about every event.
        should_stop: asked between iterations; True makes a checkpoint and raises Interrupted.
        checkpoint_seconds: time between checkpoints; None: :data:`~rlnet_bench.runs.checkpoint.CHECKPOINT_SECONDS`.
        clock: seconds, injectable.

    Returns:
        What became of every seed.

    Raises:
        Interrupted: after a clean stop.
        NotReproducible: when a line made again differs from the stored one.
    """
    torch.set_num_threads(int(config["threads"]))
    folder.mkdir(parents=True, exist_ok=True)
    card, learner = build_learner(config)
    every = CHECKPOINT_SECONDS if checkpoint_seconds is None else checkpoint_seconds
    run = _GroupRun(folder, config, card, learner, Recorder(folder), callbacks, should_stop, every, clock)
    run.resume()
    run.train()
    run.finish()
    return run.outcome()


@dataclass
class _GroupRun:
    """A group while it is trained: what a checkpoint holds, and who is told."""

    folder: Path
    config: Mapping[str, Any]
    card: TaskCard
    learner: Learner
    recorder: Recorder
    callbacks: tuple[Callback, ...]
    should_stop: Callable[[], bool]
    checkpoint_seconds: float
    clock: Callable[[], float]
    next_point: int = 0
    diverged: dict[int, Divergence] = field(default_factory=dict)
    best: dict[Mode, Best] = field(init=False)
    started: float = 0.0
    saved_at: float = 0.0
    frames_at_start: int = 0

    def __post_init__(self) -> None:
        self.seeds = tuple(self.config["seeds"])
        self.evaluation = self.config["evaluation"]
        self.points = curve_points(int(self.config["frames"]), self.evaluation["every"])
        self.primary: Mode = self.evaluation["primary"]
        # Format 1 chose one best point, by the primary mode; since then every mode has its own.
        chosen: tuple[Mode, ...] = (self.primary,) if self.config["format"] == 1 else MODES
        self.best = {mode: Best.none(len(self.seeds)) for mode in chosen}

    def tell(self, kind: str, **data: Any) -> None:
        """Tell every callback of an event."""
        for callback in self.callbacks:
            callback.on_event(Event(kind, data))

    def resume(self) -> None:
        """Go on from the newest checkpoint that the records can follow, if there is one."""
        saved, notes = read_newest(self.folder / "checkpoints", lambda state: self.recorder.holds(state["recorded"]))
        for note in notes:
            self.tell("note", text=note)
        if saved is not None:
            self.learner.load_state_dict(saved["learner"])
            self.next_point = saved["next_point"]
            self.best = {mode: Best.from_state(saved["best"][mode]) for mode in self.best}
            self.diverged = {d["seed"]: Divergence(**d) for d in saved["diverged"]}
            self.tell("resumed", frames=self.learner.frames)

    def checkpoint(self) -> None:
        """Write down everything that :meth:`resume` needs."""
        write_checkpoint(
            self.folder / "checkpoints",
            self.learner.frames,
            {
                "learner": self.learner.state_dict(),
                "next_point": self.next_point,
                "best": {mode: best.state_dict() for mode, best in self.best.items()},
                "recorded": self.recorder.heads(),
                "diverged": [d.to_json() for d in self.diverged.values()],
            },
        )
        self.tell("checkpoint", frames=self.learner.frames)
        self.saved_at = self.clock()

    def train(self) -> None:
        """Train to every point of the curve that is left, and score it there."""
        self.started = self.saved_at = self.clock()
        self.frames_at_start = self.learner.frames
        for point in range(self.next_point, len(self.points)):
            frames, train_started = self.points[point], self.clock()
            while self.any_left() and self.learner.frames + self.learner.frames_per_iteration <= frames:
                self.iterate()
            eval_started = self.clock()
            if self.any_left():
                meta = dict.fromkeys(self.seeds, (point, frames, self.learner.frames, self.learner.updates))
                stream = rng.Stream.EVALUATION_ENV
                self.score("curve", self.learner.policy(), self.evaluation["episodes"], stream, meta)
            self.next_point = point + 1
            ended = self.clock()
            best = list(self.best[self.primary].value)
            self.tell("evaluated", point=point, points=len(self.points), frames=frames, best=best)
            self.recorder.timing(  # after whoever listens has made sure that the run is still ours
                frames=frames, trained_frames=self.learner.frames, updates=self.learner.updates,
                train_seconds=eval_started - train_started, eval_seconds=ended - eval_started,
                frames_per_second=self.rate(ended),
            )  # fmt: skip

    def iterate(self) -> None:
        """One iteration of the learner; then a checkpoint, when it is time or somebody asked to stop."""
        metrics = self.learner.iterate()
        for found in self.learner.divergences:
            if found.seed not in self.diverged:
                self.diverged[found.seed] = found
                self.tell("diverged", seed=found.seed, tensor=found.tensor, frames=found.frames)
        now, frames = self.clock(), self.learner.frames
        self.tell("progress", frames=frames, budget=self.points[-1], rate=self.rate(now), metrics=metrics)
        if self.should_stop():
            self.checkpoint()
            raise Interrupted("stopped as asked; the checkpoint is written and `rlnet-bench run` goes on from it.")
        if now - self.saved_at >= self.checkpoint_seconds:
            self.checkpoint()

    def any_left(self) -> bool:
        """Whether a seed has not diverged."""
        return len(self.diverged) < len(self.seeds)

    def rate(self, now: float) -> float:
        """Frames per second of all seeds since this process took up the run, evaluation included."""
        return (self.learner.frames - self.frames_at_start) * len(self.seeds) / max(now - self.started, 1e-9)

    def score(
        self,
        kind: Kind,
        policy: Policy,
        episodes: int,
        stream: rng.Stream,
        meta: Mapping[int, tuple[int, ...]],
        modes: tuple[Mode, ...] = MODES,
    ) -> None:
        """Evaluate all replicas in these modes and record a line per healthy seed.

        ``meta``: per seed, the point, its frames, the frames trained and the updates of the weights.
        """
        seeds, device = self.seeds, self.config["device"]
        weights = policy.state_dict()
        digests = [weights_digest(weights, k, len(seeds)) for k in range(len(seeds))]
        for mode in modes:
            if kind == "reference":
                played = evaluate_on_reference(policy, self.card, seeds, episodes, mode=mode, device=device)
            else:
                played = evaluate(policy, self.card, seeds, episodes, stream=stream, mode=mode, device=device)
            for k, seed in enumerate(seeds):
                if seed in self.diverged:
                    continue
                point, frames, trained, updates = meta[seed]
                if not np.isfinite(played.returns[k]).all():
                    self.diverged[seed] = Divergence(seed, "evaluation return", trained)
                    continue
                self.recorder.record(
                    EvalLine(
                        kind, mode, seed, point, frames, trained, updates,
                        played.returns[k], played.success[k], played.length[k], digests[k],
                    )
                )  # fmt: skip
                if kind == "curve" and mode in self.best:
                    best, last_chance = self.best[mode], point == len(self.points) - 1
                    if policy.competes or (last_chance and best.value[k] == -float("inf")):
                        best.offer(k, float(played.team[k].mean()), point, (frames, trained, updates), weights)
        self.recorder.sync()

    def finish(self) -> None:
        """Score the final and the best weights on fresh episodes, and keep both."""
        policy, episodes = self.learner.policy(), self.evaluation["absolute_episodes"]
        stream = rng.Stream.ABSOLUTE_ENV
        final = {k: v.clone() for k, v in policy.state_dict().items()}
        if self.any_left():
            last = (len(self.points) - 1, self.points[-1], self.learner.frames, self.learner.updates)
            self.score("final", policy, episodes, stream, dict.fromkeys(self.seeds, last))
            kinds: tuple[Kind, ...] = ("absolute", "reference")
            for kind in kinds[: 1 + (self.evaluation.get("referee") == "reference")]:
                for mode in MODES:  # the best weights by a mode are scored in that mode
                    self.score(kind, policy, episodes, stream, self._adopt_best(policy, mode), (mode,))
            meta = self._adopt_best(policy, self.primary)
            for kind, changed in degraded(policy, self.card, self.config["device"]):
                self.score(kind, changed, episodes, stream, meta, (self.primary,))
        best = {best_weights(self.config, mode): best.weights for mode, best in self.best.items()}
        sets = {"final": final, **(best if final else {})}
        save_policies(self.folder, self.card, policy, sets, self.config["device"])
        self.recorder.close()

    def _adopt_best(self, policy: Policy, mode: Mode) -> dict[int, tuple[int, int, int, int]]:
        """Load the best weights by a mode, and say per seed where on the curve they are from."""
        best = self.best.get(mode, self.best[self.primary])
        if best.weights:
            policy.load_state_dict(best.weights)
        return {s: (best.point[k], *best.meta[k]) for k, s in enumerate(self.seeds)}

    def outcome(self) -> Outcome:
        """What became of every seed."""
        seeds: dict[int, Status] = {s: "diverged" if s in self.diverged else "ok" for s in self.seeds}
        return Outcome(seeds, tuple(self.diverged.values()))


def curve_points(budget: int, every: int) -> list[int]:
    """Frames at which the curve is scored: 0, every, 2 * every, ..., and always the budget."""
    if budget == 0:
        return [0]
    return sorted({*range(0, budget + 1, every), budget})
