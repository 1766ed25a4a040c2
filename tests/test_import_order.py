"""Imports go one way: no room of the package knows of a room above it.

Imports are read from the source, lazy ones inside functions and those for type checkers included: a lazy import
upwards is still knowledge of what is above.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ORDER = (  # lowest first; rooms of one line do not know each other
    ("vocabulary", "errors", "rng", "leash"),
    ("trust", "reading"),
    ("stats", "envs"),
    ("learning",),
    ("methods",),
    ("networks", "baselines", "typed"),
    ("runs",),
    ("foreign",),
    ("analysis",),
    ("api",),
    ("reports",),
    ("leaderboard",),
    ("cli",),
    ("__main__",),
)
# (from, to): rooms that still import upwards. The list may only shrink; an entry that nothing needs fails.
PRESENT: set[tuple[str, str]] = set()
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}


def room_of(path: Path) -> str:
    """``runs`` for rlnet_bench/runs/loop.py, ``rng`` for rlnet_bench/rng.py, ``baselines`` for that folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "rlnet_bench" else parts[0]


def imported(source: str) -> Iterator[tuple[int, str]]:
    """(line, module or name below the package) of every import of ``rlnet_bench``, at any depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.startswith("rlnet_bench."))


def upward() -> Iterator[tuple[tuple[str, str], str]]:
    """((room, room it imports), where) for every import of a room of the same line or a higher one."""
    files = [p for folder in ("rlnet_bench", "baselines") for p in sorted((ROOT / folder).rglob("*.py"))]
    for path in files:
        if path == ROOT / "rlnet_bench" / "__init__.py":  # the front door names everything
            continue
        room = room_of(path)
        for line, name in imported(path.read_text()):
            other = name.split(".")[1]
            assert other in LEVEL, f"{path}:{line} imports {name}: a room without a place in ORDER"
            if other != room and LEVEL[other] >= LEVEL[room]:
                yield (room, other), f"{path.relative_to(ROOT)}:{line} imports {name}"


def test_every_room_has_its_place() -> None:
    rooms = {room_of(p) for p in (ROOT / "rlnet_bench").rglob("*.py")}
    assert rooms - {"__init__"} <= set(LEVEL)


def test_no_room_imports_from_above() -> None:
    found = list(upward())
    assert [where for pair, where in found if pair not in PRESENT] == []
    assert {pair for pair, _ in found} == PRESENT


@pytest.mark.parametrize(
    "source",
    [
        "from rlnet_bench.runs.loop import run_group",
        "from rlnet_bench import runs",
        "import rlnet_bench.runs.loop as loop",
        "def late():\n    from rlnet_bench.runs import loop",
        "if TYPE_CHECKING:\n    from rlnet_bench.runs.records import EvalLine",
    ],
)
def test_imports_are_seen_wherever_they_stand(source: str) -> None:
    assert [name.split(".")[1] for _, name in imported(source)] == ["runs"]
