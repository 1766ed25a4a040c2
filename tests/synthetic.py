"""Synthetic results: records with every kind of trouble, made from a formula, without training anything."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest

from rlnet_bench.analysis.results import MethodInfo, Results
from rlnet_bench.envs.card import Reference, TaskCard
from rlnet_bench.envs.registry import task_card
from rlnet_bench.runs.records import EvalLine, RunRecord

SPREAD = "mpe/simple_spread-discrete-v1"
REFERENCE = "mpe/simple_reference-discrete-v1"
SPEAKER = "mpe/simple_speaker_listener-discrete-v1"


@dataclass(frozen=True)
class FakeResults(Results):
    """Results whose cards can be replaced."""

    cards: dict[str, TaskCard] = field(default_factory=dict)

    def card(self, task: str) -> TaskCard:
        return self.cards.get(task) or task_card(task)


def with_references(card: TaskCard, low: float = -80.0, middle: float = -50.0, high: float = -20.0) -> TaskCard:
    """The card with round reference points."""
    points = {
        "random": Reference(low, 0.1, 10_000, "random", "measure --policy random"),
        "uncoordinated": Reference(middle, 0.1, 10_000, "nearest", "measure --policy nearest"),
        "best": Reference(high, 0.1, 10_000, "assignment", "measure --policy assignment"),
    }
    return replace(card, references=points)


def card_like(task: str) -> TaskCard:
    """A card for any id: that of spread under another name."""
    return with_references(replace(task_card(SPREAD), id=task, family=task.partition("/")[0]))


def record(
    method: str,
    task: str,
    skill: float,
    *,
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    points: int = 11,
    frames: int = 100_000,
    spread: float = 0.05,
    episodes: int = 4,
    agents: int = 3,
    diverged: tuple[int, ...] = (),
    failed: tuple[int, ...] = (),
    running: bool = False,
    gap: float = 0.03,
    timings: bool = True,
) -> RunRecord:
    """A record whose runs approach the normalised score ``skill`` (0 = -80, 1 = -20)."""
    rng = np.random.default_rng([abs(hash_of(method)), abs(hash_of(task))])
    lines = []
    trains = frames > 0
    for seed in seeds:
        if seed in failed:
            continue
        level = skill + spread * rng.standard_normal()
        last = points if seed not in diverged and not running else points // 2
        for p in range(last if trains else 1):
            at = p * frames // max(points - 1, 1)
            now = level * (1 - np.exp(-4.0 * p / max(points - 1, 1))) if trains else level
            for mode, loss in (("deterministic", 0.0), ("sampled", gap)):
                lines.append(_line("curve", mode, seed, p, at, now - loss, rng, episodes, agents))
        if seed in diverged or running:
            continue
        for mode, loss in (("deterministic", 0.0), ("sampled", gap)):
            lines.append(_line("final", mode, seed, points - 1, frames, level - loss - 0.01, rng, episodes, agents))
            lines.append(_line("absolute", mode, seed, points - 2, frames, level - loss, rng, episodes, agents))
    status = {
        s: "diverged" if s in diverged else "failed" if s in failed else "running" if running else "ok" for s in seeds
    }
    config = {
        "label": method, "method": method, "task": task, "seeds": list(seeds), "frames": frames, "device": "cpu",
        "task_hash": "c0ffee" * 10, "method_version": 1, "settings": {"learning_rate": 5e-4, "hidden": [64, 64]},
    }  # fmt: skip
    clock = [
        {
            "frames": p * frames // (points - 1),
            "train_seconds": 3.2 * (p > 0),
            "eval_seconds": 0.5,
            "host": "secret-host",
        }
        for p in range(points)
    ]
    return RunRecord(
        run_id=f"{abs(hash_of(method + task + str(seeds))):016x}"[:16],
        config=config,
        status="running" if running else "ok",
        seed_status=status,  # type: ignore[arg-type]
        evals=tuple(lines),
        timings=tuple(clock) if timings and trains else (),
        provenance={
            "rlnet_bench": "0.1.0", "torch": "2.13.0", "python": "3.11.7", "commit": "0123abcd", "host": "secret-host",
            "started": "2026-11-21T03:00:00", "argv": ["/home/secret/bin/rlnet-bench", "run", "quick"],
        },
        divergences=tuple({"seed": s, "frame": 40_000, "tensor": "policy_loss"} for s in diverged),
        reason="out of memory on the node" if failed else "",
    )  # fmt: skip


def hash_of(text: str) -> int:
    """A stable hash."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "little")


