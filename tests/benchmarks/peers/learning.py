"""Do we learn what BenchMARL learns? IPPO and MAPPO of both on VMAS balance, with equal settings and frames.

Every run of both sides is scored once, after its last update, by the deterministic policy on fresh episodes. A run that
is there is not made again, so that seeds can be added. What is equal, what cannot be, and the margin of equivalence are
written down in ``docs/environments.md``. Usage: ``python tests/benchmarks/peers/learning.py SEED ...``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
from homes import HERE, ONE_THREAD, PEERS, python_of

from rlnet_bench.analysis.exported import from_results
from rlnet_bench.analysis.loading import load_results
from rlnet_bench.foreign.benchmarl import read_benchmarl
from rlnet_bench.runs.plan import make_plan
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import Suite
from rlnet_bench.runs.worker import work
from rlnet_bench.stats.intervals import welch
from rlnet_bench.stats.permutation import permutation_test
from rlnet_bench.stats.scores import RunScores

TASK, AGENTS, METHODS = "vmas/balance-continuous-v1", 4, ("ippo", "mappo")
FRAMES, EPISODES = 256_000, 200
EQUAL = {
    "num_envs": 128, "rollout_steps": 100, "epochs": 4, "minibatches": 8, "learning_rate": 2e-3, "gamma": 0.9,
    "gae_lambda": 0.9, "clip": 0.2, "entropy_weight": 0.0, "max_grad_norm": 5.0, "hidden": [64, 64],
}  # fmt: skip
# What BenchMARL does without asking, said in our words. Its squared errors are not halved.
LIKE_THEIRS = {
    "critic_hidden": EQUAL["hidden"], "anneal": False, "normalise_value": False, "normalise_advantage": "none",
    "value_weight": 2.0, "share_parameters": True, "activation": "tanh",
}  # fmt: skip
MARGIN = 2.5  # of the mean return per agent; see docs/environments.md
HOME = PEERS / "learning"


def theirs(seeds: list[int]) -> dict[str, dict[int, float]]:
    """Mean returns per agent of BenchMARL's runs, by method and seed."""
    settings = json.dumps(EQUAL | {"frames": FRAMES, "episodes": EPISODES})
    found: dict[str, dict[int, float]] = {m: {} for m in METHODS}
    for seed in seeds:
        for method in METHODS:
            folder = HOME / f"{method}-{seed}"
            if not (done := folder / "done").exists():
                shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left
                command = [python_of("benchmarl"), str(HERE / "benchmarl_learn.py"), method, str(seed), str(folder)]
                with (HOME / "log.txt").open("a") as log:
                    subprocess.run([*command, settings], check=True, env=os.environ | ONE_THREAD, stderr=log)
                done.touch()
            for e in read_benchmarl(folder).evaluations:
                if e.kind == "curve" and e.frames == FRAMES:
                    found[method][seed] = e.value  # BenchMARL's returns are means over agents
    return found


def ours(seeds: list[int]) -> dict[str, dict[int, float]]:
    """The same of ours, of the same shape."""
    suite = Suite.model_validate({
        "name": "learning", "tasks": [TASK], "methods": [{"id": m, "set": EQUAL | LIKE_THEIRS} for m in METHODS],
        "seeds": seeds, "budget": {"frames": FRAMES},
        "evaluation": {"every": FRAMES, "episodes": EPISODES, "absolute_episodes": 2},
    })  # fmt: skip
    plan = make_plan(suite)
    path = HOME / "store"
    store = Store(path) if path.exists() else Store.create(path)
    store.add_plan(plan)
    work(store, plan.groups)
    found: dict[str, dict[int, float]] = {m: {} for m in METHODS}
    for e in from_results(load_results(store)).evaluations:
        if (e.kind, e.mode) == ("final", "deterministic"):
            found[e.method][e.seed] = e.value / AGENTS
    return found


def verdict(a: np.ndarray, b: np.ndarray) -> str:
    """Two one-sided 5 % tests against the margin, and a permutation test of no difference."""
    low, high = welch(b, a, 0.9)
    pair = [RunScores.from_arrays(name, {TASK: x.tolist()}) for name, x in (("ours", a), ("theirs", b))]
    p = permutation_test(*pair, np.random.default_rng(0)).p_value
    word = "equivalent" if low > -MARGIN and high < MARGIN else "different" if p < 0.05 else "undecided"
    return f"difference {a.mean() - b.mean():+.2f}, 90 % interval [{low:.2f}, {high:.2f}], p = {p:.3f}: {word}"


def main(seeds: list[int]) -> None:
    """Print every run, and a line per method."""
    HOME.mkdir(parents=True, exist_ok=True)
    others, mine = theirs(seeds), ours(seeds)
    print("method,package,seed,mean_return_per_agent")
    for method in METHODS:
        for package, runs in (("rlnet_bench", mine), ("benchmarl", others)):
            for seed, value in sorted(runs[method].items()):
                print(f"{method},{package},{seed},{value:.3f}")
    for method in METHODS if len(seeds) > 1 else ():
        a, b = (np.array(list(runs[method].values())) for runs in (mine, others))
        print(f"{method}: ours {a.mean():.2f} (deviation {a.std(ddof=1):.2f}), BenchMARL {b.mean():.2f} "
              f"({b.std(ddof=1):.2f}); {verdict(a, b)}; margin {MARGIN}")  # fmt: skip


if __name__ == "__main__":
    main(sorted(map(int, sys.argv[1:])))
