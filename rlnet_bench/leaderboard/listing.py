"""Everything that a site is made from, read once: entries, boards, runs, recorded episodes, cross-play. No torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rlnet_bench.analysis.crossplay import Crossplay, read_crossplay
from rlnet_bench.analysis.loading import load_results
from rlnet_bench.analysis.results import Results
from rlnet_bench.analysis.team_sizes import TeamSizes, read_team_sizes
from rlnet_bench.envs.card import TaskCard, unknown_card
from rlnet_bench.envs.registry import is_catalogued, task_card
from rlnet_bench.errors import RlnetError
from rlnet_bench.leaderboard.board import Board, read_board
from rlnet_bench.leaderboard.entries import Entry, entries
from rlnet_bench.leaderboard.standings import Standing, standings
from rlnet_bench.leaderboard.submission import RECORDS
from rlnet_bench.reading.files import listing, read_bytes, unpack
from rlnet_bench.runs.published import episode_file, is_published

CROSSPLAY, TEAM_SIZES = "crossplay", "team-sizes"  # folders of recorded matrices, and of other team sizes
MOST_EPISODE = 1 << 20  # bytes of a packed episode that a page carries


@dataclass(frozen=True, eq=False)
class Listing:
    """What a folder of results lists."""

    folder: Path
    board: Board
    entries: tuple[Entry, ...]
    results: Mapping[Path, Results]  # by publication
    crossplay: tuple[Crossplay, ...]
    team_sizes: tuple[TeamSizes, ...] = ()

    @cached_property
    def cards(self) -> dict[str, TaskCard]:
        """The card of every task: the catalogue's, else the one that records describe."""
        known = {t: r.card(t) for r in self.results.values() for t in r.tasks}
        return {t: known.get(t) or _card(t) for t in self.tasks}

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Tasks with entries, sorted."""
        return tuple(sorted({e.task for e in self.entries}))

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Methods with entries, sorted."""
        return tuple(sorted({e.method for e in self.entries}))

    @cached_property
    def boards(self) -> tuple[Standing, ...]:
        """All boards."""
        return tuple(standings([e for e in self.entries if not e.withdrawn], self.cards, self.board.fixed))

    @cached_property
    def pages(self) -> dict[str, str]:
        """``method/NAME`` and ``task/ID`` -> the path of its page."""
        found = {f"method/{m}": m for m in self.methods} | {f"task/{t}": t for t in self.tasks}
        names = file_names(found)
        return {key: f"{key.partition('/')[0]}s/{name}.html" for key, name in names.items()}

    def records(self, entry: Entry) -> tuple[Results, str] | None:
        """The publication behind an entry and the label of its method there; None for policies alone."""
        for place in (entry.source, entry.source / RECORDS):
            results = self.results.get(place)
            if results is not None:
                labels = [m.label for m in results.methods]
                label = entry.method if entry.method in labels else labels[0] if len(labels) == 1 else None
                return None if label is None else (results, label)
        return None

    def episode(self, entry: Entry) -> bytes | None:
        """A recorded episode of an entry, packed, as it was published; looked at, and never run."""
        found = self.records(entry)
        if found is None:
            return None
        place = entry.source if is_published(entry.source) else entry.source / RECORDS
        file = episode_file(place, found[1], entry.task)
        if not file.exists():
            return None
        packed = read_bytes(file, MOST_EPISODE)
        unpack(packed, str(file))
        return packed


def read_listing(folder: Path) -> Listing:
    """Read a folder of results.

    Raises:
        RlnetError: when a publication, a submission, its evidence or a matrix is not what was written.
    """
    read: dict[Path, Results] = {}

    def load(place: Path) -> Results:
        if place not in read:
            read[place] = load_results(place)
        return read[place]

    found = tuple(entries(folder, load))
    matrices = [read_crossplay(f) for f in listing(folder / CROSSPLAY, ".json")]
    sizes = [read_team_sizes(f) for f in listing(folder / TEAM_SIZES, ".json")]
    return Listing(folder, read_board(folder), found, read, tuple(matrices), tuple(sizes))


def _card(task: str) -> TaskCard:
    try:
        return task_card(task) if is_catalogued(task) else unknown_card(task, agents=1)
    except RlnetError:
        return unknown_card(task, agents=1)


def file_names(names: Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    """Key -> a name for its file: plain, short, each another one, whatever is in the name.

    >>> file_names({"a": "zoo/tag-3ppo", "b": "Zoo/tag-3ppo", "c": "名"})["a"]
    'zoo-tag-3ppo'
    """
    pairs = dict(names) if isinstance(names, Mapping) else {n: n for n in names}
    out: dict[str, str] = {}
    taken: set[str] = set()
    for key, name in pairs.items():
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]
        if not plain or plain in taken:
            plain = f"{plain or 'x'}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
        taken.add(plain)
        out[key] = plain
    return out
