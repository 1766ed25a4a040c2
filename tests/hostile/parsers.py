"""What is mutated, and what reads it: good files made by the package itself, and the function that a mutant goes to."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import mutants
import numpy as np
import small

from rlnet_bench.analysis import judge
from rlnet_bench.analysis.imported import to_results
from rlnet_bench.analysis.loading import load_results, load_source
from rlnet_bench.errors import RlnetError
from rlnet_bench.foreign.door import Options, read_foreign
from rlnet_bench.leaderboard.accept import accept
from rlnet_bench.leaderboard.check import check_board, check_submission
from rlnet_bench.leaderboard.entries import entries
from rlnet_bench.leaderboard.evidence import write_evidence
from rlnet_bench.leaderboard.folder import Folder, write_sums
from rlnet_bench.leaderboard.pack import pack
from rlnet_bench.leaderboard.policies import digests
from rlnet_bench.leaderboard.season import Drawing, Log, freeze, open_season, read_beacon, read_season, read_secret
from rlnet_bench.leaderboard.snapshot import FILE as BOARD
from rlnet_bench.leaderboard.snapshot import snapshot_from_json
from rlnet_bench.leaderboard.verify import verify
from rlnet_bench.networks.method import NetworkSpec, network_method
from rlnet_bench.reading.plain import read_json
from rlnet_bench.reading.tensors import read_arrays
from rlnet_bench.reading.yaml import load
from rlnet_bench.runs.check_store import check_store
from rlnet_bench.runs.checkpoint import read_newest, write_checkpoint
from rlnet_bench.runs.compact import compact, index_frame
from rlnet_bench.runs.lease import LEASE_SECONDS, holder, take
from rlnet_bench.runs.plan import make_plan, run_id
from rlnet_bench.runs.publish import publish
from rlnet_bench.runs.store import Store
from rlnet_bench.runs.suite import parse_suite
from rlnet_bench.runs.watch import snapshot
from rlnet_bench.runs.worker import work

SUITE = """\
name: quick
version: 2
description: a suite
tasks: [mpe/simple_spread-discrete-v1, lbf/8x8-2p-2f-coop-v1]
methods:
  - random
  - {id: mappo, label: ours, set: {learning_rate: 5.0e-4, hidden: [64, 64]}}
  - {network: zoo/tag-3ppo, per_task: {lbf/8x8-2p-2f-coop-v1: {gamma: 0.9}}}
