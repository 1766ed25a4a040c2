"""One door: no module but ``rlnet_bench.reading`` opens a file that somebody else may have written."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "rlnet_bench"
METHODS = {"open", "fdopen", "read_text", "read_bytes"}  # of whatever object: a path, os, io
MODULES = {"json": {"load", "loads"}, "yaml": {"load", "safe_load", "parse", "compose", "SafeLoader"}}
MODULES |= {"csv": {"reader", "DictReader"}, "gzip": {"open", "decompress", "GzipFile"}}
MODULES |= {name: set() for name in ("pickle", "marshal", "shelve", "tarfile", "zipfile", "lzma", "bz2")}  # not at all
NAMES = {"open", "load_file", "safe_open", "fromfile", "genfromtxt", "loadtxt"}

# What may be opened elsewhere: what we write, what comes with the package, the system's, and code that is trusted.
ELSEWHERE = {
    "cli/doctor.py": "/sys",
    "cli/main.py": "/dev/null",
    "envs/card.py": "a card just made",
    "envs/cards/__init__.py": "the package's own cards",
    "envs/check/state.py": "a state just made",
    "envs/layout.py": "the package's own layouts",
    "envs/pettingzoo/door.py": "the digest of a user's code",
    "envs/vmas/scenario.py": "the source of imported code",
    "foreign/csv.py": "rows of text that was read",
    "foreign/door.py": "the first row of text that was read",
    "foreign/guess.py": "the first rows of text that was read",
    "leaderboard/season.py": "to write a secret, and to append to a log",
    "leash.py": "a pipe of our own",
    "networks/pages.py": "the pages that it writes",
    "networks/zoo_files.py": "the package's own networks",
    "reports/page.py": "the package's own templates",
    "runs/_check_faults.py": "a store of the check's own",
    "runs/_check_learning.py": "a policy just made",
    "runs/_check_runs.py": "a store of the check's own",
    "runs/adopt.py": "to write it",
    "runs/calibrate.py": "what our own process says",
    "runs/check_launcher.py": "a store of the check's own",
    "runs/checkpoint.py": "to write it",
    "runs/files.py": "to write it",
    "runs/meter.py": "/proc",
    "runs/process.py": "/proc",
    "runs/provenance.py": "/proc",
    "runs/publish.py": "to write it",
    "runs/recorder.py": "to append to it",
    "runs/records.py": "numbers of a line that was read",
    "runs/segments.py": "to write it",
    "runs/store.py": "to lock and to append to it",
    "runs/suite.py": "the package's own suites",
    "runs/tuned.py": "the package's own list of trials by hand",
    "runs/worker.py": "to append to it",
    "stats/sequential.py": "a plan in memory",
    "trust.py": "code that is trusted, and its digest",
}


def opened(source: str) -> Iterator[str]:
    """``line: call`` of everything that opens or decodes a file."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            roots = {a.name.split(".")[0] for a in node.names} if isinstance(node, ast.Import) else {node.module or ""}
            names = {a.name for a in node.names}
            if any(not MODULES.get(r, {"x"}) for r in roots) or names & {"load_file", "safe_open"}:
                yield f"{node.lineno}: import {', '.join(sorted(roots | names))}"
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in NAMES:
                yield f"{node.lineno}: {called.id}()"
            elif isinstance(called, ast.Attribute):
                owner = called.value.id if isinstance(called.value, ast.Name) else ""
                if called.attr in METHODS or called.attr in NAMES or called.attr in MODULES.get(owner, ()):
                    yield f"{node.lineno}: {owner}.{called.attr}()"
                elif owner in ("torch", "np", "numpy") and called.attr == "load":
                    yield f"{node.lineno}: {owner}.load()"


def test_only_the_reader_opens_files() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): calls
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent.name != "reading" and (calls := list(opened(path.read_text())))
    }
    assert {name: calls for name, calls in found.items() if name not in ELSEWHERE} == {}
    assert sorted(set(ELSEWHERE) - set(found)) == []  # the list may only shrink


@pytest.mark.parametrize(
    "source",
    [
        "open('x')", "path.open('rb')", "p.read_text()", "json.loads(x)", "json.load(f)", "yaml.safe_load(x)",
        "gzip.open(p)", "import pickle", "from safetensors.torch import load_file", "torch.load(f)", "np.load(f)",
        "import csv\ncsv.DictReader(f)", "def late():\n    from pickle import loads", "os.fdopen(3)", "np.loadtxt(p)",
    ],
)  # fmt: skip
def test_what_opens_a_file_is_seen(source: str) -> None:
    assert list(opened(source))
