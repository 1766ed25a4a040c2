"""The command line: exit codes, sentences instead of tracebacks, JSON, one line per event."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from said import Say

from rlnet_bench.cli.main import app
from rlnet_bench.methods import method_ids

if TYPE_CHECKING:
    from rlnet_bench.runs.store import Store

SPREAD = "mpe/simple_spread-discrete-v1"
SUITE = """\
name: tiny
tasks: [mpe/simple_spread-discrete-v1]
methods:
  - random
  - id: ippo
    set: {num_envs: 4, rollout_steps: 10, hidden: [8], critic_hidden: [8], epochs: 1, minibatches: 1}
seeds: 2
budget: {frames: 80}
evaluation: {every: 40, episodes: 2, absolute_episodes: 2}
"""


def suite_file(folder: Path, text: str = SUITE) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(text)
    return path


VERBS = sorted({command.name or command.callback.__name__ for command in app.registered_commands if command.callback})


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_every_verb(say: Say, verb: str, flag: str) -> None:
    said = say(verb, flag)
    assert said.code == 0 and "Usage: rlnet-bench" in said.out and verb in said.out


def test_help_of_everything(say: Say) -> None:
    said = say("--help")
    assert said.code == 0 and all(verb in said.out for verb in VERBS)
    assert "Usage" in "".join((bare := say()).out + bare.err)


@pytest.mark.parametrize("kind", ["tasks", "methods", "networks", "suites"])
def test_lists(say: Say, kind: str) -> None:
    rows = json.loads(say("list", kind, "--json").out)
    assert isinstance(rows, list) and all(row["id"] for row in rows)
    text = say("list", kind)
    assert text.code == 0 and all(row["id"] in text.out for row in rows)
    if kind == "methods":
        assert [row["id"] for row in rows] == method_ids()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "quik"], r"rlnet-bench: unknown suite 'quik'\. Did you mean 'quick'\?"),
        (
            ["plan", "quick", "--methods", "ipo"],
            r"unknown method 'ipo'\. Did you mean 'ippo'\? `rlnet-bench list methods`",
        ),
        (["plan", "quick", "--tasks", "mpe/simple_spred-discrete-v1"], rf"unknown task .* Did you mean '{SPREAD}'\?"),
        (["run", "quik"], r"unknown suite 'quik'"),
        (["run", "nowhere.yaml"], r"nowhere\.yaml: expected a regular file, found nothing there"),
        (
            ["plan", "quick", "--set", "budget.frams=1"],
            r"--set budget\.frams: unknown key 'budget\.frams'\. Did you mean",
        ),
        (["plan", "quick", "--set", "budget.frames=5"], r"nothing would be trained"),
        (["plan", "quick", "--seeds", "0"], r"--set seeds: "),
        (["plan", "quick", "--methods", "nearest,silent"], r"impossible cell nearest x "),
        (["status"], r"rlnet-store: expected a run store, found nothing there\. `rlnet-bench run SUITE` makes one"),
        (["resume", "--store", "nothing"], r"nothing: expected a run store, found nothing there"),
        (["work", "nothing"], r"nothing: expected a run store, found nothing there"),
        (["plan", "quick", "--set", "name=My Suite"], r"name: expected a name of lower-case letters, digits, - and _ "),
    ],
)
def test_mistakes_are_sentences_with_exit_code_2(say: Say, arguments: list[str], message: str) -> None:
    said = say(*arguments)
    assert said.code == 2, said
    assert re.search(message, said.err), said.err
    assert said.out == "" and not list(Path.cwd().iterdir())  # nothing was begun


SOURCES = "a run store, published results or a results.csv"


@pytest.mark.parametrize(
    ("words", "expected", "hint"),
    [
        *((verb, SOURCES, "`rlnet-bench run SUITE` makes a store, `rlnet-bench import FILES` a results.csv")
          for verb in ("report", "table", "stats", "rank", "power", "sensitivity", "trial", "gaps", "export",
                       "compare a b", "compare")),
        *((verb, "a run store", "`rlnet-bench run SUITE` makes one") for verb in ("work", "publish", "status --store")),
        *((verb, "a file or folder of results", "Look at the path") for verb in ("lint", "import")),
        *((verb, "a run directory, STORE/runs/<id>", "") for verb in ("reproduce", "ablate")),
        ("store adopt", "published results", "`rlnet-bench publish STORE` makes them"),
        ("leaderboard build --results", "a folder of published results", ""),
    ],
)  # fmt: skip
def test_a_source_that_is_not_there(say: Say, words: str, expected: str, hint: str) -> None:
    """What was expected, that nothing is there, and what to do, by every verb that reads something."""
    more = ["--against", "baselines-on-policy"] if words == "compare" else []
    said = say(*words.split(), "nowhere", *more)
    assert said.code == 2 and said.err.startswith(f"rlnet-bench: nowhere: expected {expected}"), said.err
    assert "found nothing there." in said.err and hint in said.err


def test_a_source_that_is_something_else(say: Say) -> None:
    Path("here").mkdir()
    Path("notes.txt").write_text("")
    assert "found a folder without store.json, suite.json and results.csv. `rlnet" in say("stats", "here").err
    assert f"notes.txt: expected {SOURCES}, found a file." in say("table", "notes.txt").err
    assert f"nowhere.csv: expected {SOURCES}, found nothing there." in say("rank", "nowhere.csv").err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["plan"],
        ["list", "colours"],
        ["run", "quick", "--workers", "0"],
        ["plan", "quick", "--seeds", "x"],
    ],
)
def test_wrong_usage_is_exit_code_2(say: Say, arguments: list[str]) -> None:
    said = say(*arguments)
    assert said.code == 2 and said.err


def test_a_wrong_key_says_file_and_line(say: Say, tmp_path: Path) -> None:
    said = say("plan", suite_file(tmp_path, SUITE.replace("seeds: 2", "seeds: 2\nseds: 2")))
    assert said.code == 2
    assert re.fullmatch(r"rlnet-bench: .*tiny\.yaml:8: unknown key 'seds'\. Did you mean 'seeds'\?\n", said.err), (
        said.err
    )
    said = say("plan", suite_file(tmp_path, SUITE.replace("num_envs", "num_env")))
    assert re.search(r"tiny\.yaml:6: ippo: unknown key 'num_env'\. Did you mean 'num_envs'\?", said.err)


def test_a_method_that_is_already_there(say: Say, tmp_path: Path) -> None:
    said = say("run", suite_file(tmp_path), "--method", "ippo")
    assert said.code == 2 and "two entries share a label" in said.err


def test_plan(say: Say, tmp_path: Path) -> None:
    file = suite_file(tmp_path)
    data = json.loads(say("plan", file, "--json").out)
    assert [g["config"]["label"] for g in data["groups"]] == ["ippo", "random"]
    said = say("plan", file)
    assert said.code == 0 and "2 groups, 160 frames," in said.out
    assert all(g["run_id"] in said.out for g in data["groups"])
    more = json.loads(say("plan", file, "--json", "--seeds", "1", "--set", "budget.frames=120").out)
    assert more["groups"][0]["config"]["frames"] == 120 and more["groups"][0]["config"]["seeds"] == [0]
    assert not (tmp_path / "rlnet-store").exists()


def test_work_status_logs(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlnet_bench.runs import worker
    from rlnet_bench.runs.plan import make_plan
    from rlnet_bench.runs.store import Store
    from rlnet_bench.runs.suite import load_suite

    monkeypatch.setattr(worker.StopFlag, "install", lambda self: self)
    monkeypatch.setenv("RLNET_BENCH_CACHE", str(tmp_path / "cache"))
    store = Store.create(tmp_path / "s")
    planned = make_plan(load_suite(suite_file(tmp_path)))
    store.add_plan(planned)
    assert "unknown time (--calibrate measures it)" in say("plan", tmp_path / "tiny.yaml").out
    before = json.loads(say("status", "--store", store.root, "--json").out)
    assert [row["status"] for row in before] == ["missing", "missing"]
    worked = say("work", store.root)
    assert worked.code == 0
    lines = worked.out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["started", "ok", "started", "ok"]
    assert worked.out.count("ippo on mpe/simple_spread-discrete-v1, seeds 0-1") == 2
    assert say("work", store.root).out == ""  # only what is left
    assert " s of one worker" in say("plan", tmp_path / "tiny.yaml").out  # what has run tells what it costs
    after = say("status", "--store", store.root)
    assert after.code == 0 and "2 of 2 groups done" in after.out
    run_id = planned.groups[0].run_id
    logs = say("logs", run_id[:6], "--store", store.root)
    assert logs.code == 0 and "evaluated: " in logs.out
    wrong = say("logs", "zzz", "--store", store.root)
    assert wrong.code == 2 and "expected the beginning of one run id, found none" in wrong.err


def test_failed_work_is_exit_code_1(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlnet_bench.runs import loop, worker
    from rlnet_bench.runs.plan import make_plan
    from rlnet_bench.runs.store import Store
    from rlnet_bench.runs.suite import load_suite

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("1 / 0")

    monkeypatch.setattr(loop, "run_group", broken)
    monkeypatch.setattr(worker.StopFlag, "install", lambda self: self)
    store = Store.create(tmp_path / "s")
    planned = make_plan(load_suite(suite_file(tmp_path)))
    store.add_plan(planned)
    said = say("work", store.root)
    assert said.code == 1
    assert "failed: ippo on mpe/simple_spread-discrete-v1, seeds 0-1: ZeroDivisionError: 1 / 0" in said.err
    assert f"rlnet-bench logs {planned.groups[0].run_id} --store {store.root}" in said.err
    assert "ZeroDivisionError" in say("status", "--store", store.root).out


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
@pytest.mark.parametrize("verb", ["run", "resume"])
def test_a_launcher_without_its_package_is_refused_by_name(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, package: str, verb: str
) -> None:
    monkeypatch.setattr("rlnet_bench.runs.launch.importlib.util.find_spec", lambda name: None)
    file, store = suite_file(tmp_path), planned_store(tmp_path)
    arguments = [file, "--store", "new"] if verb == "run" else ["--store", store.root, "--retry-failed"]
    said = say(verb, *arguments, "--launcher", engine)
    assert said.code == 2 and not (tmp_path / "new").exists()
    assert said.err == (
        f"rlnet-bench: --launcher {engine} needs the package {package!r}: "
        f'install it with `pip install "rlnet-bench[{engine}]"`.\n'
    )


def test_an_unknown_launcher_begins_nothing(say: Say, tmp_path: Path) -> None:
    said = say("run", suite_file(tmp_path), "--launcher", "kubernetes")
    assert said.code == 2 and "--launcher 'kubernetes': expected local, ray or slurm" in said.err
    assert not (tmp_path / "rlnet-store").exists()


def planned_store(folder: Path, text: str = SUITE) -> Store:
    """A store with the plan of a suite, of which nothing has run."""
    from rlnet_bench.runs.plan import make_plan
    from rlnet_bench.runs.store import Store
    from rlnet_bench.runs.suite import load_suite

    store = Store.create(folder / "s")
    store.add_plan(make_plan(load_suite(suite_file(folder, text))))
    return store


def test_resume_refuses_what_no_longer_fits(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    store = planned_store(tmp_path)
    monkeypatch.setattr("rlnet_bench.runs.calibrate.shutil.disk_usage", lambda place: SimpleNamespace(free=1000))
    said = say("resume", "--store", store.root)
    assert said.code == 2 and re.search(r"the suite needs .* of disk, .* are free", said.err)
    for group in store.plan().groups:  # what has ended needs nothing
        store.folder(group).mkdir()
        store.set_status(group, "ok")
    said = say("resume", "--store", store.root)  # ... and is shown as damaged, since it has no record
    assert said.code == 1 and "of disk" not in said.err and "config.json: expected a regular file" in said.err


@pytest.mark.slow
def test_failed_groups_are_tried_again_when_asked(say: Say, tmp_path: Path) -> None:
    store = planned_store(tmp_path, re.sub(r"  - id: ippo\n.*\n", "", SUITE))
    (group,) = store.plan().groups
    store.folder(group).mkdir()
    (store.folder(group) / "config.json").write_text(json.dumps(group.config))
    store.set_status(group, "failed", reason="the node lost its mind")
    plain = say("resume", "--store", store.root)
    assert plain.code == 1 and "the node lost its mind" in plain.err
    again = say("resume", "--store", store.root, "--retry-failed", "--workers", "1")
    assert again.code == 0, again
    assert "1 failed groups are tried again." in again.err and f"ok: random on {SPREAD}" in again.out
    assert store.status(group)["status"] == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["id: ippo", "network: zoo/tag-2ppo"])
def test_reproduce(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    from rlnet_bench.analysis.loading import load_results
    from rlnet_bench.runs.worker import work

    store = planned_store(tmp_path, SUITE.replace("  - random\n", "").replace("id: ippo", f"label: ours\n    {entry}"))
    (group,) = store.plan().groups
    work(store, [group])
    said = say("reproduce", store.folder(group), "--keep", tmp_path / "kept")
    assert said.code == 0 and said.out.startswith(f"identical: {group.run_id}, "), said
    assert [m.label for m in load_results(tmp_path / "kept").methods] == ["ours"]
    worsen(store.folder(group) / "evals.jsonl")
    changed = say("reproduce", store.folder(group), "--json")
    assert changed.code == 1 and json.loads(changed.out)["verdict"] == "different"
    assert f"{group.run_id} did not come out again" in changed.err


def worsen(file: Path) -> None:
    """A record with other returns whose chain of digests holds: as if the code had changed since."""
    from rlnet_bench.runs.records import CHAIN_START, chained, read_evals

    heads: dict[int, str] = {}
    lines = []
    for line in read_evals(file)[0]:
        lines.append(chained(replace(line, returns=line.returns - 1000), heads.get(line.seed, CHAIN_START)))
        heads[line.seed] = json.loads(lines[-1])["chain"]
    file.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "command",
    ["['list', 'tasks']", "['list', 'methods', '--json']", "['list', 'suites']", "['plan', 'quick']", "['--help']"],
)
def test_looking_does_not_import_torch(command: str) -> None:
    code = (
        f"import sys; sys.argv = ['rlnet-bench', *{command}]\n"
        "from rlnet_bench.cli.main import main\n"
        "try: main()\nexcept SystemExit as e: assert not e.code, e.code\n"
        "print([m for m in ('torch', 'matplotlib', 'pandas') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().endswith("[]"), done.stderr[-300:]


@pytest.mark.slow
def test_run_from_nothing_and_again(tmp_path: Path) -> None:
    """The real thing, in processes of their own; into a pipe: one line per event."""

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rlnet_bench.cli.main", *arguments], capture_output=True, text=True, cwd=tmp_path
        )

    suite_file(tmp_path)
    first = command("run", "tiny.yaml", "--workers", "1")
    # How long it will take is said where this machine has a calibration, as from a test before this one.
    assert first.returncode == 0 and re.fullmatch(r"(2 groups, .* about .*\n)?", first.stderr), first.stderr
    lines = first.stdout.splitlines()
    assert all(re.match(r"(\w+: |\d+ of \d+ groups)", line) for line in lines), lines
    assert f"ok: ippo on {SPREAD}" in lines and f"ok: random on {SPREAD}" in lines
    assert "\x1b" not in first.stdout
    again = command("run", "tiny.yaml")
    assert again.returncode == 0
    assert again.stdout.splitlines() == ["2 of 2 groups are already done; running the rest."]
    more = command("run", "tiny.yaml", "--seeds", "1", "--json")
    assert more.returncode == 0
    assert [row["status"] for row in json.loads(more.stdout)] == ["ok", "ok"]
    assert command("resume").returncode == 0
    status = command("status", "--json")
    assert {row["status"] for row in json.loads(status.stdout)} == {"ok"}


PATIENT = """\
import os, signal
from pathlib import Path