seeds: 5
budget: {frames: 100_000}
evaluation: {every: 10_000, episodes: 32, primary: deterministic}
training_reward: team_mean
"""
CSV = """\
method,task,seed,frames,episode,return,agent,kind,mode,scale,status,floor,success,horizon
ippo,spread,0,0,0,-10.5,,curve,deterministic,sum,ok,-99,0.5,25
ippo,spread,0,100,mean,-3,,final,deterministic,sum,ok,-99,,25
ippo,spread,1,100,0,-5,,final,deterministic,sum,ok,-99,0.5,25
ippo,spread,1,100,1,-5,,final,deterministic,sum,ok,-99,1,25
mappo,spread,1,100,0,1e-3,,final,deterministic,sum,ok,-99,1,25
mappo,spread,2,0,0,,,,,sum,diverged,-99,,25
"""
PANEL = (
    '"env_step","ippo-spread-0 - eval/return","ippo-spread-0 - eval/return__MIN","ippo-spread-0 - eval/return__MAX",'
    '"ippo-spread-1 - eval/return"\n"0","-9","-9","-9",""\n"10","-5","-5","-5","-6"\n'
)
MARL_EVAL = {
    "env": {"task": {
        name: {f"seed_{s}": {
            "step_0": {"step_count": 0, "return": [1.0, 3.0], "elapsed_time": 1},
            "step_1": {"step_count": 100, "return": [2.0 + s, 6.0], "win_rate": [0.0, 1.0]},
            "absolute_metrics": {"return": [4.0, 5.0, 3.0 + s]},
        } for s in (1, 2)} for name in ("ippo", "mappo")
    }}
}  # fmt: skip
SACRED = {
    "config.json": {"name": "qmix", "seed": 3, "env": "gymma", "env_args": {"key": "lbforaging:8x8", "time_limit": 50},
                    "test_nepisode": 32, "test_greedy": True, "common_reward": True, "reward_scalarisation": "sum"},
    "metrics.json": {"test_return_mean": {"steps": [0, 50], "values": [0.1, {"value": 0.5}], "timestamps": ["a", "b"]},
                     "test_battle_won_mean": {"steps": [0, 50], "values": [0, 1]}},
}  # fmt: skip
NETWORK = Path(sys.modules["rlnet_bench"].__file__ or "").parent / "networks" / "zoo"


@dataclass(frozen=True)
class Parser:
    """Good files below a folder, and what reads the folder.

    ``files`` are (path, kind) of what is mutated; ``read`` is given the folder, and may raise RlnetError alone.
    """

    name: str
    make: Callable[[Path], None]
    files: Callable[[Path], list[tuple[Path, str]]]
    read: Callable[[Path, Random], None]
    forge: Callable[[Path, Random, mutants.Mutator], None] | None = None


def one_file(name: str, data: str | bytes, kind: str) -> tuple[Callable[[Path], None], Any]:
    """A parser's folder with one file."""
    raw = data if isinstance(data, bytes) else data.encode()

    def make(root: Path) -> None:
        (root / name).write_bytes(raw)

    return make, lambda root: [(root / name, kind)]


# -- our own ------------------------------------------------------------------------------------------------


def make_store(root: Path) -> None:
    """A finished store of a trained method and a control, published and indexed."""
    store, plan = small.store(root / "store", small.method(), small.method("random"))
    plan_file = store.keep_plan(plan)
    work(store, plan.groups)
    compact(store)
    publish(store, plan, root / "results")
    folder = store.folder(plan.groups[0])
    take(folder / "lease.json").release()
    (folder / "progress.json").write_text('{"frames": 40, "budget": 160, "rate": 10.0}')
    (root / "digest").write_text(plan_file)


def published(root: Path) -> Path:
    return root / "results" / "small-v1"


def files_below(root: Path) -> list[tuple[Path, str]]:
    """Every file below, by its kind: the end of its name decides."""
    ends = {".jsonl.gz": "gzip", "evals.jsonl": "chained", ".jsonl": "lines", ".json": "json", ".safetensors": "bytes"}
    found = []
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        kind = next((k for end, k in ends.items() if path.name.endswith(end)), None)
        if kind and "episode" not in path.name:
            found.append((path, kind))
    return found


def use(results: Any, draw: Random) -> None:
    """What every verb does with results before it draws."""
    results.damage  # noqa: B018
    results.is_complete  # noqa: B018
    for kind in ("absolute", "final"):
        results.scores(kind, draw.choice(("deterministic", "sampled")), draw.choice(("return", "success")))
    for method in results.methods:
        for task in results.tasks:
            results.curve(method.label, task)
    results.frame()
    judge(results).scores()


def read_published_folder(root: Path, draw: Random) -> None:
    use(load_results(published(root)), draw)


def forge_published(root: Path, draw: Random, mutator: mutants.Mutator) -> None:
    """A configuration changed in the plan and in the header alike, with the run id that belongs to it."""
    folder = published(root)
    plan = json.loads((folder / "suite.json").read_text())
    group = draw.choice(plan["groups"])
    old = group["run_id"]
    group["config"] = mutator.value(group["config"], draw)
    with contextlib.suppress(Exception):
        group["run_id"] = run_id(group["config"])
    if draw.random() < 0.5:
        plan["suite"] = mutator.value(plan["suite"], draw)
    (folder / "suite.json").write_bytes(mutator.dumped(plan))
    for path in folder.rglob("*.jsonl.gz"):
        lines = gzip.decompress(path.read_bytes()).splitlines()
        for i, line in enumerate(lines):
            if line.startswith(b'{"header"') and (header := json.loads(line))["run_id"] == old:
                lines[i] = mutator.dumped({**header, "run_id": group["run_id"], "config": group["config"]})
        path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", 1, mtime=0))


