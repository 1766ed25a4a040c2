"""The site's tables as data: what a cell says is decided here, once, for HTML, CSV and LaTeX alike."""

from __future__ import annotations

from dataclasses import dataclass

from rlnet_bench.analysis.pooling import NORMALISED
from rlnet_bench.analysis.wording import plural, short_count, significant, typographic
from rlnet_bench.leaderboard.entries import Entry
from rlnet_bench.leaderboard.listing import Listing
from rlnet_bench.leaderboard.standings import MOST, Place, Row, Standing
from rlnet_bench.reports.numbers import Numbers
from rlnet_bench.reports.table import TIE_MARK, Cell, Column, Group, Table, estimate_cell, marked
from rlnet_bench.reports.titles import task_titles
from rlnet_bench.stats.result import Estimate
from rlnet_bench.vocabulary import EXECUTION_CLASSES

WIDE = 8  # tasks that a board shows beside each other; of more it shows the aggregate, and pages have the rest
LEVELS = {
    "V0": "well-formed: format, digests, sizes, names",
    "V1": "consistent: every number recomputed from the records of episodes",
    "V2-practice": "re-evaluated on public seeds: practice, ranks nothing",
    "V2": "re-evaluated by us on hidden seeds",
    "V3": "trained again by us, from fresh seeds",
}
DIVISIONS = {
    "algorithms": "a way to train, judged by its training runs",
    "policies": "given weights, judged by fresh episodes",
}
TIES = f"{TIE_MARK} not distinguishable from the best; bold: the best, and better than at least one other."
HEADER = (
    "board", "method", "version", "task", "score", "low", "high", "runs", "rank", "rank_low", "rank_high", "official",
    "tied_with_best", "level", "execution", "training", "tuning", "bits", "frames", "run_ids",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A table, and for every row of it what the page filters by and the bar that it draws."""

    table: Table
    attributes: tuple[tuple[dict[str, str], ...], ...] = ()  # by group and row
    bars: tuple[tuple[tuple[float, float, float] | None, ...], ...] = ()
    files: str = ""
    ends: tuple[float, float] = (0.0, 1.0)  # of the bars, in scores

    @property
    def range(self) -> str:
        """The bars' ends as text."""
        return typographic(f"{significant(self.ends[0], 2)} to {significant(self.ends[1], 2)}")

    @property
    def zero(self) -> float:
        """Where 0 lies, as a share of the width."""
        return _share(0.0, self.ends)

    @property
    def one(self) -> float:
        """Where 1 lies."""
        return _share(1.0, self.ends)


def board_table(listing: Listing, board: Standing) -> Shown:
    """One board: a row per method, its place, what it is, and its tasks as far as they fit."""
    titles = task_titles(board.tasks)
    shown = board.tasks if len(board.tasks) <= WIDE else ()
    overall = len(board.tasks) > 1
    scale = "normalised" if board.pool.unit == NORMALISED else ""
    columns = [
        Column("Method", is_text=True),
        Column("Rank", "95 % interval", note="ranks that the data do not exclude"),
        *([Column("Score", f"{scale} mean, {plural(len(board.pool.tasks), 'task')}")] if overall else []),
        Column("Level", note="how far we verified it"),
        Column("Training", "tuning", is_text=True, note="whose knowledge flows where while learning; trials × seeds"),
        Column("Bits", "per step", note="message bits that cross between agents in a step"),
        Column("Frames", "per run"),
        *(Column(*titles[t]) for t in shown),
    ]

    def row(r: Row) -> tuple[Cell, ...]:
        place = board.places[""].get(r.key)
        total = board.overall.get(r.key)
        some = estimate_cell(total) if total else Cell("–", f"{len(r.entries)} of {plural(len(board.tasks), 'task')}")
        return (
            method_cell(listing, r),
            place_cell(place, r.any),
            *([marked(some, bold=_bold(place), tied=_tied(place))] if overall else []),
            *_what(r.any),
            *(score_cell(board, r, t) for t in shown),
        )

    ranked = tuple(r for r in board.order if r.is_ranked)
    listed = tuple(r for r in board.order if not r.is_ranked)
    parts = [
        ("Ranked", "verified by us", ranked),
        ("Listed", "not verified enough to rank; in brackets, where it would stand", listed),
        ("Controls", "untrained: reference lines, never ranked", board.controls),
    ]
    groups = [(Group(title, tuple(map(row, rows)), under), rows) for title, under, rows in parts if rows]
    limits = _limits(board)
    caption = f"{_unit_text(board)} {_rank_text(board)}"
    return Shown(
        Table(board.name, board_title(board), tuple(columns), tuple(g for g, _ in groups), caption, board.pool.notes,
              board_numbers(board)),
        tuple(tuple(attributes(board, r) for r in rows) for _, rows in groups),
        tuple(tuple(_bar(board.overall.get(r.key), limits) for r in rows) for _, rows in groups) if overall else (),
        board.name, limits,
    )  # fmt: skip


def board_title(board: Standing) -> str:
    """``Algorithms · class D0 · mpe-v1``."""
    return " · ".join(filter(None, (board.division.capitalize(), f"class {board.execution}", board.suite)))


def attributes(board: Standing, row: Row) -> dict[str, str]:
    """What the page filters a row by."""
    e = row.any
    families = sorted({t.partition("/")[0] for t in row.entries})
    return {
        "family": " ".join(families), "division": board.division, "execution": board.execution,
        "training": e.training, "level": e.level, "frames": str(e.frames or 0), "bits": str(_bits(row) or 0),
        "tuning": "tuned" if e.tuning[:1].isdigit() else e.tuning.partition(" +")[0],
        "control": "yes" if e.is_control else "no",
    }  # fmt: skip


def method_cell(listing: Listing, row: Row, root: str = "") -> Cell:
    """A method's name, with its page and who sent it."""
    e = row.any
    sender = "maintainers" if e.is_maintainers else e.submitter
    best_of = f" · best of {e.variants}" if e.is_best_of else ""
    under = "control" if e.is_control else f"by {sender}{best_of}"
    return Cell(
        row.key, under, sort=row.key, look=row.key, note=e.title, href=root + listing.pages[f"method/{e.method}"]
    )


def place_cell(place: Place | None, entry: Entry) -> Cell:
    """A rank interval; in brackets for what may not rank."""
    if entry.withdrawn or entry.is_control or place is None:
        return Cell("–", sort=None)
    interval = str(place.low) if place.low == place.high else f"{place.low}–{place.high}"
    note = place.reason or f"rank {place.rank} by point estimate"
    if place.reason:
        interval = "?"
    if not place.is_official:
        return Cell(f"({interval})", f"{entry.level}: unranked", sort=float(place.rank) + 10**6, note=note)
    return Cell(interval, sort=float(place.rank), bold=place.is_bold, dagger=place.is_tied, note=note)


def score_cell(board: Standing, row: Row, task: str) -> Cell:
    """The score of a row on a task, marked against the best of its board."""
    e, entry = board.estimates.get((row.key, task)), row.entries.get(task)
    if entry is None or e is None:
        return Cell("–", "failed" if entry is not None else "", note="no scored run")
    place = board.places.get(task, {}).get(row.key)
    text = _runs_text(entry)
    shade = next(f for f in board.facts if f.id == task).normalised(e.value)
    cell = estimate_cell(e, runs_text=text, shade=None if shade is None else min(1.0, max(0.0, shade)))
    return marked(cell, bold=_bold(place), tied=_tied(place))


def board_numbers(board: Standing) -> Numbers:
    """The numbers of a board, one row per method and task, and one for the pooled tasks."""
    rows: list[tuple[object, ...]] = []
    for r in (*board.order, *board.controls):
        for task in ("", *board.tasks):
            e = board.overall.get(r.key) if not task else board.estimates.get((r.key, task))
            if e is None:
                continue
            entry, place = r.entries.get(task, r.any), board.places.get(task, {}).get(r.key)
            runs = dict.fromkeys(s.run_id for s in entry.scores if s.run_id) if task else {}
            rows.append((
                board.name, r.any.method, r.any.version, task or "all pooled", e.value, e.low, e.high,
                sum(e.n_per_task.values()), *((place.rank, place.low, place.high, place.is_official, place.is_tied)
                                              if place else (None, None, None, None, None)),
                entry.level, board.execution, entry.training, entry.tuning, _bits(r), entry.frames, " ".join(runs),
            ))  # fmt: skip
    return Numbers(HEADER, tuple(rows))


def task_table(listing: Listing, task: str, root: str = "../") -> Shown:
    """Every board of a task, one group each."""
    columns = (
        Column("Method", is_text=True), Column("Rank", "95 % interval"), Column("Score", "team return"),
        Column("Success", listing.cards[task].success_metric.replace("_", " ")), Column("Level"),
        Column("Training", "tuning", is_text=True), Column("Bits", "per step"), Column("Frames", "per run"),
    )  # fmt: skip
    groups, attached, numbers = [], [], []
    for board in listing.boards:
        if task not in board.tasks:
            continue
        places = board.places[task]
        rows = sorted(
            (r for r in (*board.rows, *board.controls) if task in r.entries),
            key=lambda r: (r.any.is_control, -_value(board, r, task)),
        )
        cells = tuple(
            (method_cell(listing, r, root), place_cell(places.get(r.key), r.entries[task]), score_cell(board, r, task),
             _success(r.entries[task]), *_what(r.entries[task])) for r in rows
        )  # fmt: skip
        groups.append(Group(board_title(board), cells, EXECUTION_CLASSES.get(board.execution, "")))
        attached.append(tuple(attributes(board, r) for r in rows))
        numbers += [row for row in board_numbers(board).rows if row[3] == task]
    name = f"task-{listing.pages[f'task/{task}'].split('/')[-1].removesuffix('.html')}"
    caption = f"Mean team return over runs (or policies), absolute metric, with its 95 % interval. {TIES}"
    return Shown(Table(name, "Scores", columns, tuple(groups), caption, (), Numbers(HEADER, tuple(numbers))),
                 tuple(attached), files=name)  # fmt: skip


def method_table(listing: Listing, method: str, root: str = "../") -> Shown:
    """Every entry of a method: its score and place on every task."""
    columns = (
        Column("Task", is_text=True), Column("Board", is_text=True), Column("Rank", "95 % interval"),
        Column("Score", "team return"), Column("Success"), Column("Level"),
        Column("Training", "tuning", is_text=True), Column("Bits", "per step"), Column("Frames", "per run"),
    )  # fmt: skip
    rows, numbers = [], []
    for board in listing.boards:
        for r in (*board.rows, *board.controls):
            if r.any.method != method:
                continue
            for task, entry in r.entries.items():
                place = board.places[task].get(r.key)
                rows.append((
                    Cell(task, f"version {entry.version}", sort=task, href=root + listing.pages[f"task/{task}"]),
                    Cell(board_title(board), sort=board.name, href=f"{root}index.html#{board.name}"),
                    place_cell(place, entry), score_cell(board, r, task), _success(entry), *_what(entry),
                ))  # fmt: skip
            numbers += [row for row in board_numbers(board).rows if row[1] == method and row[2] == r.any.version]
    gone = [e for e in listing.entries if e.method == method and e.withdrawn]
    for entry in gone:
        rows.append((Cell(entry.task, f"version {entry.version}"), Cell("withdrawn", entry.withdrawn),
                     *[Cell("–")] * 3, *_what(entry)))  # fmt: skip
    name = f"method-{listing.pages[f'method/{method}'].split('/')[-1].removesuffix('.html')}"
    caption = f"Mean team return over runs (or policies), absolute metric, with its 95 % interval. {TIES}"
    found = Numbers(HEADER, tuple(numbers))
    return Shown(Table(name, "Scores", columns, (Group("", tuple(rows)),), caption, (), found), files=name)


def runs_table(listing: Listing, entry: Entry) -> Table:
    """What stands behind one number: every run or policy with its id and digest."""
    rows = tuple(
        (
            Cell(str(s.seed), sort=float(s.seed)), Cell(s.status),
            Cell("–") if s.mean is None else Cell(significant(s.mean, 4), _se(s.se), sort=s.mean),
            Cell("–") if s.success is None else Cell(significant(s.success), sort=s.success),
            Cell(str(s.episodes) if s.episodes else "–"), Cell(s.run_id or "–", code=True), Cell(s.weights, code=True),
        )
        for s in entry.scores
    )  # fmt: skip
    columns = (
        Column("Seed"), Column("Status", is_text=True), Column("Return", "± standard error"), Column("Success"),
        Column("Episodes"), Column("Run", "id", is_text=True), Column("Weights", "digest", is_text=True),
    )  # fmt: skip
    caption = (
        f"{entry.method} on {entry.task}: task {entry.task_hash[:16] or 'of unknown digest'}; "
        f"{entry.mode} actions; from {entry.source.name}."
    )
    title = f"Runs of {entry.method}, version {entry.version}, on {entry.task} ({entry.suite or entry.division})"
    return Table("runs", title, columns, (Group("", rows),), caption)


def _what(e: Entry) -> tuple[Cell, ...]:
    """Level, training class, tuning, bits, frames."""
    return (
        Cell(e.level, "; ".join(e.flags), sort=e.level, note=LEVELS[e.level]),
        Cell("untrained", sort="") if e.is_control else Cell(e.training, _tuning(e.tuning), sort=e.training),
        Cell("–", note="not computed") if e.bits is None else Cell(short_count(e.bits), sort=float(e.bits)),
        Cell(short_count(e.frames) if e.frames else "–", sort=float(e.frames or 0)),
    )


def _tuning(text: str) -> str:
    return "tuning not stated" if text == "not stated" else f"tuned: {text}" if text[:1].isdigit() else text


def _se(se: float | None) -> str:
    return "" if se is None else f"± {significant(se, 2)}"


def _success(e: Entry) -> Cell:
    found = [s.success for s in e.scores if s.success is not None]
    return Cell(significant(sum(found) / len(found), 3), sort=sum(found) / len(found)) if found else Cell("–")


def _runs_text(e: Entry) -> str:
    n, lost = sum(s.mean is not None for s in e.scores), sum(s.status != "ok" for s in e.scores)
    word = "policies" if e.division == "policies" else "runs"
    return (
        f"n = {n}" + (f", {lost} of {len(e.scores)} {word} lost or diverged" if lost else "") if n < 5 or lost else ""
    )


def _bits(row: Row) -> int | None:
    found = [e.bits for e in row.entries.values() if e.bits is not None]
    return max(found, default=None)


def _value(board: Standing, row: Row, task: str) -> float:
    e = board.estimates.get((row.key, task))
    return float("-inf") if e is None else e.value


def _bold(place: Place | None) -> bool:
    return place is not None and place.is_official and place.is_bold


def _tied(place: Place | None) -> bool:
    return place is not None and place.is_official and place.is_tied


def _limits(board: Standing) -> tuple[float, float]:
    found = [x for e in board.overall.values() for x in (e.value, e.low, e.high) if x is not None]
    low, high = min([0.0, *found]), max([1.0, *found])
    return low, high


def _bar(e: Estimate | None, limits: tuple[float, float]) -> tuple[float, float, float] | None:
    """(low, value, high) as shares of the width."""
    if e is None:
        return None
    a, b = (e.value if e.low is None else e.low), (e.value if e.high is None else e.high)
    return _share(a, limits), _share(e.value, limits), _share(b, limits)


def _share(x: float, ends: tuple[float, float]) -> float:
    return round(100 * (x - ends[0]) / (ends[1] - ends[0]), 1)


def _unit_text(board: Standing) -> str:
    if len(board.tasks) == 1 or board.pool.unit != NORMALISED:
        return "Scores are mean team returns with their 95 % intervals."
    return "Scores: 0 is the random policy, 1 the documented best; tasks in their own units; 95 % intervals."


def _rank_text(board: Standing) -> str:
    if board.is_crowded:
        fixed = " and ".join(board.anchors) or "no anchors are set"
        return (
            f"More than {MOST} methods: each is tested against the best and against fixed ones ({fixed}), and a rank "
            f"counts those. {TIES}"
        )
    return f"Ranks within the board by permutation tests of all pairs, adjusted together. {TIES}"
