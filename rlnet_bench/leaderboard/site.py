"""``leaderboard build``: published records in, a folder of pages out. No server, no network, no torch.

Every page stands alone (style and script inside) and opens from disk; beside the pages are the tables as CSV, JSON and
LaTeX. Equal records give equal bytes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from rlnet_bench.analysis.references import facts_of
from rlnet_bench.analysis.wording import count, listed, p_text, plural, rounded, significant, typographic
from rlnet_bench.errors import Malformed, RlnetError
from rlnet_bench.leaderboard.entries import Entry
from rlnet_bench.leaderboard.extras import channel_sections, crossplay_section, team_sizes_section
from rlnet_bench.leaderboard.forked import each
from rlnet_bench.leaderboard.lines import Line, chart, dashes, stroke
from rlnet_bench.leaderboard.listing import Listing, file_names, read_listing
from rlnet_bench.leaderboard.standings import Standing
from rlnet_bench.leaderboard.tables import (
    DIVISIONS,
    LEVELS,
    Shown,
    board_table,
    board_title,
    method_table,
    runs_table,
    task_table,
)
from rlnet_bench.reading.files import found_at
from rlnet_bench.reports.page import asset, environment, html_table
from rlnet_bench.reports.table import Cell, Column, Group, Table
from rlnet_bench.reports.writers import latex
from rlnet_bench.runs.files import sweep, write_atomic, writing
from rlnet_bench.vocabulary import EXECUTION_CLASSES

HERE = "rlnet_bench.leaderboard"
SHOWN_CURVES = 8  # methods of a task's chart
SUFFIXES = (".html", ".csv", ".json", ".tex")


def build_site(results: Path, out: Path) -> Path:
    """Write the site of a folder of results and return the path of its first page.

    Pages of an earlier build in ``out`` that are not made again are removed; nothing else there is touched.

    Raises:
        RlnetError: when a publication, a submission or its evidence is not what was written.
    """
    if not Path(results).is_dir():
        raise Malformed(str(results), "a folder of published results and submissions", found_at(Path(results)))
    files = site_files(read_listing(Path(results)))
    for folder in ("", "methods", "tasks", "data"):
        with writing(out / folder):
            (out / folder).mkdir(parents=True, exist_ok=True)
        sweep(out / folder)
    for name, text in sorted(files.items(), key=lambda item: item[0] == "index.html"):
        write_atomic(out / name, text)
    for folder in ("methods", "tasks", "data"):
        for old in (out / folder).iterdir():
            if f"{folder}/{old.name}" not in files and old.suffix in SUFFIXES:
                old.unlink()
    return out / "index.html"


def site_files(listing: Listing) -> dict[str, str]:
    """Everything of a site: path -> content."""
    return dict(_Site(listing).files())


class _Site:
    """The pages of a listing."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.environment = environment(HERE)
        self.style = asset("style.css") + asset("site.css", HERE)
        self.script = asset("sort.js") + asset("site.js", HERE)
        self.extra = dict(self._extra())
        self.menu = [("Boards", "index.html"), ("Tasks", "tasks.html"), ("Compare", "compare.html"),
                     *((page["title"], name) for name, page in self.extra.items())]  # fmt: skip

    def files(self) -> Iterator[tuple[str, str]]:
        """(path, content) of everything."""
        boards, methods, tasks = self.listing.boards, self.listing.methods, self.listing.tasks
        for board, found in zip(boards, each(lambda i: boards[i].rankings, len(boards), few=4)):
            vars(board)["rankings"] = found  # as if it had been asked for here
        yield from self._index()
        for made in each(lambda i: list(self._method(methods[i])), len(methods)):
            yield from made
        for made in each(lambda i: list(self._task(tasks[i])), len(tasks)):
            yield from made
        yield "tasks.html", self._page("tasks.html.j2", "tasks.html", title="Tasks", listed=html_table(self._tasks()),
                                       lead="What methods are judged on. A changed task is a new id.")  # fmt: skip
        yield (
            "compare.html",
            self._page("compare.html.j2", "compare.html", title="Compare two methods", data=Markup(self._comparison())),
        )
        for name, page in self.extra.items():
            yield name, self._page("tables.html.j2", name, **page)

    def _page(self, template: str, here: str, **content: Any) -> str:
        root = "../" if "/" in here else ""
        return self.environment.get_template(template).render(
            root=root, here=here, menu=self.menu, css=self.style, js=self.script, looks={},
            version=self.listing.board.version, **content,
        )  # fmt: skip

    def _shown(self, shown: Shown) -> tuple[Shown, list[tuple[str, str]]]:
        """The table for a page, and its files."""
        files = []
        if shown.files:
            numbers = shown.table.numbers
            files = [
                (f"data/{shown.files}.csv", numbers.csv()),
                (f"data/{shown.files}.json", _json([dict(zip(numbers.header, row)) for row in numbers.rows])),
                (f"data/{shown.files}.tex", latex(shown.table)),
            ]
        return replace(shown, table=html_table(shown.table)), files

    # -- pages ---------------------------------------------------------------------------------------------------

    def _index(self) -> Iterator[tuple[str, str]]:
        boards = []
        for board in self.listing.boards:
            shown, files = self._shown(board_table(self.listing, board))
            yield from files
            about = f"{DIVISIONS[board.division].capitalize()}; {EXECUTION_CLASSES.get(board.execution, '')}."
            boards.append({"shown": shown, "about": about})
        entries = self.listing.entries
        ranked = sum(e.is_ranked for e in entries)
        stale = sum(e.needs_rerun for e in entries)
        again = [f"{plural(stale, 'score')} of tasks that have changed since: needs a re-run."] if stale else []
        gone = sorted({(e.method, e.version, e.withdrawn) for e in entries if e.withdrawn})
        controls = {e.method for e in entries if e.is_control}
        yield "index.html", self._page(
            "index.html.j2", "index.html", title="Boards", boards=boards,
            facts=[plural(len(set(self.listing.methods) - controls), "method"), plural(len(self.listing.tasks), "task"),
                   plural(len(entries), "score"), f"{ranked} ranked", f"board version {self.listing.board.version}"],
            lead="Every published number is recomputed from records of episodes, and what ranks was re-evaluated or "
                 "trained again by us. Intervals come first: two methods whose ranks overlap are not told apart.",
            warnings=[*again, *(f"Withdrawn: {m}, version {v} ({why})." for m, v, why in gone)],
            filters=_filters(self.listing.boards),
        )  # fmt: skip

    def _method(self, method: str) -> Iterator[tuple[str, str]]:
        listing = self.listing
        here = listing.pages[f"method/{method}"]
        shown, files = self._shown(method_table(listing, method))
        yield from files
        entries = [e for e in listing.entries if e.method == method]
        names = file_names([f"{e.division} {e.suite} {e.task} v{e.version}" for e in entries])
        drawn = next((x for e in entries if (x := self._drawing(e))), None)
        some = entries[0]
        yield here, self._page(
            "method.html.j2", here, title=method, summary=some.title, scores=shown,
            facts=[*_facts(entries), f"by {'the maintainers' if some.is_maintainers else some.submitter}"],
            drawing=drawn and Markup(drawn[0]), drawn_on=drawn and drawn[1],
            sections=[self._section(e, name) for e, name in zip(entries, names.values())],
        )  # fmt: skip

    def _section(self, e: Entry, name: str) -> dict[str, Any]:
        word = "policies" if e.division == "policies" else "runs"
        drawn = self._curves([e], f"curve-{name}")
        caption = "Mean of the runs, each run thin behind it; dashed: the task's reference points."
        return {
            "id": name, "title": e.task, "href": f"../{self.listing.pages[f'task/{e.task}']}", "word": word,
            "about": ", ".join(filter(None, (e.division, e.suite, f"version {e.version}", f"level {e.level}",
                                             f"class {e.execution}", *e.flags))),
            "chart": drawn, "chart_caption": caption, "episode": self._episode(e),
            "runs": html_table(runs_table(self.listing, e)),
        }  # fmt: skip

    def _task(self, task: str) -> Iterator[tuple[str, str]]:
        listing, card = self.listing, self.listing.cards[task]
        here = listing.pages[f"task/{task}"]
        shown, files = self._shown(task_table(listing, task))
        yield from files
        found = [e for e in listing.entries if e.task == task and not e.is_control and e.score is not None]
        best = sorted(found, key=lambda e: -(e.score or 0.0))
        curves = [e for e in best if listing.records(e)][:SHOWN_CURVES]
        keys = [{"label": f"{e.method} ({e.suite})", "stroke": stroke(k), "dashes": dashes(k)}
                for k, e in enumerate(curves)]  # fmt: skip
        more = f" The best {len(curves)} of {len(best)}." if len(best) > len(curves) else ""
        yield here, self._page(
            "task.html.j2", here, title=task, scores=shown, summary=card.description or "Nothing is known of it.",
            facts=[f"{plural(card.num_agents, 'agent')}", f"{card.horizon} steps", f"{card.action_kind} actions",
                   *(["messages: a channel task"] if card.channel else [])],
            chart=self._curves(curves, "curves", runs=False), keys=keys,
            chart_caption=f"Mean of the runs of each method; dashed: reference points.{more}",
            episode=next((x for e in best if (x := self._episode(e))), None), card=_card_facts(listing, task),
        )  # fmt: skip

    def _tasks(self) -> Table:
        listing = self.listing
        rows = []
        for task in listing.tasks:
            card = listing.cards[task]
            methods = {e.method for e in listing.entries if e.task == task and not e.is_control}
            points = [
                card.references[k].value if k in card.references else None for k in ("random", "uncoordinated", "best")
            ]
            rows.append((
                Cell(task, card.description, sort=task, href=listing.pages[f"task/{task}"]),
                *(Cell(str(n), sort=float(n)) for n in (len(methods), card.num_agents)),
                Cell(card.action_kind, sort=card.action_kind),
                *(Cell("–") if p is None else Cell(significant(p), sort=p) for p in points),
            ))  # fmt: skip
        columns = (
            Column("Task", is_text=True), Column("Methods"), Column("Agents"), Column("Actions", is_text=True),
            Column("Random", "reference"), Column("Uncoordinated", "best script"), Column("Best", "documented"),
        )  # fmt: skip
        return Table("task-list", "Tasks", columns, (Group("", tuple(rows)),), "Reference points are team returns.")

    def _comparison(self) -> str:
        """What the page that compares needs: finished texts of cells, and the boards' own tests."""
        boards = {}
        for board in self.listing.boards:
            shown: dict[str, dict[str, list[str]]] = {}
            for (key, task), e in board.estimates.items():
                shown_value = rounded(e.value, e.low, e.high)
                shown.setdefault(task, {})[key] = [typographic(shown_value.value), typographic(shown_value.bracket)]
            tests = {t: _tests(board, t) for t in board.tasks}
            boards[board.name] = {"title": board_title(board), "tasks": shown, "tests": tests}
        rows = [(r.any.is_control, r.key) for board in self.listing.boards for r in (*board.order, *board.controls)]
        methods = list(dict.fromkeys(key for _, key in sorted(rows, key=lambda row: row[0])))  # the best first
        text = json.dumps({"methods": methods, "boards": boards}, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

    # -- boards of what else was recorded ------------------------------------------------------------------------

    def _extra(self) -> Iterator[tuple[str, dict[str, Any]]]:
        sections = [crossplay_section(c) for c in self.listing.crossplay]
        sections += [team_sizes_section(s) for s in self.listing.team_sizes]
        if sections:
            yield "generalisation.html", {
                "title": "Generalisation", "sections": sections,
                "lead": "Beside partners that it was not trained with: one guest of the row among hosts of the column, "
                        "mean over the guest's seats; self-play stands apart. And in teams of a size that it was not "
                        "trained with.",
            }  # fmt: skip
        channels = [s for results in self.listing.results.values() for s in channel_sections(results)]
        if channels:
            yield "communication.html", {
                "title": "Communication", "sections": channels,
                "lead": "The same weights once more with what crosses between agents cut, late or coarse: a score that "
                        "falls is a score that needs its channel.",
            }  # fmt: skip

    # -- parts ---------------------------------------------------------------------------------------------------

    def _curves(self, entries: list[Entry], name: str, *, runs: bool = True) -> Markup | None:
        lines: list[Line] = []
        card = self.listing.cards[entries[0].task] if entries else None
        for k, e in enumerate(entries):
            found = self.listing.records(e)
            if found is None or e.is_control:
                continue
            results, label = found
            try:
                frames, values, seeds = results.curve(label, e.task)
            except RlnetError:  # a diverged run of a task without a floor
                continue
            if not len(frames):
                continue
            x = frames.tolist()
            if runs:
                each = zip(seeds, values.tolist())
                lines += [Line(x, y, stroke(k), label=f"seed {s}", is_thin=True) for s, y in each]
            lines.append(Line(x, values.mean(axis=0).tolist(), stroke(k), dashes(k), e.method))
        if not lines or card is None:
            return None
        points = [(n, card.references[n].value) for n in ("random", "uncoordinated", "best") if n in card.references]
        who = listed(list(dict.fromkeys(e.method for e in entries)))
        alt = f"Learning curves of {who} on {card.id}: team return by environment frames."
        return Markup(chart(lines, name, alt, references=points))

    def _episode(self, e: Entry) -> dict[str, str] | None:
        packed = self.listing.episode(e)
        if packed is None:
            return None
        return {
            "data": base64.b64encode(packed).decode(),
            "alt": f"Replay of a recorded episode of {e.method} on {e.task}",
            "caption": f"A recorded episode of the median run of {e.method}.",
        }

    def _drawing(self, e: Entry) -> tuple[str, str] | None:
        """The graph of an entry's network as SVG, and the task over which it is laid."""
        found = self.listing.records(e)
        record = next(iter(found[0].find(found[1], e.task)), None) if found else None
        network = record.config.get("network") if record else None
        if network is None:
            return None
        from rlnet_bench.networks.draw import draw
        from rlnet_bench.networks.graph import expand
        from rlnet_bench.networks.spec import NetworkSpec

        try:
            return draw(expand(NetworkSpec.from_json(network), self.listing.cards[e.task])), e.task
        except RlnetError:  # of another version of the language
            return None


def _tests(board: Standing, task: str) -> dict[str, list[str]]:
    """Sorted pair -> (the better one or "", the adjusted p) by the board's own tests."""
    out = {}
    for ranking in reversed(board.rankings[task]):
        for test in ranking.tests:
            verdict = test.verdict(ranking.level) if ranking.reason is None else "not distinguishable"
            better = {"better": test.a, "worse": test.b}.get(verdict, "")
            why = ranking.reason or f"adjusted {p_text(test.adjusted_p)}, {test.family}"
            out["\n".join(sorted((test.a, test.b)))] = [better, why]
    return out


def _filters(boards: tuple[Standing, ...]) -> list[dict[str, Any]]:
    """Boxes of what occurs."""
    from rlnet_bench.leaderboard.tables import attributes

    found = [attributes(b, r) for b in boards for r in b.rows]
    titles = {
        "family": "Family", "division": "Division", "execution": "Execution class", "training": "Training class",
        "level": "Verification", "tuning": "Tuning",
    }  # fmt: skip
    options = {
        name: sorted({v for a in found for v in (a[name].split(" ") if name == "family" else [a[name]])})
        for name in titles
    }
    order = {"execution": list(EXECUTION_CLASSES), "level": list(LEVELS)}
    for name, known in order.items():
        options[name].sort(key=partial(_place, known))
    return [{"name": n, "title": t, "options": [(v, v) for v in options[n]]} for n, t in titles.items() if options[n]]


def _place(known: list[str], name: str) -> int:
    return known.index(name) if name in known else len(known)


def _facts(entries: list[Entry]) -> list[str]:
    sizes = sorted({e.parameters for e in entries if e.parameters})
    classes = sorted({e.execution for e in entries})
    out = [f"class {', '.join(classes)}", plural(len({e.task for e in entries}), "task")]
    if entries[0].is_control:
        out = ["control, untrained", out[1]]
    if sizes:
        out.append(f"{count(sizes[0])} parameters that act" if len(sizes) == 1 else
                   f"{count(sizes[0])} to {count(sizes[-1])} parameters that act")  # fmt: skip
    return out


def _card_facts(listing: Listing, task: str) -> list[tuple[str, str]]:
    card = listing.cards[task]
    facts = facts_of(card)
    out = [
        ("Faithful to", card.faithful_to),
        ("Reward", f"{card.reward_scale}; {'shared' if card.shared_reward else 'individual'}"),
        ("Success", card.success_description or card.success_metric.replace("_", " ")),
        ("Observations", f"{', '.join(map(str, card.observation_sizes))} numbers per agent"),
        ("Floor", f"{significant(card.floor)}, the score of a diverged run"), ("Digest", card.hash()),
    ]  # fmt: skip
    for name, point in card.references.items():
        out.append(
            (f"Reference: {name}", f"{significant(point.value, 4)} ± {significant(point.se, 2)}, {point.policy}")
        )
    if facts.reason:
        out.append(("Not normalised", facts.reason))
    return [(name, text) for name, text in out if text and text != "nan"]


def _json(rows: list[Mapping[str, object]]) -> str:
    return json.dumps(rows, indent=1) + "\n"
