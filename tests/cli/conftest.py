"""Commands in this process: ``say`` tells everything apart, ``run`` gives (exit code, all that was printed)."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rlnet_bench.cli.main import main

if TYPE_CHECKING:
    from said import Run, Said, Say

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    """Run a command in an empty directory; it may end with a sentence, never with a traceback."""
    import said

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own

    def call(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["rlnet-bench", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
        found = capsys.readouterr()
        assert "Traceback" not in found.err + found.out
        return said.Said(code, found.out, found.err)

    return call


@pytest.fixture
def run(say: Say) -> Run:
    """Run a command in an empty directory; returns exit code and everything printed."""

    def call(*words: object) -> tuple[int, str]:
        found = say(*words)
        return found.code, found.out + found.err

    return call
