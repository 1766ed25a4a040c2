"""The run loop: points of the curve, budgets, absolute scores, divergence, resuming."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import SPEAKER, SPREAD, TINY, Heard, Stop, StopAt, group, method, products, whole

from rlnet_bench import rng
from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import Interrupted, NotReproducible, StoreError
from rlnet_bench.learning.play import evaluate
from rlnet_bench.learning.policy import Policy
from rlnet_bench.runs import loop
from rlnet_bench.runs._check_faults import HARMS, Bomb, Disk, Fault, _harm_rows, ticking, torment
from rlnet_bench.runs.loop import Best, build_learner, curve_points, run_group
from rlnet_bench.runs.policies import load_policy
from rlnet_bench.runs.records import EvalLine, read_evals, read_timings
from rlnet_bench.vocabulary import MODES


def lines(folder: Path, kind: str = "curve", mode: str = "deterministic", seed: int = 0) -> list[EvalLine]:
    found = read_evals(folder / "evals.jsonl")[0]
    return [x for x in found if (x.kind, x.mode, x.seed) == (kind, mode, seed)]


@pytest.mark.parametrize(
    ("budget", "every", "points"),
    [
        (100, 50, [0, 50, 100]), (100, 30, [0, 30, 60, 90, 100]), (100, 100, [0, 100]), (100, 1000, [0, 100]),
        (0, 0, [0]), (1, 1, [0, 1]),
    ],
)  # fmt: skip
def test_points_of_the_curve(budget: int, every: int, points: list[int]) -> None:
    assert curve_points(budget, every) == points


def test_equal_frames_for_all_whatever_their_batches(tmp_path: Path) -> None:
    """Batches of 40 and 70 frames, points every 100: scored are the weights that act at the point."""
    small = whole(
        tmp_path / "a", budget={"frames": 250}, evaluation={"every": 100, "episodes": 2, "absolute_episodes": 2}
    )
    large = whole(tmp_path / "b", method(num_envs=7), budget={"frames": 250},
                  evaluation={"every": 100, "episodes": 2, "absolute_episodes": 2})  # fmt: skip
    for folder, each in ((small, 40), (large, 70)):
        found = lines(folder)
        assert [x.frames for x in found] == [0, 100, 200, 250]
        assert [x.trained_frames for x in found] == [each * (f // each) for f in (0, 100, 200, 250)]
        assert [x.updates for x in found] == [f // each for f in (0, 100, 200, 250)]
        assert [x.trained_frames for x in lines(folder, "final")] == [250 // each * each]  # never beyond the budget


def test_the_untrained_policy_is_scored_at_frame_0(tmp_path: Path) -> None:
    """BenchMARL's first evaluation comes after an update; Mava's scores the weights from before it."""
    config = group().config
    first = lines(whole(tmp_path / "a"))[0]
    card, learner = build_learner(config)
    expected = evaluate(learner.policy(), card, config["seeds"], 2)
    assert np.array_equal(first.returns.astype(np.float32), expected.returns[0].astype(np.float32))
    assert first.weights == loop.weights_digest(learner.policy().state_dict(), 0, 2)
    learner.iterate()
    learner.iterate()
    assert lines(tmp_path / "a")[1].weights == loop.weights_digest(learner.policy().state_dict(), 0, 2)


def test_absolute_scores_the_best_point_of_its_mode_on_fresh_episodes(tmp_path: Path) -> None:
    """BenchMARL's is the luckiest single episode of the run."""
    folder = whole(tmp_path / "a", evaluation={"every": 40, "episodes": 4, "absolute_episodes": 6})
    for seed in (0, 1):
        for mode in MODES:
            curve = lines(folder, mode=mode, seed=seed)
            best = max(curve, key=lambda x: x.team.mean())
            (absolute,) = lines(folder, "absolute", mode, seed)
            assert (absolute.point, absolute.frames, absolute.weights) == (best.point, best.frames, best.weights)
            assert absolute.returns.shape == (6, 3)
            assert not set(absolute.team) & set(best.team)
        (final,) = lines(folder, "final", seed=seed)
        assert final.weights == lines(folder, seed=seed)[-1].weights


