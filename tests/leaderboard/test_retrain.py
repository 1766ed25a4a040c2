"""V3: trained again by us from fresh seeds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small
from packing import packed

from rlnet_bench import trust
from rlnet_bench.leaderboard.entries import entries
from rlnet_bench.leaderboard.evidence import Evidence, Retrained, Scored, write_evidence
from rlnet_bench.leaderboard.folder import Folder, write_sums
from rlnet_bench.leaderboard.retrain import chosen, fresh_group, judged, retrain
from rlnet_bench.leaderboard.season import practice
from rlnet_bench.leaderboard.verify import verify
from rlnet_bench.runs.limits import Limits
from rlnet_bench.runs.records import EvalLine, RunRecord
from rlnet_bench.runs.worker import work
from rlnet_bench.trust import Untrusted

Fresh = Callable[..., Path]
FOUND = Evidence("V2", "my-model@1", 1, "s1", (), ())


def claimed(fresh: Fresh, *means: float) -> Folder:
    """The folder, with these claims of as many seeds."""
    found = Folder.at(fresh())
    (first, *_) = found.manifest.claims
    claims = [first.model_copy(update={"seed": s, "mean": x}) for s, x in enumerate(means)]
    return replace(found, manifest=found.manifest.model_copy(update={"claims": claims}))


def runs(*means: float, diverged: bool = False) -> RunRecord:
    """A record of fresh runs with these scores."""
    lines = tuple(
        EvalLine("absolute", "deterministic", s, 0, 1, 1, 1, np.array([[x + 0.1], [x - 0.1]]), np.zeros(2),
                 np.ones(2, dtype=np.int64), "ab") for s, x in enumerate(means)
    )  # fmt: skip
    status = dict.fromkeys(range(len(means)), "ok") | ({99: "diverged"} if diverged else {})
    return RunRecord("id", {}, "ok", status, lines)  # type: ignore[arg-type]


@pytest.mark.parametrize("theirs, ours, holds, verdict", [
    ((-50.0, -50.5, -49.5, -50.2, -49.8), (-50.0, -50.3, -49.7), True, "reproduced"),
    ((-50.0, -60.0, -40.0, -55.0, -45.0), (-50.0, -62.0, -41.0), True, "not contradicted"),
    ((-50.0, -50.5, -49.5, -50.2, -49.8), (-70.0, -70.3, -69.7), False, "contradicted by 3 fresh runs: -70"),
    ((-50.0, -50.5), (-70.0, -70.3, -69.7), True, "trained by us alone: 2 runs were submitted"),
])  # fmt: skip
def test_verdicts(fresh: Fresh, theirs: tuple[float, ...], ours: tuple[float, ...], holds: bool, verdict: str) -> None:
    found = judged(claimed(fresh, *theirs), small.SPREAD, runs(*ours), 0.99)
    assert (found.holds, found.verdict[: len(verdict)]) == (holds, verdict)
    assert [r.mean for r in found.runs] == list(ours)


def test_a_diverged_run_counts_at_the_floor(fresh: Fresh) -> None:
    found = judged(claimed(fresh, -50.0, -50.5, -49.5), small.SPREAD, runs(-50.0, -50.1, diverged=True), 0.99)
    assert not found.holds and found.runs[-1].status == "diverged" and (found.runs[-1].mean or 0) < -100


def test_seeds_are_fresh_and_the_rest_is_as_it_was(fresh: Fresh) -> None:
    folder = Folder.at(fresh())
    assert folder.publication is not None
    old, new = folder.publication.plan.groups[0].config, fresh_group(folder, small.SPREAD, practice, 3).config
    assert len(set(new["seeds"])) == 3 and not set(new["seeds"]) & set(old["seeds"])
    assert {**new, "seeds": old["seeds"]} == old
    assert new == fresh_group(folder, small.SPREAD, practice, 3).config


def test_a_third_of_the_tasks_is_drawn(fresh: Fresh) -> None:
    folder = Folder.at(fresh())
    (task,) = folder.manifest.tasks
    many = [task.model_copy(update={"id": f"mpe/t{i}"}) for i in range(10)]
    folder = replace(folder, manifest=folder.manifest.model_copy(update={"tasks": many}))
    drawn = chosen(folder, practice)
    assert len(drawn) == 4 and drawn == chosen(folder, practice)
    assert drawn != chosen(folder, lambda digest, name, n: practice(digest + "other", name, n))


def test_a_network_that_comes_alone_is_trained(fresh: Fresh, tmp_path: Path) -> None:
    folder = fresh("network")
    for part in ("policies", "records"):
        shutil.rmtree(folder / part)
    text = (folder / "submission.yaml").read_text()
    (folder / "submission.yaml").write_text(text[: text.index("launches:")].replace("frames: 160", "frames: 1600"))
    write_sums(folder)
    found, _ = verify(folder)
    assert (found.level, found.reasons) == ("V1", ())
    group = fresh_group(Folder.at(folder), small.SPREAD, practice, 2)
    assert group.config["network"]["name"] == "tag-3ppo" and group.config["frames"] == 1600
    target = tmp_path / "results" / "submissions" / "my-model@1"
    shutil.copytree(folder, target)
    trained = {small.SPREAD: Retrained(True, "trained by us alone", (Scored(5, -60.0, 1.0, 320, 0.0, "ab", "id"),))}
    write_evidence(target / "verification", replace(found, season="s1", retrained=trained), {})
    (entry,) = entries(tmp_path / "results")
    assert (entry.division, entry.level, entry.execution, entry.score) == ("algorithms", "V3", "C", -60.0)
    assert entry.bits and entry.is_ranked


def test_by_a_worker(fresh: Fresh) -> None:
    folder = Folder.at(fresh())
    found = retrain(folder, FOUND, practice, seeds=2)
    assert found.level == "V3" and found.retrained[small.SPREAD].verdict.startswith("trained by us alone")
    assert len({r.weights for r in found.retrained[small.SPREAD].runs}) == 2
    assert not {r.seed for r in found.retrained[small.SPREAD].runs} & {0, 1}


CODE = """
import os, resource
from rlnet_bench.methods import find_method, register

open({flag!r}, "a").write(f"{{resource.getrlimit(resource.RLIMIT_AS)[0]}} {{sorted(os.environ)}} {{os.getpid()}}")


@register("mine", version=1, summary="of mine", Config=find_method("ippo").Config, training="independent")
class Mine(find_method("ippo")):
    pass
"""


def test_code_runs_in_a_limited_process_and_only_when_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, flag = tmp_path / "mine.py", tmp_path / "ran"
    code.write_text(CODE.format(flag=str(flag)))
    trust.typed(f"{code}:Mine")
    store, plan = small.store(tmp_path / "store", {"id": f"{code}:Mine", "set": small.TINY, "label": "mine"})
    work(store, plan.groups)
    folder = Folder.at(packed(store, tmp_path / "submission", "mine", kind="algorithm"))
    flag.unlink()
    monkeypatch.setattr(trust, "_trusted", {})  # another day
    monkeypatch.setenv("SECRET_TOKEN", "x")
    with pytest.raises(Untrusted, match="--trust-code"):
        retrain(folder, FOUND, practice, seeds=2)
    assert not flag.exists()
    found = retrain(folder, replace(FOUND, level="V1"), practice, seeds=2, trust_code=True)
    limit, *names = flag.read_text().split(" ", 1)
    assert int(limit) == Limits().memory and "SECRET_TOKEN" not in names[0]
    assert found.level == "V1" and len(found.retrained[small.SPREAD].runs) == 2
