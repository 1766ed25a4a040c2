"""Every run is there with every episode, and their chains of digests hold.

Allowed: records as the run store wrote them.
Disallowed: a return that was edited, an evaluation that was taken out, runs of two methods in one submission.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from judged import Fresh, says


@pytest.fixture
def file(fresh: Fresh) -> Path:
    (found,) = fresh().glob("records/*/*.jsonl.gz")
    return found


def test_allowed(fresh: Fresh) -> None:
    assert says("records_are_whole", fresh()) == ""


@pytest.mark.parametrize("change", ["edit", "drop"])
def test_disallowed(file: Path, change: str) -> None:
    lines = gzip.decompress(file.read_bytes()).decode().splitlines(keepends=True)
    assert lines[2].startswith('{"kind"')
    if change == "drop":
        del lines[2]
    else:
        lines[2] = lines[2].replace('"returns": [[-', '"returns": [[-1')
    file.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    assert "records_are_whole" in says("records_are_whole", file.parent.parent.parent)
