"""The damage matrix of docs/determinism.md: every way to damage a store, and what every verb says of it.

The page is what is expected here. ``python tests/runs/test_damage.py`` prints its tables as they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from small import StopAt, method, products, store, whole

from rlnet_bench.cli import main as cli
from rlnet_bench.runs import worker
from rlnet_bench.runs.ablations import FILE as ABLATIONS
from rlnet_bench.runs.ablations import write_ablations
from rlnet_bench.runs.check_store import check_store
from rlnet_bench.runs.compact import compact
from rlnet_bench.runs.store import Store

PAGE = Path(__file__).parents[2] / "docs" / "determinism.md"
work = partial(worker.work, checkpoint_seconds=0.0)

# -- ways to harm a file ---------------------------------------------------------------------------------------------


def torn(file: Path) -> None:
    """As a crash of the machine leaves a file: the end is lost."""
    os.truncate(file, file.stat().st_size - 7)


def garbled(file: Path) -> None:
    """A bad sector in the middle."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8] = b"\x00\xff{\x1b}\x80[\x07"
    file.write_bytes(data)


FLIPS = {  # where a flipped bit is read without complaint, so that only its meaning can give it away
    "evals.jsonl": (r'"returns": \[\[-\d', -1),
    "status.json": r'"1": "ok',
    "config.json": r'"frames": 160',
    "policies/policy.json": r'"execution": "D0',
    "provenance.json": r'"python": "3',
    "timings.jsonl": r'"train_seconds": \d',
    "suites/small-v1.json": r'"frames": 160',
    "index.jsonl": r'"scores": \{"0/\w+/\w+": \[-\d',
    "store.json": r'"format": 1',
}


def flipped(file: Path) -> None:
    """One bit of one character."""
    data = bytearray(file.read_bytes())
    name = "/".join(file.parts[-2:])
    pattern = FLIPS.get(name, FLIPS.get(file.name, r"(?s).*"))
    found = re.search(pattern if isinstance(pattern, str) else pattern[0], data.decode("latin-1"))
    assert found, name
    data[found.end() - 1] ^= 1
    file.write_bytes(data)


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def deleted(file: Path) -> None:
    file.unlink()


HARMS = (torn, garbled, flipped, emptied, deleted)


# -- a finished store ------------------------------------------------------------------------------------------------

VERBS = ("store check", "status", "table", "stats", "publish")
Harm = Callable[[Path, Path], object]  # (store, the run directory of its trained method)


def on(name: str, harm: Callable[[Path], object]) -> Harm:
    """A harm to one file of the store, or of the run."""
    of_store = name.startswith("suites/") or name in ("index.jsonl", "store.json")
    return lambda root, run: harm((root if of_store else run) / name)


def edit(name: str, old: str, new: str) -> Harm:
    def harm(root: Path, run: Path) -> None:
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new))

    return harm


