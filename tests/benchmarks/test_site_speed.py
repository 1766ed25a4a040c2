"""The leaderboard of 200 methods on 30 tasks: a site in under a minute, its first page below 500 KB.

The publication is made of formulae, not of training; it is read, verified, ranked and drawn like any other.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from rlnet_bench.envs.registry import task_card, task_ids
from rlnet_bench.leaderboard.site import build_site
from rlnet_bench.runs.plan import Group, Plan
from rlnet_bench.runs.published import SUITE, records_file
from rlnet_bench.runs.records import CHAIN_START, EvalLine, chained, run_id
from rlnet_bench.runs.suite import Suite

METHODS, TASKS, SEEDS, POINTS, EPISODES = 200, 30, 5, 6, 4
FRAMES, EVERY = 1_000_000, 200_000
FIRST_PAGE = 500_000
SCENE = {"bounds": [-1, -1, 1, 1], "caption": "step 0", "shapes": [["circle", 0.1, 0.2, 0.1, 0.0, [80, 80, 200], None]]}


def publication(root: Path, methods: int = METHODS, tasks: int = TASKS) -> Path:
    """A publication of so many methods on the first tasks of the catalogue; method k is better than k - 1."""
    names = task_ids()[:tasks]
    entries = [{"id": "ippo", "label": f"method-{k:03}", "set": {"entropy_coef": k / 1000}} for k in range(methods)]
    suite = Suite.model_validate({
        "name": "crowd", "tasks": names, "methods": entries, "seeds": SEEDS, "budget": {"frames": FRAMES},
        "evaluation": {"every": EVERY, "episodes": EPISODES, "absolute_episodes": EPISODES},
    })  # fmt: skip
    folder = root / "crowd-v1"
    groups = []
    for k, entry in enumerate(suite.methods):
        for task in names:
            config = {
                "format": 2, "label": entry.name, "task": task, "task_hash": task_card(task).hash(), "method": "ippo",
                "method_version": 2, "method_source": "", "settings": entry.settings(task), "network": None,
                "seeds": list(range(SEEDS)), "frames": FRAMES,
                "evaluation": {"every": EVERY, "episodes": EPISODES, "absolute_episodes": EPISODES,
                               "primary": "deterministic"},
                "training_reward": "team_mean", "device": "cpu", "dtype": "float32", "threads": 1, "compile": False,
            }  # fmt: skip
            groups.append(Group(run_id(config), config))
            _write(folder, groups[-1], k)
    (folder / SUITE).write_text(json.dumps(Plan(suite, tuple(groups)).to_json()))
    return folder


def _write(folder: Path, group: Group, k: int) -> None:
    card = task_card(group.config["task"])
    rng = np.random.default_rng([k, len(card.id)])
    header = {
        "header": 1, "run_id": group.run_id, "config": group.config, "status": "ok",
        "seeds": {str(s): "ok" for s in range(SEEDS)}, "divergences": [], "provenance": {"python": "3.11"},
        "policy": {"execution": "C" if k % 4 == 0 else "D0", "actor_parameters": 5000,
                   "columns": {"bits_up": 32 * (k % 4 == 0), "bits_down": 0, "hops": 0}},
    }  # fmt: skip
    lines = [json.dumps(header)]
    for seed in range(SEEDS):
        last = CHAIN_START
        skill = 0.01 * k + 0.1 * rng.standard_normal()
        for kind, mode, point in [
            *(("curve", "deterministic", p) for p in range(POINTS)),
            *((kind, mode, POINTS - 1) for kind in ("final", "absolute") for mode in ("deterministic", "sampled")),
        ]:
            team = np.float32(skill * point + 0.01 * rng.standard_normal(EPISODES))
            line = EvalLine(
                kind=kind, mode=mode, seed=seed, point=point, frames=point * EVERY, trained_frames=point * EVERY,  # type: ignore[arg-type]
                updates=point, returns=np.repeat(team[:, None], card.num_agents, axis=1), success=np.zeros(EPISODES),
                length=np.full(EPISODES, 25), weights=f"{k:04}{seed:012}",
            )  # fmt: skip
            text = chained(line, last)
            last = json.loads(text)["chain"]
            lines.append(text)
    file = records_file(folder, group.label, group.config["task"])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress("".join(x + "\n" for x in lines).encode(), 1, mtime=0))
    episode = file.with_name(file.name.replace(".jsonl.gz", ".episode.json.gz"))
    episode.write_bytes(gzip.compress("".join(json.dumps(SCENE) + "\n" for _ in range(25)).encode(), mtime=0))


@pytest.mark.slow
def test_two_hundred_methods_on_thirty_tasks(benchmark, tmp_path: Path) -> None:
    publication(tmp_path / "results")
    page = benchmark.pedantic(build_site, (tmp_path / "results", tmp_path / "site"), rounds=1)
    size = page.stat().st_size
    benchmark.extra_info["first page bytes"] = size
    print(f"\nsite of {METHODS} methods x {TASKS} tasks: first page {size:,} bytes")
    assert size < FIRST_PAGE
    assert len(list((tmp_path / "site" / "methods").iterdir())) == METHODS