def _line(
    kind: str, mode: str, seed: int, point: int, frames: int, level: float, rng: np.random.Generator,
    episodes: int, agents: int,
) -> EvalLine:  # fmt: skip
    team = -80.0 + 60.0 * (level + 0.02 * rng.standard_normal(episodes))
    return EvalLine(
        kind=kind, mode=mode, seed=seed, point=point, frames=frames, trained_frames=frames,  # type: ignore[arg-type]
        updates=frames // 1000, returns=np.repeat(team[:, None] / agents, agents, axis=1),
        success=np.clip(level + 0.02 * rng.standard_normal(episodes), 0, 1),
        length=np.full(episodes, 25), weights=f"{seed:016x}", chain="0" * 16,
    )  # fmt: skip


def build(
    skills: dict[str, float],
    tasks: tuple[str, ...] = (SPREAD, REFERENCE),
    *,
    execution: dict[str, str] | None = None,
    controls: dict[str, float] | None = None,
    special: dict[tuple[str, str], dict[str, object]] | None = None,
    absent: tuple[tuple[str, str], ...] = (),
    **options: object,
) -> FakeResults:
    """Results of trained methods (label -> skill) and controls, with options per (method, task)."""
    execution, special = execution or {}, special or {}
    controls = {"random": 0.0, "nearest": 0.5} if controls is None else controls
    infos = [
        MethodInfo(m, m, f"the {m} method", execution.get(m, "D0"), "independent", 12_345, True, citation(m))
        for m in skills
    ]
    infos += [MethodInfo(m, m, "a control", "D0", "none", None, False) for m in controls]
    seeds = options.get("seeds", (0, 1, 2, 3, 4))
    records = []
    for i, task in enumerate(tasks):
        for m, skill in {**skills, **controls}.items():
            if (m, task) in absent:
                continue
            extra = {"frames": 0, "timings": False, "spread": 0.0} if m in controls else {}
            records.append(record(m, task, skill - 0.02 * i, **{**options, **extra, **special.get((m, task), {})}))  # type: ignore[arg-type]
    return FakeResults(
        "quick", 1, tasks, tuple(infos), tuple(seeds), "deterministic", tuple(records),  # type: ignore[arg-type]
        {"name": "quick", "version": 1, "tasks": list(tasks), "methods": list(skills)},
        cards={t: _card(t) for t in tasks},
    )  # fmt: skip


def _card(task: str) -> TaskCard:
    return with_references(task_card(task)) if task.startswith("mpe/") else card_like(task)


def citation(method: str) -> str:
    """A BibTeX entry of a method."""
    key = "".join(c for c in method if c.isalnum()) or "x"
    return f"@article{{{key}2020,\n  title = {{On {{{method}}}}},\n  author = {{A. Author}},\n  year = {{2020}}\n}}"


@pytest.fixture(scope="session")
def quick() -> FakeResults:
    """Three D0 methods (two close, one far below), one D1 and one C, five seeds, one diverged run."""
    return build(
        {"ippo": 0.60, "mappo": 0.62, "weak": 0.20, "talker": 0.75, "central": 0.90},
        (SPREAD, REFERENCE, SPEAKER),
        execution={"talker": "D1", "central": "C"},
        special={("weak", SPREAD): {"diverged": (3,)}},
    )


@pytest.fixture(scope="session")
def partial() -> FakeResults:
    """A store that was stopped half-way: one cell running, one failed seed, one cell not begun."""
    return build(
        {"ippo": 0.6, "mappo": 0.4},
        (SPREAD, REFERENCE),
        special={("mappo", SPREAD): {"running": True}, ("ippo", SPREAD): {"failed": (4,)}},
        absent=(("mappo", REFERENCE),),
    )


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The builders, for tests that need results of their own."""
    return SimpleNamespace(build=build, record=record, card_like=card_like, with_references=with_references)