def read_store(root: Path, draw: Random) -> None:
    store = Store(root / "store").checked()
    plan = store.plan()
    snapshot(store, plan)
    use(load_results(store), draw)
    check_store(store)
    index_frame(store)
    if draw.random() < 0.1:
        compact(store)


def read_plans(root: Path, draw: Random) -> None:
    store = Store(root / "store").checked()
    for look in (store.plans, store.plan, partial(store.plan, "small"), partial(store.kept_plan, kept(root))):
        with contextlib.suppress(RlnetError):
            look()
    check_store(store)


def kept(root: Path) -> str:
    return (root / "digest").read_text()


def forge_plan(root: Path, draw: Random, mutator: mutants.Mutator) -> None:
    """A configuration changed in the plan and in its run, with the run id that belongs to it."""
    file = root / "store" / "suites" / "small-v1.json"
    plan = json.loads(file.read_text())
    group = draw.choice(plan["groups"])
    folder = root / "store" / "runs" / group["run_id"]
    group["config"] = mutator.value(group["config"], draw)
    with contextlib.suppress(Exception):
        group["run_id"] = run_id(group["config"])
    file.write_bytes(mutator.dumped(plan))
    (folder / "config.json").write_bytes(mutator.dumped(group["config"]))
    with contextlib.suppress(Exception):
        folder.rename(folder.with_name(group["run_id"]))


def make_checkpoints(root: Path) -> None:
    for frames in (40, 80):
        state = {
            "learner": {"w": np_tensor(frames), "list": [1, None, 0.5, "x"]},
            "next_point": 1,
            "recorded": {"0": "ab"},
        }
        write_checkpoint(root / "checkpoints", frames, state)


def np_tensor(value: float) -> Any:
    import torch

    return torch.full((2, 3), float(value))


def read_checkpoints(root: Path, draw: Random) -> None:
    state, notes = read_newest(root / "checkpoints", lambda state: bool(state["recorded"]))
    assert all(isinstance(note, str) for note in notes)


def make_lease(root: Path) -> None:
    take(root / "lease.json")


def read_lease_file(root: Path, draw: Random) -> None:
    found = holder(
        root / "lease.json", lambda: (root / "lease.json").stat().st_mtime + draw.choice((0, LEASE_SECONDS + 1))
    )
    assert found is None or isinstance(found, str)


def read_suite(root: Path, draw: Random) -> None:
    make_plan(parse_suite(load(root / "suite.yaml"), ["budget.frames=1000"] if draw.random() < 0.2 else None))


def make_networks(root: Path) -> None:
    for file in sorted(NETWORK.glob("*.yaml"))[:6]:
        shutil.copy(file, root / file.name)


def read_networks(root: Path, draw: Random) -> None:
    for file in sorted(root.glob("*.yaml")):
        with contextlib.suppress(RlnetError):
            spec = NetworkSpec.from_yaml(file)
            assert NetworkSpec.from_json(spec.to_json()) == spec
            network_method(str(file))


def make_network_json(root: Path) -> None:
    spec = NetworkSpec.from_yaml(sorted(NETWORK.glob("*.yaml"))[1])
    (root / "network.json").write_text(json.dumps(spec.to_json()))


def read_network_json(root: Path, draw: Random) -> None:
    NetworkSpec.from_json(read_json(root / "network.json"))


def make_tensors(root: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(3, dtype=np.int64)}, root / "w.safetensors")


