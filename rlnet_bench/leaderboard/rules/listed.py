"""What a board must be: now, and against what it listed at the merge base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import RlnetError
from rlnet_bench.leaderboard.board import EVIDENCE, SUBMISSIONS
from rlnet_bench.leaderboard.claims import MOVED, check_claims
from rlnet_bench.leaderboard.evidence import LEVELS, Evidence, read_evidence
from rlnet_bench.leaderboard.rules.rule import Broken, Listing, of_board
from rlnet_bench.leaderboard.season import Log, read_season
from rlnet_bench.leaderboard.snapshot import Snapshot, cell_of
from rlnet_bench.leaderboard.submission import read_manifest
from rlnet_bench.reading.files import listing as files_in

PUT_BACK = "put back what was listed; what is wrong with it is said by a new version, or a withdrawal with its reason"


@of_board
def listed_scores_never_change(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """A listed score is immutable: equal to the last digit to what it was at the merge base."""
    cells = {c.key: c for c in map(cell_of, now.entries)}
    for old in before.cells:
        new = cells.get(old.key)
        if new is None:
            continue
        # Verified further, or scored again in a new season: our own number takes the place of the one before.
        is_ours = LEVELS.index(new.level) > LEVELS.index(old.level) or new.season != old.season
        if new.scores != old.scores and not is_ours:
            yield old.name, "its scores changed since the merge base", PUT_BACK
        if LEVELS.index(new.level) < LEVELS.index(old.level) and new.season == old.season:
            yield old.name, f"its level fell from {old.level} to {new.level}", PUT_BACK
        if (new.task_hash, new.submitter) != (old.task_hash, old.submitter):
            yield old.name, "its task, or whose it is, changed since the merge base", PUT_BACK


@of_board
def no_cell_is_removed(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """What was listed at the merge base is listed, bad results and withdrawn ones included."""
    there = {e.key for e in now.entries}
    for old in before.cells:
        if old.key not in there:
            yield old.name, "is gone", PUT_BACK


@of_board
def a_row_is_there_once(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """One row per method, task and version (and suite and division)."""
    for key, count in Counter(e.key for e in now.entries).items():
        if count > 1:
            yield (
                f"{key[0]}@{key[1]} on {key[3]}",
                f"is listed {count} times",
                "give the later one a version of its own",
            )


@of_board
def versions_never_share_a_column(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """All scores of a column were made on the task that it names now; the others are marked, and counted."""
    for e in now.entries:
        others = {x.task_hash for x in now.entries if x.task == e.task and not x.needs_rerun}
        if not e.needs_rerun and len(others) > 1:
            yield f"{e.method}@{e.version} on {e.task}", f"has the task hash {e.task_hash[:16]}, others have another", (
                "a changed task is a new id; mark what is to be run again")  # fmt: skip


@of_board
def policies_rank_from_v2_algorithms_at_v3(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """Two divisions: policies rank from V2 on, algorithms only where we trained fresh seeds ourselves."""
    for e in now.entries:
        enough = ("V2", "V3") if e.division == "policies" else ("V3",)
        if e.is_ranked and e.level not in enough:
            yield f"{e.method}@{e.version} on {e.task}", f"is ranked among {e.division} at {e.level}", (
                "verify it: hidden seeds for policies, fresh training seeds for algorithms")  # fmt: skip


@of_board
def a_withdrawal_leaves_a_tombstone(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """A withdrawn row stays, with its reason, unranked; and a withdrawal is never taken back silently."""
    rows = {(e.method, e.version) for e in now.entries}
    for w in now.board.withdrawn:
        if (w.method, w.version) not in rows:
            yield f"{w.method}@{w.version}", "is withdrawn, and its row is gone", PUT_BACK
    for e in now.entries:
        if e.withdrawn and e.is_ranked:
            yield f"{e.method}@{e.version}", "is withdrawn and ranked", "a tombstone has no rank"
    standing = {(w.method, w.version) for w in now.board.withdrawn}
    for method, version in before.withdrawn:
        if (method, version) not in standing:
            yield f"{method}@{version}", "was withdrawn, and its tombstone is gone", PUT_BACK


@of_board
def maintainers_are_marked(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """The rows of those who hold the keys are marked as such."""
    for e in now.entries:
        is_theirs = e.submitter in now.board.maintainers
        if is_theirs != e.is_maintainers:
            yield f"{e.method}@{e.version} on {e.task}", f"of {e.submitter}, is {'not ' * is_theirs}marked", (
                "name its submitter in `maintainers` of board.yaml")  # fmt: skip


@of_board
def reference_points_are_frozen(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """Reference points stay as they are for a version of the board, so that nobody's score moves with a rival's."""
    known = {r.task: (r.random, r.best) for r in now.board.references}
    if now.board.version < before.version:
        yield "board.yaml", f"has version {now.board.version}, and had {before.version}", "versions only rise"
    if now.board.version == before.version:
        for task, random, best in before.references:
            if known.get(task) != (random, best):
                yield f"board.yaml: {task}", "has other reference points", "raise the board's `version` with them"
    for task, (random, best) in known.items():
        card = task_card(task).references
        if (card["random"].value, card["best"].value) != (random, best):
            yield f"board.yaml: {task}", "its reference points are not those of its card", (
                "raise the board's `version` when a card's reference points change")  # fmt: skip


@of_board
def exemptions_only_shrink(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """The list of exemptions can only become shorter: please do not add any."""
    if before.version:
        for e in now.board.exemptions:
            if (e.rule, e.subject) not in before.exemptions:
                yield f"board.yaml: {e.subject}", f"is newly exempt from {e.rule}", "mend it instead"


def _evidence(now: Listing) -> Iterator[tuple[Path, Evidence]]:
    for folder in files_in(now.results / SUBMISSIONS) if now.results is not None else ():
        yield folder, read_evidence(folder / EVIDENCE)


@of_board
def a_log_line_precedes_each_evaluation(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """What ranks was scored on hidden seeds: its season was opened, its digest frozen, and the log says so."""
    for folder, evidence in _evidence(now):
        row = folder.name
        drawn = [t for t in evidence.tasks if t.level in ("V2", "V3")]
        if not drawn:
            continue
        assert now.results is not None
        try:
            read_season(now.results, evidence.season)
            log = Log.read(now.results, evidence.season)
        except RlnetError as error:
            yield row, f"is at V2 with no season: {error}", "evaluate it in a season"
            continue
        for t in drawn:
            for digest in t.digests:
                if log.round_of(digest) is None or not log.has("evaluation", evidence.row, t.task, digest):
                    yield row, f"was scored on {t.task}, and the log of {evidence.season} does not say so", (
                        "only `verify --season` scores for the board")  # fmt: skip


@of_board
def controls_are_played_with_every_batch(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """Random play and a policy of known score are evaluated with every batch, and did not move."""
    for folder, evidence in _evidence(now):
        row = folder.name
        for t in evidence.tasks:
            if t.level in ("V2", "V3") and not any(c.task == t.task and c.name == "random" for c in evidence.controls):
                yield row, f"was scored on {t.task} without a control", "verify it again"
        for c in evidence.controls:
            if c.p < MOVED:
                yield row, f"the control {c.name} on {c.task} moved: {c.found:.4g}, known as {c.known:.4g}", (
                    "find out why before anything is listed")  # fmt: skip


@of_board
def claims_outside_are_flagged(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """A claim that our own evaluation contradicts is marked in its row; one test per submission, at 1 %."""
    for folder, evidence in _evidence(now):
        for c in check_claims(read_manifest(folder).claims, {t.task: t.policies for t in evidence.tasks}):
            if not c.holds and not any(f.startswith("claim") for f in evidence.task(c.task).flags):
                yield f"{folder.name} on {c.task}", f"claims {c.claimed:.4g}, outside [{c.low:.4g}, {c.high:.4g}]", (
                    "verify it again: the flag was taken off")  # fmt: skip


@of_board
def all_variants_are_counted(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """All k entries of one submitter are shown, each with the interval that holds for all of them (Sidak over k), and
    as "best of k" until we trained them from fresh seeds; what is withdrawn still counts."""
    for e in now.entries:
        same = [x for x in now.entries if (x.submitter, x.task, x.division) == (e.submitter, e.task, e.division)]
        if not e.is_maintainers and e.variants != len(same):
            sentence = f"is shown as one of {e.variants}, and is one of {len(same)}"
            yield f"{e.method}@{e.version} on {e.task}", sentence, "count every entry of its submitter"


@of_board
def fixed_references_are_listed(now: Listing, before: Snapshot) -> Iterator[Broken]:
    """The two methods that every new row is compared with are on the board."""
    rows = {e.method for e in now.entries}
    for name in now.board.fixed:
        if name not in rows:
            yield "board.yaml: fixed", f"{name!r} is not listed", "name two methods that are"