def test_evaluation_episodes_are_none_of_training_and_none_of_each_other() -> None:
    keys = {s: set(rng.env_keys((0, 1), s, 1000).tolist()) for s in rng.Stream}
    for a in keys:
        assert len(keys[a]) == 2000
        assert all(not keys[a] & keys[b] for b in keys if b is not a)


@pytest.mark.parametrize("form", [1, 2])
def test_who_chooses_the_best_point(tmp_path: Path, form: int) -> None:
    """Every mode its own; in configurations of format 1 the primary mode for both."""
    evaluation = {"every": 40, "episodes": 4, "absolute_episodes": 2, "primary": "sampled"}
    config = {**group(evaluation=evaluation).config, "format": form}
    run_group(tmp_path / "a", config)
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    best = {m: max(lines(tmp_path / "a", mode=m), key=lambda x: x.team.mean()) for m in MODES}
    assert best["deterministic"].point != best["sampled"].point  # of these seeds: the two differ
    for mode in MODES:
        (absolute,) = lines(tmp_path / "a", "absolute", mode)
        assert absolute.weights == best["sampled" if form == 1 else mode].weights
        loaded = load_policy(tmp_path / "a", 0, mode=mode)
        assert loop.weights_digest(loaded.state_dict(), 0, 1) == absolute.weights
    assert loop.weights_digest(load_policy(tmp_path / "a", 0).state_dict(), 0, 1) == best["sampled"].weights
    names = {"best"} if form == 1 else {"best-deterministic", "best-sampled"}
    assert {f.stem for f in (tmp_path / "a" / "policies").glob("*.safetensors")} == {"final"} | names


def test_the_first_of_equal_points_is_the_best() -> None:
    best = Best.none(2)
    weights = {"w": torch.arange(4.0).view(2, 2)}
    best.offer(1, 3.0, 0, (0, 0, 0), weights)
    best.offer(1, 3.0, 1, (10, 10, 1), {"w": weights["w"] + 1})
    best.offer(1, 2.0, 2, (20, 20, 2), {"w": weights["w"] + 2})
    assert best.point == [0, 0] and best.weights["w"].tolist() == [[0, 0], [2, 3]]
    back = Best.from_state(best.state_dict())
    assert back.value == [-float("inf"), 3.0] and back.meta == best.meta


def test_events_tell_the_story(tmp_path: Path) -> None:
    heard = Heard()
    run_group(tmp_path / "a", group().config, callbacks=(heard,), checkpoint_seconds=0.0, clock=ticking())
    assert [e.data["frames"] for e in heard.of("progress")] == [40, 80, 120, 160]
    assert [e.data["frames"] for e in heard.of("evaluated")] == [0, 80, 160]
    assert len(heard.of("checkpoint")) == 4 and not heard.of("note") and not heard.of("resumed")
    assert all(e.data["rate"] > 0 for e in heard.of("progress"))


def test_timings_are_apart_from_the_records(tmp_path: Path) -> None:
    folder = whole(tmp_path / "a")
    timings = read_timings(folder / "timings.jsonl")[0]
    assert [x["frames"] for x in timings] == [0, 80, 160]
    assert "seconds" not in (folder / "evals.jsonl").read_text()


# -- resuming ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ippo", "mappo", "vdn"])
def test_interrupted_at_every_event(tmp_path: Path, name: str) -> None:
    expected = products(whole(tmp_path / "whole", method(name)))
    heard = Heard()
    config = group(method(name)).config
    run_group(tmp_path / "count", config, callbacks=(heard,), checkpoint_seconds=0.0)
    for at in range(1, len(heard.events) + 1):
        folder = tmp_path / str(at)
        with pytest.raises(Stop):
            run_group(folder, config, callbacks=(StopAt(at),), checkpoint_seconds=0.0)
        run_group(folder, config)
        assert products(folder) == expected, at


@pytest.mark.parametrize("task", [SPREAD, SPEAKER])
def test_every_harm_to_the_files_is_survived(tmp_path: Path, task: str) -> None:
    config = group(method("mappo"), tasks=[task]).config
    expected = products(whole(tmp_path / "whole", method("mappo"), tasks=[task]))
    for i, harm in enumerate(HARMS):
        folder = tmp_path / str(i)
        with pytest.raises(Stop):
            run_group(folder, config, callbacks=(StopAt(3, "checkpoint"),), checkpoint_seconds=0.0)
        story = harm(folder, random.Random(i))
        heard = Heard()
        run_group(folder, config, callbacks=(heard,))
        assert products(folder) == expected, story
        for note in heard.of("note"):
            assert note.data["text"].endswith("using the one before.")


