"""Checks that compare environments with each other, to the bit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlnet_bench.envs.check.play import (
    Recording,
    Subject,
    choose,
    copy,
    differences,
    draw_noise,
    play,
    proceed,
)
from rlnet_bench.envs.check.rules import Skip, Violation, require, rule
from rlnet_bench.envs.contract import Scene, Shape


@contextmanager
def other_streams() -> Iterator[None]:
    """Every global random stream in another state than the caller's, put back afterwards."""
    saved = _global_streams()
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global stream is the point
    random.seed(1)
    try:
        yield
    finally:
        torch.set_rng_state(saved[0])
        np.random.set_state(saved[1])  # noqa: NPY002
        random.setstate(saved[2])


def _global_streams() -> tuple[Tensor, Any, Any]:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002


def _moved(before: tuple[Tensor, Any, Any]) -> list[str]:
    after = _global_streams()
    same_numpy = before[1][2] == after[1][2] and np.array_equal(before[1][1], after[1][1])
    same = {"torch": torch.equal(before[0], after[0]), "numpy": same_numpy, "random": before[2] == after[2]}
    return [name for name, unchanged in same.items() if not unchanged]


@rule
def determinism(subject: Subject) -> str:
    """Same seeds and actions in a fresh batch, whatever the global random streams: the same numbers."""
    noise = subject.noise[: subject.window]
    with other_streams(), subject.fresh() as env:
        again = play(env, subject.seeds, noise)
    require(differences(subject.main, again, subject.rows, subject.rows))
    return f"two fresh batches are bit-equal over {len(noise)} steps"