def read_tensor_file(root: Path, draw: Random) -> None:
    read_arrays(root / "w.safetensors")


# -- other tools' -------------------------------------------------------------------------------------------


def foreign(format: str, **options: Any) -> Callable[[Path, Random], None]:
    """What reads a folder of this format, and judges what it says."""

    def read(root: Path, draw: Random) -> None:
        target = root if format == "epymarl" else next(p for p in root.iterdir())
        scale: Any = "unknown" if format == "benchmarl" else "sum"
        judge(to_results(read_foreign(format, target, Options(scale=scale, **options)))).scores()
        if draw.random() < 0.2:
            load_source(target)

    return read


def make_sacred(root: Path) -> None:
    for run in ("1", "2"):
        (root / run).mkdir()
        for name, data in SACRED.items():
            changed = {**data, "seed": int(run)} if "seed" in data else data
            (root / run / name).write_text(json.dumps(changed))


def command(root: Path, draw: Random) -> None:
    """A verb of the command line, as it is called: an exit code and at most a sentence."""
    from rlnet_bench.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    store, results = str(root / "store"), str(published(root))
    verbs = [
        ["status", "--store", store], ["store", "check", store], ["table", store], ["stats", store], ["table", results],
        ["stats", results], ["lint", results], ["export", results, "--out", str(root / "out.csv")],
        ["publish", store, "--out", str(root / "again"), "--no-weights"],
    ]  # fmt: skip
    before = sys.argv, sys.stdout, sys.stderr
    sys.argv = ["rlnet-bench", *draw.choice(verbs)]
    sys.stdout, sys.stderr = out, err
    try:
        main()
    except SystemExit as left:
        assert left.code in (None, 0, 1, 2), left.code
    finally:
        sys.argv, sys.stdout, sys.stderr = before
    said = out.getvalue() + err.getvalue()
    assert "Traceback" not in said and not set(said) & set("\x1b\x07\x9b\u202e\u200b\ufeff"), said[-500:]


# -- submissions and the board ------------------------------------------------------------------------------


WORDS = """\
method: my-model
title: My model
submitter: {id: my-lab, name: My Lab}
license: MIT
tuning: {trials: 2, seeds: 1, tasks: [mpe/simple_spread-discrete-v1], space: "learning rate"}
season: s1
beacon_round: 7
"""


def make_submission(root: Path, method: str = "ippo") -> None:
    """A submission of a policy, or of a network."""
    store, plan = small.store(root / "store", small.method(method))
    work(store, plan.groups)
    (root / "s").mkdir()
    (root / "s" / "submission.yaml").write_text(WORDS)
    pack(store, root / "s")
    shutil.rmtree(root / "store")


def submitted(root: Path) -> list[tuple[Path, str]]:
    """Its files, by kind."""
    words = [(p, "yaml") for p in sorted((root / "s").glob("*.yaml"))]
    text = [(p, "bytes") for p in (root / "s" / "README.md", root / "s" / "SHA256SUMS")]
    return [*words, *text, *files_below(root / "s")]


def read_submission(root: Path, draw: Random) -> None:
    """Every rule; a change is found, and what breaks no rule can be scored."""
    findings = check_submission(root / "s", root)
    assert all(f.where.strip() and f.sentence.strip() and f.mend.strip() for f in findings), findings
    if not (root / "listed-again").exists() and not findings:
        assert not changed_since_packed(root / "s"), "a change that no rule found"
    elif not findings and draw.random() < 0.2:
        verify(root / "s", root, episodes=2)


def changed_since_packed(folder: Path) -> bool:
    sums = dict(reversed(line.split("  ", 1)) for line in (folder / "SHA256SUMS").read_text().splitlines())
    return any(hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest for name, digest in sums.items())