def divide(root: Path, run: Path) -> None:
    """Every return divided by ten, by hand."""
    lines = [json.loads(x) for x in (run / "evals.jsonl").read_text().splitlines()]
    for line in lines:
        line["returns"] = [[x / 10 for x in row] for row in line["returns"]]
    (run / "evals.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def hide_group(root: Path, run: Path) -> None:
    edit("status.json", '"status": "ok"', '"status": "failed"')(root, run)
    edit("status.json", '"1": "ok"', '"1": "failed"')(root, run)


def stray(name: str, text: str = "{}") -> Harm:
    def harm(root: Path, run: Path) -> None:
        file = root / name.replace("RUN", str(run.relative_to(root)))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return harm


FILES = ("evals.jsonl", "status.json", "config.json", "policies/policy.json", "provenance.json", "timings.jsonl",
         "policies/best-deterministic.safetensors", "suites/small-v1.json", "index.jsonl", "store.json")  # fmt: skip
ENDED: dict[str, Harm] = {f"`{name}` {harm.__name__}": on(name, harm) for name in FILES for harm in HARMS} | {
    "a seed set from ok to failed by hand": edit("status.json", '"1": "ok"', '"1": "failed"'),
    "a group set from ok to failed by hand": hide_group,
    "a seed taken out of `status.json`": edit("status.json", ',\n  "1": "ok"', ""),
    "returns divided by hand": divide,
    "the lines of a seed deleted": lambda root, run: (run / "evals.jsonl").write_text(
        "".join(x for x in (run / "evals.jsonl").read_text().splitlines(True) if '"seed": 1' not in x)
    ),
    "a run directory deleted": lambda root, run: shutil.rmtree(run),
    "a stray file in a run": stray("RUN/notes.txt"),
    "a stray directory among the runs": stray("runs/notes/notes.txt"),
    "a stray JSON file among the suites": stray("suites/notes.json"),
    "a lease left over": stray("RUN/lease.json", '{"owner": "node7:1:x", "host": "node7", "place": "x", "pid": 1}'),
    "a temporary file left over": stray("RUN/.status.json.12345678"),
}


class Finished:
    """One finished store with an index, what every verb says of it, and copies to damage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        opened, planned = store(folder / "store", method(), method("random"))
        work(opened, planned.groups)
        compact(opened)
        self.run = opened.folder(planned.groups[0]).relative_to(opened.root)
        self.said = {verb: say(verb, opened.root, folder / "out") for verb in VERBS}
        assert all(code == 0 and not err for code, _, err in self.said.values()), self.said

    def row(self, name: str, place: Path) -> dict[str, str]:
        """What every verb does with a copy that was damaged."""
        cells = {}
        for verb in VERBS:
            root = place / verb.replace(" ", "-") / "store"
            shutil.copytree(self.folder / "store", root)
            ENDED[name](root, root / self.run)
            cells[verb] = verdict(self.said[verb], say(verb, root, root.parent / "out"), verb)
        return cells


Said = tuple[int, str, str]


def say(verb: str, root: Path, out: Path) -> Said:
    """(exit code, standard output, standard error) of a verb; of ``publish``, the digest of what stands there then."""
    publishing = verb == "publish"
    place = [str(root), "--out", str(out)] if publishing else [str(root)] if verb in ("table", "stats") else []
    arguments = [*verb.split(), *place] if place else [*verb.split(), "--store", str(root)]
    printed, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
        before, sys.argv = sys.argv, ["rlnet-bench", *arguments]
        try:
            cli.main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        finally:
            sys.argv = before
    text, complaint = printed.getvalue(), complained.getvalue()
    assert "Traceback" not in text + complaint
    if publishing:
        total = hashlib.sha256()
        for file in sorted(out.rglob("*")) if out.exists() else ():
            total.update(str(file.relative_to(out)).encode() + (file.read_bytes() if file.is_file() else b""))
        text = total.hexdigest() if out.exists() and any(out.iterdir()) else ""
    return code, text.replace(str(root), "STORE"), complaint


def verdict(before: Said, after: Said, verb: str) -> str:
    """A word for what a verb did.

    ``fine``: exit code 0 and the same output as before the damage. ``note``: exit code 0, and it is mentioned.
    ``marked``: exit code 1; the rest is shown, the damage is named on standard error. ``refused``: exit code 1 or 2,
    and nothing is shown or written.
    """
    code, text, complaint = after
    if code == 0:
        assert not complaint
        return "fine" if text == before[1] else "note"
    assert code in (1, 2) and complaint.strip(), after
    return "marked" if text else "refused"


# -- work that goes on -----------------------------------------------------------------------------------------------


def newest(run: Path) -> Path:
    return max(run.glob("checkpoints/0*"))


def at(name: str, harm: Callable[[Path], object]) -> Harm:
    """A harm to a file of the newest checkpoint."""
    return lambda root, run: harm(newest(run) / name)


def flip_last(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


OPEN: dict[str, Harm] = {
    "the newest checkpoint's weights torn": at("state.safetensors", torn),
    "one bit of the newest checkpoint's weights flipped": at("state.safetensors", flip_last),
    "the newest checkpoint's `state.json` torn": at("state.json", torn),
    "one bit of its `state.json` flipped": at("state.json", lambda file: edit_digit(file, '"next_point": ')),
    "the newest checkpoint deleted": lambda root, run: shutil.rmtree(newest(run)),
    "all checkpoints deleted": lambda root, run: shutil.rmtree(run / "checkpoints"),
    "the lease torn": lambda root, run: torn(run / "lease.json"),
    "the lease garbled": lambda root, run: garbled(run / "lease.json"),
    "the lease deleted": lambda root, run: deleted(run / "lease.json"),
    "`evals.jsonl` torn": on("evals.jsonl", torn),
    "one bit of `evals.jsonl` flipped": on("evals.jsonl", flipped),
    "`evals.jsonl` deleted": on("evals.jsonl", deleted),
    "`timings.jsonl` garbled": on("timings.jsonl", garbled),
    "`status.json` torn": on("status.json", torn),
    "`status.json` deleted": on("status.json", deleted),
    "`config.json` torn": on("config.json", torn),
    "one bit of `config.json` flipped": on("config.json", flipped),
    "`provenance.json` torn": on("provenance.json", torn),
    "`progress.json` garbled": on("progress.json", garbled),
    "the suite's plan torn": on("suites/small-v1.json", torn),
}


def edit_digit(file: Path, before: str) -> None:
    text = file.read_text()
    place = text.index(before) + len(before)
    file.write_text(text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :])


class Dead(BaseException):
    """The worker is gone, and so is its process: nothing is tidied up."""


class Interrupted:
    """One store whose worker died after its third checkpoint, and copies to damage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calm = products(whole(folder / "calm"))
        opened, self.plan = store(folder / "store")
        (group,) = self.plan.groups
        self.run = opened.folder(group).relative_to(opened.root)
        kept = folder / "kept"
        with pytest.raises(Dead):
            work(opened, [group], callbacks=lambda g: (StopAt(3, "checkpoint", Dead()),), on_group=lambda *_: None)
        shutil.copytree(opened.root, kept)
        lease = {"owner": "node7:1:x", "host": "node7", "place": "elsewhere", "pid": 1}
        (kept / self.run / "lease.json").write_text(json.dumps(lease))
        os.utime(kept / self.run / "lease.json", (0, 0))

    def row(self, name: str, place: Path) -> dict[str, str]:
        """What `store check` says of a copy that was damaged, and what becomes of it."""
        shutil.copytree(self.folder / "kept", place / "store")
        opened, run = Store(place / "store"), place / "store" / self.run
        (group,) = self.plan.groups
        OPEN[name](opened.root, run)
        report = check_store(opened)
        checked = "marked" if report.problems else "note" if report.notes else "fine"
        work(opened, [group])
        status = opened.status(group)
        if status["status"] != "ok":
            return {"store check": checked, "the next `run`": f"failed: {reason(status['reason'])}"}
        assert products(run) == self.calm
        opened.add_plan(self.plan)  # as every `run` does
        after = check_store(opened)
        assert (after.problems, after.notes) == ((), ())
        log = (run / "log.txt").read_text()
        resumed = re.findall(r"resumed: frames (\d+)", log)
        return {"store check": checked, "the next `run`": f"the same bits, from frame {resumed[-1] if resumed else 0}"}


def reason(text: str) -> str:
    """The part of a reason that is the same everywhere."""
    return (
        re.sub(r"/\S*/", "", text.split(": ", 1)[1] if re.match(r"\w+: ", text) else text).split(";")[0].split(" (")[0]
    )


# -- the page --------------------------------------------------------------------------------------------------------


def page_rows(title: str) -> dict[str, dict[str, str]]:
    """The table of the page whose first heading is this."""
    lines = PAGE.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {title} |"))
    heads = [x.strip() for x in lines[start].strip("|").split("|")]
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *cells = [x.strip() for x in line.strip("|").split("|")]
        rows[first] = dict(zip(heads[1:], cells))
    return rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    return Interrupted(tmp_path_factory.mktemp("interrupted"))


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def test_the_page_has_every_row() -> None:
    assert list(page_rows("A finished store")) == list(ENDED)
    assert list(page_rows("A run whose worker died")) == list(OPEN)


def test_the_page_names_tests_that_exist() -> None:
    named = {row["Test"].strip("`") for row in page_rows("What else happened").values()}
    written = "".join(file.read_text() for file in PAGE.parents[1].glob("tests/**/test_*.py"))
    assert len(named) > 10 and all(f"def {name}(" in written for name in named)


@pytest.mark.parametrize("name", ENDED)
def test_damage_to_a_finished_store(finished: Finished, tmp_path: Path, name: str) -> None:
    assert finished.row(name, tmp_path) == page_rows("A finished store")[name]


@pytest.mark.parametrize("name", OPEN)
def test_damage_to_a_run_that_goes_on(interrupted: Interrupted, tmp_path: Path, name: str) -> None:
    assert interrupted.row(name, tmp_path) == page_rows("A run whose worker died")[name]


def main() -> None:
    """Print the tables."""
    os.environ["COLUMNS"] = "200"
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "finished").mkdir()
        (place / "interrupted").mkdir()
        for title, rows, made in (
            ("A finished store", ENDED, Finished(place / "finished")),
            ("A run whose worker died", OPEN, Interrupted(place / "interrupted")),
        ):
            heads: list[str] = []
            for i, row in enumerate(rows):
                cells = made.row(row, place / f"{title.split()[1]}{i}")
                if not heads:
                    heads = list(cells)
                    print(f"| {title} | {' | '.join(heads)} |\n| :--- |{' :--- |' * len(heads)}")
                print(f"| {row} | {' | '.join(cells.values())} |", flush=True)
            print()


if __name__ == "__main__":
    main()


def test_ablations_that_are_not_of_the_record_are_a_problem(tmp_path: Path) -> None:
    opened, planned = store(tmp_path / "s")
    (group,) = planned.groups
    work(opened, [group])
    about = {"mode": "deterministic", "weights": "best", "value": 0.0}
    write_ablations(opened.folder(group), [{"kind": "intact", "seed": 0, "team": [0.5], **about}])
    assert check_store(opened).problems == ()
    file = opened.folder(group) / ABLATIONS
    file.write_text(file.read_text().replace("0.5", "0.6"))
    (problem,) = check_store(opened).problems
    assert f"{ABLATIONS}: line 1 (seed 0): chain digest" in problem