@pytest.mark.parametrize("seed", range(6))
def test_every_harm_to_a_replay_is_survived(tmp_path: Path, seed: int) -> None:
    """The ring wraps between checkpoints, which share its segments; nothing of it is left at the end."""
    config = group(method("iql"), budget={"frames": 240}).config
    expected = products(whole(tmp_path / "whole", method("iql"), budget={"frames": 240}))
    folder, draw = tmp_path / "harmed", random.Random(seed)
    for at in (4, 1):
        with pytest.raises(Stop):
            run_group(folder, config, callbacks=(StopAt(at, "checkpoint"),), checkpoint_seconds=0.0)
        assert list((folder / "checkpoints" / "rows").iterdir())
        story = _harm_rows(folder, draw)
    run_group(folder, config)
    assert products(folder) == expected, story


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ippo", "mappo", "qmix"])
@pytest.mark.parametrize("round_", range(20))
def test_twenty_random_torments(tmp_path: Path, name: str, round_: int) -> None:
    config = group(method(name)).config
    bomb, disk = Bomb(), Disk()
    with disk.watched():
        run_group(tmp_path / "whole", config, callbacks=(bomb,), checkpoint_seconds=0.0)

    def run(folder: Path, **options: Any) -> None:
        run_group(folder, config, **options)

    story = torment(tmp_path / "a", run, bomb.seen, disk.seen, random.Random(round_))
    assert products(tmp_path / "a") == products(tmp_path / "whole"), story


def test_a_fault_in_the_middle_of_every_write(tmp_path: Path) -> None:
    config = group(method("random")).config
    disk = Disk()
    with disk.watched():
        run_group(tmp_path / "whole", config)
    assert disk.seen > 5
    for n in range(1, disk.seen + 1):
        with pytest.raises(Fault), Disk(n).watched():
            run_group(tmp_path / str(n), config)
        run_group(tmp_path / str(n), config)
        assert products(tmp_path / str(n)) == products(tmp_path / "whole"), n


def test_stopping_when_asked_leaves_a_checkpoint(tmp_path: Path) -> None:
    config = group().config
    answers = iter([False, True])
    with pytest.raises(Interrupted, match="the checkpoint is written and `rlnet-bench run` goes on from it"):
        run_group(tmp_path / "a", config, should_stop=lambda: next(answers))
    assert [p.name for p in (tmp_path / "a" / "checkpoints").iterdir()] == [f"{80:015d}"]
    heard = Heard()
    run_group(tmp_path / "a", config, callbacks=(heard,))
    assert heard.of("resumed")[0].data["frames"] == 80
    assert products(tmp_path / "a") == products(whole(tmp_path / "whole"))


def test_checkpoints_come_by_time(tmp_path: Path) -> None:
    heard = Heard()
    run_group(tmp_path / "a", group().config, callbacks=(heard,), checkpoint_seconds=60.0, clock=lambda: 0.0)
    assert not heard.of("checkpoint")


def test_a_finished_run_that_is_run_again_changes_nothing(tmp_path: Path) -> None:
    folder = whole(tmp_path / "a")
    before = products(folder)
    run_group(folder, group().config)
    assert products(folder) == before


def test_other_numbers_after_a_resume_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = group().config
    with pytest.raises(Stop):
        run_group(tmp_path / "a", config, callbacks=(StopAt(2, "evaluated"),))
    real = loop.evaluate

    def other(policy: Policy, *rest: Any, **options: Any) -> Any:
        played = real(policy, *rest, **options)
        return type(played)(played.returns + 0.001, played.success, played.length)

    monkeypatch.setattr(loop, "evaluate", other)
    with pytest.raises(NotReproducible, match=r"not reproducible: the curve line of seed 0 at frame 0"):
        run_group(tmp_path / "a", config)


# -- divergence ----------------------------------------------------------------------------------------------


