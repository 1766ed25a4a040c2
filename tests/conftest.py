"""Shared by all tests: one thread, the slow grid, and the tally of skips.

``--slow none``: only the fast set. ``--slow tenth`` (the default): plus a tenth of the slow tests, chosen
by the commit's hash, so that ten commits see them all. ``--slow all``: everything.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytest_plugins = ["synthetic"]  # results made from a formula
ALLOWED_SKIPS = ROOT / "tests" / "allowed_skips.txt"

# Before torch and numpy are imported by any test: two workers on two cores must not use four threads.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["RLNET_BENCH_CACHE"] = tempfile.mkdtemp(prefix="rlnet-bench-tests-")  # not the user's calibrations
os.environ.setdefault("PYGLET_HEADLESS", "true")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", choices=("none", "tenth", "all"), default="tenth")


def pytest_configure(config: pytest.Config) -> None:
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


def _commit() -> str:
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "no commit"
    return found.stdout.strip()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    choice = config.getoption("--slow")
    commit = _commit()
    kept, left = [], []
    for item in items:
        slow = item.get_closest_marker("slow") is not None
        minutes = item.get_closest_marker("minutes") is not None
        draw = hashlib.sha256(f"{commit} {item.nodeid}".encode()).digest()[0] % 10
        if not slow or choice == "all" or (choice == "tenth" and draw == 0 and not minutes):
            kept.append(item)
        else:
            left.append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def _allowed() -> list[str]:
    lines = ALLOWED_SKIPS.read_text().splitlines() if ALLOWED_SKIPS.exists() else []
    return [line for line in lines if line and not line.startswith("#")]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print why tests were skipped; a reason that is not in the list fails the run (see pytest_sessionfinish)."""
    skipped = terminalreporter.stats.get("skipped", [])
    tally = Counter(_reason(report) for report in skipped)
    for reason, count in sorted(tally.items()):
        mark = "" if any(allowed in reason for allowed in _allowed()) else "  <- not in tests/allowed_skips.txt"
        terminalreporter.write_line(f"skipped {count}: {reason}{mark}")


def _reason(report: pytest.TestReport) -> str:
    found = report.longrepr
    return str(found[2]) if isinstance(found, tuple) else str(found)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if hasattr(session.config, "workerinput") or exitstatus != 0:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    reasons = {_reason(r) for r in reporter.stats.get("skipped", [])} if reporter else set()
    if any(not any(allowed in reason for allowed in _allowed()) for reason in reasons):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
