"""What a running grid looks like: a live table on a terminal, one line per event elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlnet_bench.cli.output import cell

if TYPE_CHECKING:
    from rlnet_bench.runs.plan import Plan
    from rlnet_bench.runs.store import Store
    from rlnet_bench.runs.watch import GroupView


class Events:
    """One line per event, for pipes and log files."""

    def __init__(self, store: Store, planned: Plan, workers: int, console: Console) -> None:
        from rlnet_bench.runs.watch import Watcher

        self.watcher, self.workers, self.console = Watcher(store, planned), workers, console
        self.seen = {row.run_id: row.status for row in self.watcher.look()}
        self.tenths: dict[str, int] = {}

    def poll(self) -> None:
        """Print what changed since the last call."""
        from rlnet_bench.analysis.wording import duration
        from rlnet_bench.runs.watch import time_left

        rows = self.watcher.look()
        for row in rows:
            what = f"{row.method} on {row.task}"
            if self.seen[row.run_id] != row.status:
                self.seen[row.run_id] = row.status
                reason = f": {row.reason}" if row.reason else ""
                diverged = f" (diverged seeds: {list(row.diverged_seeds)})" if row.diverged_seeds else ""
                self.console.print(cell(f"{row.status}: {what}{diverged}{reason}"), soft_wrap=True)
            tenth = 10 * row.frames // row.budget if row.budget else 0
            if row.status == "running" and tenth > self.tenths.get(row.run_id, 0):
                self.tenths[row.run_id] = tenth
                left = duration(time_left(rows, self.workers))
                text = f"progress: {what} {10 * tenth}%, {row.rate:,.0f} frames/s, about {left} left for the suite"
                self.console.print(cell(text), soft_wrap=True)


def grid(planned: Plan, rows: list[GroupView], workers: int) -> RenderableType:
    """The table of a suite's groups and a line of summary."""
    from rlnet_bench.analysis.wording import duration
    from rlnet_bench.runs.watch import time_left

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("method", "task", "seeds", "state", "frames per seed", "frames/s", "left", "worker", "run id"):
        table.add_column(column)
    colours = {"ok": "green", "running": "cyan", "failed": "red", "diverged": "magenta", "waiting": "yellow"}
    for row in rows:
        state = f"{row.status} ({len(row.diverged_seeds)} diverged)" if row.diverged_seeds else row.status
        share = f"{row.frames:,} / {row.budget:,}" if row.budget else "-"
        rate = f"{row.rate:,.0f}" if row.rate else ""
        shown = cell(state, colours.get(row.status, "dim"))
        table.add_row(
            cell(row.method), cell(row.task), str(len(row.seeds)), shown, share, rate,
            duration(row.seconds_left) if row.seconds_left else "", cell(row.worker), row.run_id,
        )  # fmt: skip
    done = sum(row.status in ("ok", "diverged") for row in rows)
    left = duration(time_left(rows, workers))
    summary = f"{planned.suite.name}-v{planned.suite.version}: {done} of {len(rows)} groups done"
    if done < len(rows):
        summary += f", about {left} left"
    failed = [
        Text.assemble((f"{row.run_id} failed:", "red"), " ", cell(row.reason)) for row in rows if row.status == "failed"
    ]
    return Group(table, "", summary, *failed)


def failures(store: Store, planned: Plan, rows: list[GroupView]) -> str:
    """Which groups failed, why, and where to look."""
    lines = []
    for group, row in zip(planned.groups, rows):
        if row.status == "failed":
            lines.append(f"failed: {group.describe()}: {row.reason}")
            lines += [f"  | {line}" for line in store.last_lines(group)]
            lines.append(f"  rlnet-bench logs {group.run_id} --store {store.root}")
    return "\n".join(lines)