class Poison:
    """A callback that makes a weight of one seed NaN after an iteration."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seeds: tuple[int, ...], at: int) -> None:
        real = loop.build_learner

        def build(config: Any) -> Any:
            card, learner = real(config)
            iterate = learner.iterate

            def poisoned() -> Any:
                if learner.updates == at:
                    for k, seed in enumerate(config["seeds"]):
                        if seed in seeds:
                            state = {n: w.clone() for n, w in learner.policy().state_dict().items()}
                            for w in state.values():
                                w.view(len(config["seeds"]), -1)[k] = float("nan")
                            learner.policy().load_state_dict(state)
                return iterate()

            learner.iterate = poisoned  # type: ignore[method-assign]
            return card, learner

        monkeypatch.setattr(loop, "build_learner", build)


def test_a_diverged_seed_keeps_its_records_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole(tmp_path / "healthy", seeds=3)
    Poison(monkeypatch, (1,), 2)
    heard = Heard()
    outcome = run_group(tmp_path / "sick", group(seeds=3).config, callbacks=(heard,))
    assert outcome.seeds == {0: "ok", 1: "diverged", 2: "ok"}
    (note,) = outcome.divergences
    assert (note.seed, note.tensor, note.frames) == (1, "policy_loss", 120)
    assert [e.data["seed"] for e in heard.of("diverged")] == [1]
    for seed in (0, 2):
        for kind in ("curve", "final", "absolute"):
            a, b = lines(expected, kind, seed=seed), lines(tmp_path / "sick", kind, seed=seed)
            assert [(x.weights, x.chain) for x in a] == [(x.weights, x.chain) for x in b]
    assert [x.frames for x in lines(tmp_path / "sick", seed=1)] == [0, 80]
    assert not lines(tmp_path / "sick", "absolute", seed=1)
    (tmp_path / "sick" / "config.json").write_text(json.dumps(group(seeds=3).config))
    assert load_policy(tmp_path / "sick", seed=0).replicas == 1


def test_divergence_survives_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Poison(monkeypatch, (0,), 1)
    config = group().config
    run_group(tmp_path / "whole", config)
    with pytest.raises(Stop):
        run_group(tmp_path / "a", config, callbacks=(StopAt(3, "checkpoint"),), checkpoint_seconds=0.0)
    outcome = run_group(tmp_path / "a", config)
    assert outcome.seeds == {0: "diverged", 1: "ok"} and len(outcome.divergences) == 1
    assert products(tmp_path / "a") == products(tmp_path / "whole")


def test_when_all_have_diverged_nothing_more_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Poison(monkeypatch, (0, 1), 1)
    heard = Heard()
    outcome = run_group(tmp_path / "a", group().config, callbacks=(heard,))
    assert set(outcome.seeds.values()) == {"diverged"}
    assert [e.data["frames"] for e in heard.of("progress")] == [40, 80]
    assert [x.frames for x in lines(tmp_path / "a")] == [0]


# -- policies ------------------------------------------------------------------------------------------------


def test_missing_policies_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no finished policy here"):
        load_policy(tmp_path)
    folder = whole(tmp_path / "a")
    (folder / "config.json").write_text(json.dumps(group().config))
    with pytest.raises(Exception, match=r"no seed 9; this run has seeds \[0, 1\]"):
        load_policy(folder, seed=9)
    (folder / "policies" / "best-deterministic.safetensors").unlink()
    with pytest.raises(StoreError, match="no best weights here"):
        load_policy(folder)
    (folder / "policies" / "final.safetensors").write_bytes(b"xx")
    with pytest.raises(StoreError, match="no final weights here"):
        load_policy(folder, which="final")


def test_evaluation_stops_counting_at_the_end_of_an_episode() -> None:
    """Episodes that end early count their own steps only, although environments start again at once."""
    card = task_card(SPREAD)
    _, learner = build_learner({**group().config, "settings": TINY})
    played = evaluate(learner.policy(), card, (0, 1), 5)
    assert played.returns.shape == (2, 5, 3) and (played.length == card.horizon).all()
    again = evaluate(learner.policy(), card, (0, 1), 5)
    assert np.array_equal(played.returns, again.returns)
