"""Thousands of mutants of every format: a sentence or a result, soon, in little memory, and nothing else happens."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import mutants
import parsers
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rlnet_bench.errors import RlnetError

FEW, MANY = 150, 2000  # mutants per parser: in `make test`, and in `make test-all`
SECONDS = 5
MEMORY = 1 << 30
PARSERS = {p.name: p for p in parsers.all_parsers()}
CORPUS = Path(__file__).parent / "corpus"


class Hang(BaseException):
    """Raised by the alarm."""


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise Hang in whatever takes longer: of the processor, or twelve times that of the clock (of a busy machine)."""

    def ring(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, ring)
    signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_REAL, 12 * seconds)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)


def in_child(work: Any, folder: Path) -> Any:
    """What ``work()`` returns in a forked process whose memory may grow by :data:`MEMORY`, started in ``folder``."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            os.chdir(folder)
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            _limit()
            with os.fdopen(writing, "w") as pipe:
                json.dump(work(), pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the process that read mutants ended with {os.waitstatus_to_exitcode(status)}"
    return json.loads(text)


def _limit() -> None:
    """Data of this process may grow by so much and no more."""
    with open("/proc/self/status") as file:
        used = next(int(line.split()[1]) for line in file if line.startswith("VmData")) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, resource.RLIM_INFINITY))


def tree(root: Path) -> dict[str, int]:
    """Every name below a folder, and its size."""
    return {str(p.relative_to(root)): p.lstat().st_size for p in sorted(root.rglob("*")) if not p.is_dir()}


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with code and a shell command that leave a file behind when they run."""
    folder = tmp_path_factory.mktemp("canary")
    fire = f"import pathlib; pathlib.Path({str(folder / 'fired')!r}).write_text(__name__)\n"
    (folder / "evil.py").write_text(fire + "class Evil: pass\ndef make(**_): return None\n")
    (folder / "canary_module.py").write_text(fire + "class Evil: pass\n")
    return folder


def _count(name: str, slow: str) -> int:
    if name == "commands":  # whole verbs, of parsers that have their own mutants
        return MANY // 4 if slow == "all" else FEW // 3
    if name == "submission":  # what strangers send
        return 5000 if slow == "all" else 100
    return MANY if slow == "all" else FEW


def judge(parser: parsers.Parser, root: Path, draw: Random) -> str:
    """What reading a mutant ended in: nothing for a result or a sentence, else the complaint."""
    try:
        with at_most(SECONDS):
            parser.read(root, draw)
    except RlnetError as error:
        return "" if str(error).strip() and error.exit_code in (1, 2) else f"an empty complaint {error!r}"
    except Hang:
        return f"more than {SECONDS} s\n{traceback.format_exc()[-1500:]}"
    except BaseException:
        return traceback.format_exc()[-2500:]
    return ""


def one(parser: parsers.Parser, good: Path, root: Path, number: int, mutator: mutants.Mutator) -> str:
    """Read the mutant of this number; returns the complaint."""
    draw = Random(f"{parser.name} {number}")
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(good, root)
    what = "forged"
    if parser.forge is not None and draw.random() < 0.3:
        parser.forge(root, draw, mutator)
    else:
        path, kind = draw.choice(parser.files(root))
        what = f"{path.relative_to(root)}"
        path.write_bytes(mutator.of(kind, path.read_bytes(), draw))
    found = judge(parser, root, draw)
    return f"mutant {number} of {parser.name}, {what}: {found}" if found else ""


@pytest.mark.parametrize("name", PARSERS)
def test_mutants_are_results_or_sentences(
    name: str, tmp_path: Path, canary: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser, count = PARSERS[name], _count(name, request.config.getoption("--slow"))
    good, root, home = (tmp_path / x for x in ("good", "target", "home"))
    good.mkdir()
    home.mkdir()
    parser.make(good)
    mutator = mutants.Mutator(str(canary))
    monkeypatch.syspath_prepend(str(canary))

    def work() -> dict[str, Any]:
        found: list[str] = []

        @settings(
            max_examples=count, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(number=st.integers(0, 2**40))
        def read(number: int) -> None:
            complaint = one(parser, good, root, number, mutator)
            if complaint and len(found) < 20:
                found.append(complaint)

        read()
        shutil.rmtree(root, ignore_errors=True)
        return {"found": found, "imported": [m for m in sys.modules if m in ("evil", "canary_module")]}

    before = tree(tmp_path), tree(canary)
    said = in_child(work, home)
    assert said["found"] == [], "\n\n".join(said["found"][:5])
    assert said["imported"] == [] and (tree(tmp_path), tree(canary)) == before  # nothing fired, nothing outside


@pytest.mark.parametrize("file", sorted(CORPUS.iterdir()), ids=lambda p: p.name)
def test_the_corpus(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that once ended in a traceback, a hang or a lie: ``<parser>--<file>--<what>[--refused]``."""
    name, where, *rest = file.name.split("--")
    parser, good = PARSERS[name], tmp_path / "good"
    good.mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    parser.make(good)
    target = next(p for p in good.rglob(where))
    target.write_bytes(file.read_bytes())
    assert judge(parser, good, Random(0)) == ""
    if rest[-1] == "refused":
        with pytest.raises(RlnetError):
            parser.read(good, Random(0))
    assert not any((tmp_path / "here").iterdir())


@pytest.mark.parametrize("name", ["published", "store", "plans", "checkpoint", "lease", "sacred"])
@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "device"])
def test_pipes_links_and_devices_among_the_files(name: str, kind: str, tmp_path: Path) -> None:
    parser, good = PARSERS[name], tmp_path / "good"
    good.mkdir()
    parser.make(good)
    for number, _ in enumerate(parser.files(good)):
        root = tmp_path / "target"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(good, root)
        path = parser.files(root)[number][0]
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero" if kind == "device" else good / "digest")
        complaint = judge(parser, root, Random(number))
        assert complaint == "", f"{path.relative_to(root)}: {complaint}"