@rule
def reset_forgets(subject: Subject) -> str:
    """``reset`` on a used batch gives the same numbers as on a fresh one."""
    noise = subject.noise[: subject.window]
    with subject.fresh() as env:
        # Left in the middle of a second episode, so that every counter has moved.
        play(env, subject.seeds.flip(0) + 1, subject.noise[: 3 * subject.card.horizon // 2 + 1])
        again = play(env, subject.seeds, noise)
    require(differences(subject.main, again, subject.rows, subject.rows))
    return f"a used batch is bit-equal to a fresh one over {len(noise)} steps"


@rule
def global_streams(subject: Subject) -> str:
    """``reset``, ``step`` and an automatic reset leave torch's, numpy's and Python's streams alone."""
    found = []
    with subject.fresh() as env:
        before = _global_streams()
        mask = env.reset(subject.seeds.clone()).action_mask
        found += [f"reset moved the global stream of {name}" for name in _moved(before)]
        before = _global_streams()
        proceed(env, mask, subject.noise[: subject.window])
        found += [f"step moved the global stream of {name}" for name in _moved(before)]
    require(found)
    return "torch, numpy and random untouched"


@rule
def inputs(subject: Subject) -> str:
    """The caller's seeds and actions are neither modified nor kept."""
    noise, found = subject.noise[: subject.window], []
    with subject.fresh() as env:
        seeds = subject.seeds.clone()
        start = copy(env.reset(seeds))
        if not torch.equal(seeds, subject.seeds):
            found.append("reset modified the seeds that it was given")
        seeds.fill_(0)  # a caller may reuse its buffer: the environment must have copied it
        steps, mask = [], start.action_mask
        for t, row in enumerate(noise):
            actions = choose(env.card, row, mask)
            given = actions.clone()
            steps.append(copy(env.step(actions)))
            if not torch.equal(actions, given):
                found.append(f"step {t} modified the actions that it was given")
            actions.fill_(0)
            mask = steps[-1].action_mask
    require(found)
    kept = differences(subject.main, Recording(start, steps), subject.rows, subject.rows)
    require([f"after the caller reused its seeds and actions buffers: {s}" for s in kept[:1]])
    return "seeds and actions are only read"


@rule
def batch_invariance(subject: Subject) -> str:
    """An environment alone, in this batch and in a larger one, to the bit."""
    if not subject.card.batch_invariant:
        raise Skip("the card says batch_invariant=False")
    noise, rows = subject.noise[: subject.window], subject.rows
    found = []
    for i in (rows[0], rows[-1]):
        with subject.fresh(1) as env:
            alone = play(env, subject.seeds[[i]], noise[:, [i]])
        found += [f"B=1: {s}" for s in differences(subject.main, alone, [i], [0])]
    # A size that is no multiple of any vector width, every environment at a new place.
    large = [rows[k % len(rows)] for k in range(5 * len(rows) + 3)]
    with subject.fresh(len(large)) as env:
        crowd = play(env, subject.seeds[large], noise[:, large])
    places = [4 * len(rows) + i for i in rows]
    found += [f"B={len(large)}: {s}" for s in differences(subject.main, crowd, rows, places)]
    require(found)
    return f"bit-equal at B = 1, {subject.num_envs} and {len(large)}"


@rule
def final_observation(subject: Subject) -> str:
    """``final_*`` belong to the ended episode, ``observation`` and ``state`` to the next one."""
    main, found = subject.main, []
    if not bool(main.ended.any()):
        raise Violation(f"no episode ended in {len(main.steps)} steps")
    for name in ("observation", "state"):
        if torch.equal(main.tensor(f"final_{name}")[main.ended], main.tensor(name)[main.ended]):
            found.append(
                f"final_{name}: equal to {name} at every episode end; "
                "expected the last of the ended episode against the first of the next"
            )
    require(found)
    limit = subject.card.horizon
    if subject.longer is None:
        return "differs from the next episode's first (no longer twin was given)"
    with _closing(subject.longer(subject.num_envs, subject.device)) as env:
        twin = play(env, subject.seeds, subject.noise[:limit])
    # Environments still in their first episode just before the limit: cut here, not yet cut there.
    first = ~main.ended[: limit - 1].any(dim=0) & main.tensor("truncated")[limit - 1] & ~twin.ended[limit - 1]
    if not bool(first.any()):
        return "differs from the next episode's first (no twin with a later time limit to compare with)"
    for name in ("observation", "state"):
        ours, theirs = main.tensor(f"final_{name}")[limit - 1][first], twin.tensor(name)[limit - 1][first]
        if not torch.equal(ours, theirs):
            at = tuple((ours != theirs).nonzero()[0].tolist())
            found.append(
                f"final_{name}: expected what the same environment shows when its time limit is one step "
                f"later ({theirs[at].item()!r}), found {ours[at].item()!r} at element {list(at)}"
            )
    require(found)
    return f"equal to a twin with a later time limit in {int(first.sum())} environments"


@contextmanager
def _closing(env: Any) -> Iterator[Any]:
    try:
        yield env
    finally:
        env.close()


@rule
def next_episode(subject: Subject) -> str:
    """Episode e starts the same whatever was done in the episodes before it."""
    if not subject.card.batch_invariant:
        raise Skip("the card says batch_invariant=False: the start may depend on earlier draws")
    noise = draw_noise(subject.card, 2 * subject.card.horizon, subject.num_envs, subject.device, salt=1)
    with subject.fresh() as env:
        other = play(env, subject.seeds, noise)
    found, compared = [], 0
    for i in subject.rows:
        pairs = zip(subject.main.first_observations(i), other.first_observations(i))
        for e, (a, b) in enumerate(pairs):
            compared += 1
            if not torch.equal(a, b):
                sentence = f"the first observation of episode {e} changed with earlier actions"
                found.append(f"environment {i}: {sentence}")
                break
    require(found)
    return f"{compared} first observations do not depend on the past"


@rule
def scene(subject: Subject) -> str:
    """``scene(i)`` is made of drawable shapes, shows how episodes end, and does not disturb the environment."""
    noise, half = subject.noise[: subject.window], subject.card.horizon // 2 + 1
    looks: list[list[Scene]] = []
    with subject.fresh() as env:
        env.at_end = lambda: looks.append([env.scene(i) for i in subject.rows])
        start = copy(env.reset(subject.seeds.clone()))
        try:
            steps = proceed(env, start.action_mask, noise[:half])
            pictures = [env.scene(i) for i in subject.rows]
        except NotImplementedError as reason:
            raise Skip(str(reason) or "the task has no pictures") from None
        steps += proceed(env, steps[-1].action_mask, noise[half:])
    found = []
    ends = sum(bool((s.terminated | s.truncated).any()) for s in steps)
    if len(looks) != ends:
        found.append(f"at_end: expected a call in each of the {ends} steps in which episodes end, found {len(looks)}")
    for i, picture in enumerate(p for row in (pictures, *looks) for p in row):
        x_min, y_min, x_max, y_max = picture.bounds
        if not (x_min < x_max and y_min < y_max):
            found.append(f"scene({i}): expected bounds (x_min, y_min, x_max, y_max), found {picture.bounds}")
        for shape in picture.shapes:
            if not isinstance(shape, Shape) or not np.isfinite([shape.x, shape.y, shape.size, shape.angle]).all():
                found.append(f"scene({i}): expected finite shapes, found {shape}")
    require(found)
    moved = differences(subject.main, Recording(start, steps), subject.rows, subject.rows)
    require([f"after scene(): {sentence}" for sentence in moved])
    return f"{len(pictures[0].shapes)} shapes in the first of {len(pictures)} pictures"