from rlnet_bench.baselines.ippo import Ippo


class Patient(Ippo):
    id, version = "patient", 1

    @classmethod
    def learner(cls, *args, **options):
        learner = super().learner(*args, **options)
        iterate, seen = learner.iterate, Path("interrupted")

        def once():
            metrics = iterate()
            if not seen.exists():  # the first worker ends its driver, and waits for what becomes of it
                seen.touch()
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
                os.kill(os.getppid(), ENDS)
                signal.sigtimedwait([signal.SIGTERM], 120)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
                signal.raise_signal(signal.SIGTERM)
            return metrics

        learner.iterate = once
        return learner
"""


def test_work_outlives_a_session(say: Say, tmp_path: Path) -> None:
    from rlnet_bench.runs.worker import work

    store = planned_store(tmp_path, re.sub(r"  - id: ippo\n.*\n", "  - uncoordinated\n", SUITE))
    work(store, store.plan().groups[:1])
    refused = say("publish", store.root)
    assert refused.code == 2 and "goes on; --finished publishes the others" in refused.err
    assert say("publish", store.root, "--finished").code == 0
    taken = say("store", "adopt", "results/tiny-v1", "--store", "another")
    assert (taken.code, taken.out) == (0, "1 groups adopted from results/tiny-v1; 1 are open there.\n")
    again = json.loads(say("store", "adopt", "results/tiny-v1", "--store", "another", "--json").out)
    assert len(again["here"]) == 1 and again["taken"] == []
    assert say("store", "adopt", tmp_path / "nothing", "--store", "another").code == 2
    assert say("table", "results/tiny-v1").code in (0, 1)


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ends_as_usual() -> None:
    """In a child: a shell's background jobs ignore SIGINT, nohup's SIGHUP, and so would everything that they start."""
    for ends in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ends, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        (signal.SIGKILL, -signal.SIGKILL),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, -signal.SIGHUP, marks=pytest.mark.slow),  # the terminal was closed
    ],
)
def test_workers_end_with_their_run_and_the_same_command_goes_on(
    tmp_path: Path, ends: signal.Signals, code: int
) -> None:
    (tmp_path / "patient.py").write_text(PATIENT.replace("ENDS", f"signal.{ends.name}"))
    suite_file(tmp_path, SUITE.replace("  - random\n", "").replace("id: ippo", "id: patient.py:Patient"))
    command = [sys.executable, "-m", "rlnet_bench.cli.main", "run", "tiny.yaml", "--workers", "1", "--trust-code"]
    first = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, timeout=600,
        preexec_fn=ends_as_usual,
    )  # fmt: skip
    assert first.returncode == code, first
    trusted, _, said = first.stderr.partition("\n")
    assert trusted.startswith("tiny.yaml names 'patient.py:Patient'; trusted: ")
    assert said == ("rlnet-bench: interrupted; the store keeps what was done.\n" if code == 130 else "")
    (folder,) = tmp_path.glob("rlnet-store/runs/*")
    wait_until(lambda: not (folder / "lease.json").exists())
    assert [p.name[-2:] for p in folder.glob("checkpoints/0*")] == ["40"] and not (folder / "lease.json").exists()
    assert json.loads((folder / "status.json").read_text())["attempts"] == 0  # leaving cleanly is no failed attempt
    again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert again.returncode == 0 and "resumed: frames 40" in (folder / "log.txt").read_text(), again
    assert json.loads((folder / "status.json").read_text())["status"] == "ok"


@pytest.mark.slow
def test_two_drivers_of_one_suite_and_one_is_killed(tmp_path: Path) -> None:
    """kill -9 of one while both run: its worker leaves, the other finishes everything, and nothing is run twice."""
    waits = "if not seen.exists()", "if os.environ.get('VICTIM') and not seen.exists()"
    patient = PATIENT.replace("ENDS", "signal.SIGKILL").replace(*waits)
    together = "while not Path('go').exists(): time.sleep(0.01)\n                os.kill("
    (tmp_path / "patient.py").write_text("import time\n" + patient.replace("os.kill(", together))
    text = SUITE.replace("id: ippo", "id: patient.py:Patient").replace("seeds: 2", "seeds: 3\nseed_group: 1")
    suite_file(tmp_path, text)
    command = [sys.executable, "-m", "rlnet_bench.cli.main", "run", "tiny.yaml", "--workers", "1", "--trust-code"]

    def start(store: str, **env: str) -> subprocess.Popen[str]:
        environment = {**os.environ, **env}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*command, "--store", store], text=True, cwd=tmp_path, env=environment, **pipes)

    victim = start("shared", VICTIM="1")
    wait_until((tmp_path / "interrupted").exists)
    survivor = start("shared")
    wait_until(lambda: len(list(tmp_path.glob("shared/runs/*/status.json"))) > 1)
    (tmp_path / "go").touch()
    out, err = survivor.communicate(timeout=600)
    assert survivor.returncode == 0, (out, err)
    victim.communicate(timeout=600)
    assert victim.returncode == -signal.SIGKILL
    calm = start("calm")
    assert calm.communicate(timeout=600) and calm.returncode == 0
    folders = sorted(tmp_path.glob("shared/runs/*"))
    assert len(folders) == 6
    for folder in folders:
        status = json.loads((folder / "status.json").read_text())
        assert status["status"] == "ok" and status["attempts"] == 1
        assert "lost: worker" not in (folder / "log.txt").read_text()
        undisturbed = tmp_path / "calm" / "runs" / folder.name
        assert (folder / "evals.jsonl").read_bytes() == (undisturbed / "evals.jsonl").read_bytes()
        assert not (folder / "lease.json").exists()


def test_tune_says_what_is_wrong_before_anything_is_made(say: Say, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    (tmp_path / "tiny.yaml").write_text(SUITE)
    for arguments, sentence in (
        (("ippo", "--trials", 61), "--trials: expected 1 to 60, the size of the space, found 61."),
        (("ippo", "--trials", 1, "--frames", 3), "expected a budget of at least one iteration (40 frames per seed)"),
        (("ippo", "--trials", 1, "--out", "tiny.yaml"), "--out tiny.yaml: there is another file, which is no tuning"),
        (("ipo", "--trials", 1), "unknown method 'ipo'. Did you mean 'ippo'?"),
    ):
        said = say("tune", *arguments, "--suite", "tiny.yaml")
        assert said.code == 2 and sentence in said.err
        assert [p.name for p in tmp_path.iterdir()] == ["tiny.yaml"]
