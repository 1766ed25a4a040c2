"""From a run store to a verified entry: new, pack, check, verify; for a policy, a network and results alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small
from packing import WORDS
from typer.testing import CliRunner

from rlnet_bench.cli.main import app
from rlnet_bench.errors import BadInput, Malformed, UnknownName
from rlnet_bench.leaderboard.check import check_submission
from rlnet_bench.leaderboard.evidence import read_evidence, write_evidence
from rlnet_bench.leaderboard.folder import Folder
from rlnet_bench.leaderboard.pack import fill, pack
from rlnet_bench.leaderboard.policies import build, digests
from rlnet_bench.leaderboard.verify import verify
from rlnet_bench.runs.policies import load_policy
from rlnet_bench.runs.store import Store

Fresh = Callable[..., Path]


@pytest.mark.parametrize("kind", ["policy", "network", "results"])
def test_what_was_packed_breaks_no_rule(fresh: Fresh, kind: str) -> None:
    assert check_submission(fresh(kind)) == []


def test_policies_are_those_of_the_store(fresh: Fresh, trained: Store) -> None:
    folder = Folder.at(fresh())
    run = next(g for g in trained.plan().groups if g.label == "ippo")
    ours, theirs = build(folder, small.SPREAD), load_policy(trained.folder(run))
    for name, tensor in theirs.state_dict().items():
        assert np.array_equal(ours.state_dict()[name].numpy(), tensor.numpy())
    assert len(set(digests(folder, small.SPREAD).values())) == 2


def test_evidence_is_computed_from_its_episodes(fresh: Fresh, tmp_path: Path) -> None:
    found, lines = verify(fresh(), episodes=4)
    assert found.level == "V2-practice" and "season" in found.reasons[0]
    (task,) = found.tasks
    assert [(p.seed, p.episodes) for p in task.policies] == [(0, 4), (1, 4)]
    assert (task.execution, task.columns["bits_up"], task.channel) == ("D0", 0.0, {})
    write_evidence(tmp_path / "evidence", found, lines)
    assert read_evidence(tmp_path / "evidence") == found
    file = tmp_path / "evidence" / "mpe__simple_spread-discrete-v1.jsonl"
    first = json.loads(file.read_text().splitlines()[0])["returns"][0][0]
    file.write_text(file.read_text().replace(str(first), "0.5", 1))
    with pytest.raises(Malformed, match="a changed one"):
        read_evidence(tmp_path / "evidence")


def test_a_network_says_what_crosses(fresh: Fresh) -> None:
    found, _ = verify(fresh("network"), episodes=2)
    (task,) = found.tasks
    assert task.execution == "C" and task.columns["bits_up"] > 0
    assert {"decentralised", "delay-1", "1-bit"} <= set(task.channel)


def test_results_alone_stay_at_v1(fresh: Fresh) -> None:
    found, lines = verify(fresh("results"))
    assert (found.level, found.tasks, lines) == ("V1", (), {})


def test_the_same_twice_is_the_same(fresh: Fresh) -> None:
    folder = fresh()
    first, second = (verify(folder, episodes=3)[0] for _ in range(2))
    assert first == second
    assert replace(first, level="V1") != second


def test_by_command(trained: Store, tmp_path: Path) -> None:
    def say(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, list(words), catch_exceptions=True)
        return done.exit_code, done.output

    assert say("new", "submission", "my-model", "--out", str(tmp_path))[0] == 0
    folder = str(tmp_path / "my-model")
    code, out = say("submit", "check", folder)
    assert code == 2 and "submit pack" in out
    assert say("submit", "pack", str(trained.root), folder, "--method", "ippo")[0] == 0
    assert say("submit", "check", folder) == (0, out_of(folder))
    code, out = say("verify", folder, "--episodes", "2", "--json")
    assert code == 0 and json.loads(out)["level"] == "V2-practice"
    (tmp_path / "my-model" / "README.md").write_text("other words")
    code, out = say("submit", "check", folder)
    assert (
        code == 2 and "README.md: is not the file whose digest SHA256SUMS has" in out and "mend: pack it again" in out
    )


def out_of(folder: str) -> str:
    from rlnet_bench.leaderboard.rules import SUBMISSION_RULES

    return f"{folder}: 0 of {len(SUBMISSION_RULES) + 1} rules broken.\n"


def test_policies_without_a_store(fresh: Fresh) -> None:
    folder = fresh()
    before = Folder.at(folder).seeds
    shutil.rmtree(folder / "records")
    (folder / "submission.yaml").write_text(WORDS)
    made = fill(folder, "centralised critic", frames=7)
    assert check_submission(folder) == [] and Folder.at(folder).seeds == before
    assert (made.kind, made.training, made.claims, made.tasks[0].frames) == (
        "frozen-policy", "centralised critic", [], 7)  # fmt: skip
    assert [(x.task, x.seed, x.status) for x in made.launches] == [(small.SPREAD, s, "ok") for s in (0, 1)]
    assert verify(folder, episodes=2)[0].level == "V2-practice"
    shutil.rmtree(folder / "policies")
    with pytest.raises(BadInput, match="found none; `rlnet-bench convert`"):
        fill(folder, "independent")


def test_packing_refuses_what_it_cannot_pack(trained: Store, tmp_path: Path) -> None:
    (tmp_path / "submission.yaml").write_text(WORDS)
    with pytest.raises(BadInput, match="which method"):
        pack(trained, tmp_path)
    with pytest.raises(UnknownName, match="mappo"):
        pack(trained, tmp_path, method="mappo")
    with pytest.raises(BadInput, match="is no network"):
        pack(trained, tmp_path, method="ippo", kind="network")
    with pytest.raises(BadInput, match="no weights"):
        pack(trained, tmp_path, method="random")
    with pytest.raises(BadInput, match="a file of code"):
        pack(trained, tmp_path, method="ippo", kind="algorithm")