def forge_submission(root: Path, draw: Random, mutator: mutants.Mutator) -> None:
    """A file changed, and the digests listed again."""
    path, kind = draw.choice([x for x in submitted(root) if x[0].name != "SHA256SUMS"])
    path.write_bytes(mutator.of(kind, path.read_bytes(), draw))
    (root / "listed-again").touch()
    with contextlib.suppress(RlnetError):
        write_sums(root / "s")


def make_board(root: Path) -> None:
    """A board with a submission that was scored in a season."""
    make_submission(root)
    results, folder = root / "results", Folder.at(root / "s")
    results.mkdir()
    (results / "board.yaml").write_text("version: 1\nmaintainers: [rlnet-bench]\nseason: s1\n")
    season = open_season(results, "s1", "drand", 1, root / "secret")
    (root / "beacon.json").write_text(json.dumps([{"round": 7, "randomness": "ab" * 32}]))
    freeze(results, folder.manifest, {t: list(digests(folder, t).values()) for t in folder.seeds})
    drawing = Drawing(season, read_secret(root / "secret"), read_beacon(root / "beacon.json"), Log.read(results, "s1"))
    found, lines = verify(root / "s", results, drawing=drawing, episodes=2)
    write_evidence(root / "evidence", found, lines)
    accept(root / "s", root / "evidence", results)


def board_files(root: Path) -> list[tuple[Path, str]]:
    yaml = [(p, "yaml") for p in sorted((root / "results").rglob("*.yaml"))]
    return [*yaml, (root / "beacon.json", "json"), (root / "secret", "bytes"), *files_below(root / "results")]


def read_board_folder(root: Path, draw: Random) -> None:
    results = root / "results"
    for look in (
        partial(entries, results), partial(check_board, results), partial(read_season, results, "s1"),
        partial(Log.read, results, "s1"), partial(read_beacon, root / "beacon.json"),
        partial(read_secret, root / "secret"), lambda: snapshot_from_json(read_json(results / BOARD), BOARD),
    ):  # fmt: skip
        with contextlib.suppress(RlnetError):
            look()


def all_parsers() -> Iterator[Parser]:
    """Every format."""
    yield Parser("suite", *one_file("suite.yaml", SUITE, "yaml"), read_suite)
    yield Parser("network", make_networks, lambda root: [(p, "yaml") for p in sorted(root.iterdir())], read_networks)
    yield Parser("network-json", make_network_json, files_below, read_network_json)
    yield Parser("published", make_store, lambda r: files_below(published(r)), read_published_folder, forge_published)
    yield Parser("store", make_store, lambda root: files_below(root / "store"), read_store, forge_plan)
    yield Parser("plans", make_store, plan_files, read_plans)
    yield Parser("commands", make_store, files_below, command, forge_plan)
    yield Parser("submission", make_submission, submitted, read_submission, forge_submission)
    network = partial(make_submission, method="zoo/tag-3ppo")
    yield Parser("submission-network", network, submitted, read_submission, forge_submission)
    yield Parser("board", make_board, board_files, read_board_folder)
    yield Parser("checkpoint", make_checkpoints, files_below, read_checkpoints)
    yield Parser("lease", make_lease, files_below, read_lease_file)
    yield Parser("tensors", make_tensors, files_below, read_tensor_file)
    yield Parser("csv", *one_file("r.csv", CSV, "csv"), foreign("csv"))
    yield Parser("marl-eval", *one_file("m.json", json.dumps(MARL_EVAL), "json"), foreign("marl-eval"))
    yield Parser("benchmarl", *one_file("b.json", json.dumps(MARL_EVAL), "json"), foreign("benchmarl"))
    yield Parser("sacred", make_sacred, files_below, foreign("epymarl"))
    export = foreign("wandb", runs="{method}-{task}-{seed}", is_evaluation=True)
    yield Parser("wandb", *one_file("w.csv", PANEL, "csv"), export)


def plan_files(root: Path) -> list[tuple[Path, str]]:
    return [*files_below(root / "store" / "suites"), *files_below(root / "store" / "plans")]
