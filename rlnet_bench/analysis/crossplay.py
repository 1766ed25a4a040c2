"""Cross-play: what teams reach whose agents come from different seeds, methods or scripts.

Row: the guest, one agent; column: its hosts, all the others; the score is the mean over the guest's seats. Players are
training runs (or a script). Where agents act only together, there is no seat to take and the entry is empty, with one
exception that says so: of two runs of a network with vertices outside of its agents, the row gives those vertices and
the column the agents.

Axes: **P** players, **E** episodes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlnet_bench.analysis.streams import named
from rlnet_bench.errors import BadInput, Malformed
from rlnet_bench.reading.names import checked_name
from rlnet_bench.reading.plain import read_json
from rlnet_bench.reading.shapes import Maybe
from rlnet_bench.runs.files import write_atomic
from rlnet_bench.runs.suite import file_stem
from rlnet_bench.stats.aggregate import mean
from rlnet_bench.stats.crossed import crossed_mean
from rlnet_bench.stats.estimate import estimate
from rlnet_bench.stats.result import Estimate
from rlnet_bench.stats.scores import RunScores
from rlnet_bench.vocabulary import MODES, Mode

if TYPE_CHECKING:
    import pandas

    from rlnet_bench.envs.card import TaskCard
    from rlnet_bench.learning.policy import Policy

FORMAT = 1
EPISODES = 64
LED = "vertices outside of the agents of the row, agents of the column"
SHAPE = {
    "format": (FORMAT,), "task": checked_name, "task_hash": str, "mode": MODES, "episodes": int,
    "players": [{"method": checked_name, "seed": int, "run_id": str, "trains": bool}],
    "returns": [[Maybe(float)]], "notes": [{"row": checked_name, "column": checked_name, "text": str}],
}  # fmt: skip


@dataclass(frozen=True)
class Player:
    """A training run, or a script (which has no run)."""

    method: str
    seed: int
    run_id: str = ""
    trains: bool = True


@dataclass(frozen=True)
class Bound:
    """The best that any training run of others reached with a method as its hosts."""

    value: float
    player: Player


@dataclass(frozen=True, eq=False, repr=False)
class Crossplay:
    """Mean team returns of every pair of players, and what the pairs of methods come to."""

    task: str
    task_hash: str
    mode: Mode
    episodes: int  # per seat
    players: tuple[Player, ...]
    returns: np.ndarray  # [P, P]: row a guest, column its hosts; the diagonal is self-play; NaN where nobody can sit
    notes: dict[tuple[str, str], str] = field(default_factory=dict)  # (row, column) -> how, or why not

    @property
    def methods(self) -> tuple[str, ...]:
        """In the order in which they were given."""
        return tuple(dict.fromkeys(p.method for p in self.players))

    def _of(self, method: str) -> list[int]:
        return [i for i, p in enumerate(self.players) if p.method == method]

    def pairs(self) -> dict[tuple[str, str], Estimate]:
        """(row, column) -> mean over pairs of their runs, a run with itself left out; pairs that play only."""
        out = {}
        for row in self.methods:
            for column in self.methods:
                i, j = self._of(row), self._of(column)
                block = self.returns[np.ix_(i, j)]
                apart = block[~np.eye(len(i), dtype=bool)] if row == column else block
                if not apart.size or np.isnan(apart).any():
                    continue
                trains = self.players[i[0]].trains, self.players[j[0]].trains
                stream = named("crossplay", self.task, row, column)
                out[row, column] = crossed_mean(block, stream, names=(row, column), resampled=trains)
        return out

    def self_play(self) -> dict[str, Estimate]:
        """Method -> mean of its own teams."""
        out = {}
        for method in self.methods:
            runs = RunScores.from_arrays(method, {self.task: [self.returns[i, i] for i in self._of(method)]})
            out[method] = estimate(runs, mean, named("self-play", self.task, method))
        return out

    def bounds(self) -> dict[str, Bound | None]:
        """Host method -> the best training run beside it, other methods' and other seeds'; None where there is none."""
        out: dict[str, Bound | None] = {}
        for method in self.methods:
            hosts = self._of(method)
            found = []
            for i, guest in enumerate(self.players):
                scores = self.returns[i, [j for j in hosts if j != i]]
                if guest.trains and scores.size and not np.isnan(scores).any():
                    found.append(Bound(float(scores.mean()), guest))
            out[method] = max(found, key=lambda b: b.value, default=None)
        return out

    def frame(self) -> pandas.DataFrame:
        """Columns row, column, value, low, high, note; self-play has the column ``itself``."""
        import pandas as pd

        rows = [(m, "itself", e.value, e.low, e.high, e.reason or "") for m, e in self.self_play().items()]
        pairs = self.pairs()
        for row in self.methods:
            for column in self.methods:
                e, note = pairs.get((row, column)), self.notes.get((row, column), "")
                low, high = (None, None) if e is None else (e.low, e.high)
                why = note or ("" if e is None else e.reason or "")
                rows.append((row, column, float("nan") if e is None else e.value, low, high, why))
        return pd.DataFrame(rows, columns=["row", "column", "value", "low", "high", "note"])

    def to_json(self) -> dict[str, Any]:
        """Plain data: what was measured, and nothing that follows from it."""
        return {
            "format": FORMAT, "task": self.task, "task_hash": self.task_hash, "mode": self.mode,
            "episodes": self.episodes, "players": [asdict(p) for p in self.players],
            "returns": [[None if np.isnan(x) else round(float(x), 6) for x in row] for row in self.returns],
            "notes": [{"row": a, "column": b, "text": text} for (a, b), text in self.notes.items()],
        }  # fmt: skip

    def write(self, folder: Path) -> Path:
        """Record it as ``folder/<task>.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{file_stem(self.task)}.json"
        write_atomic(file, json.dumps(self.to_json(), indent=1) + "\n")
        return file

    def __repr__(self) -> str:
        return f"<Crossplay on {self.task}: {len(self.players)} players of {len(self.methods)} methods>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>{self.frame().to_html(index=False, na_rep='')}"


def read_crossplay(path: Path) -> Crossplay:
    """A recorded matrix; raises Malformed for anything else."""
    data = read_json(path, shape=SHAPE)
    players = tuple(Player(**{k: p[k] for k in ("method", "seed", "run_id", "trains")}) for p in data["players"])
    rows = [[np.nan if x is None else x for x in row] for row in data["returns"]]
    if [len(row) for row in rows] != [len(players)] * len(players):
        raise Malformed(f"{path}: returns", f"a row and a column for each of {len(players)} players", "another shape")
    notes = {(n["row"], n["column"]): n["text"] for n in data["notes"]}
    return Crossplay(
        data["task"], data["task_hash"], data["mode"], data["episodes"], players, np.array(rows, dtype=float), notes
    )


def crossplay(
    task: str,
    sources: Sequence[str | Path],
    *,
    episodes: int = EPISODES,
    mode: Mode = "deterministic",
    results: str | Path | None = None,
    device: str = "cpu",
) -> Crossplay:
    """Let agents of different seeds, methods or scripts play together.

    Args:
        task: a task's id.
        sources: methods by name (a published one, a control or a script), or run directories ``STORE/runs/<id>``; of
            each, every seed whose weights are there.
        episodes: per seat and pair; the initial states are the same for all pairs.
        mode: how actions are chosen.
        results: the folder of publications in which names are looked up (:func:`rlnet_bench.load_policy`).
        device: torch device.

    Raises:
        BadInput: for fewer than two players, a player trained on another task, or when nobody can play with anybody.
        UnknownName, StoreError: as of :func:`rlnet_bench.load_policy`.

    >>> crossplay("mpe/simple_spread-discrete-v1", ["mappo", "ippo", "coordinated"])  # doctest: +SKIP
    <Crossplay on mpe/simple_spread-discrete-v1: 11 players of 3 methods>
    """
    from rlnet_bench.envs.registry import task_card
    from rlnet_bench.learning.play import evaluate
    from rlnet_bench.learning.seats import play_seats, takes_a_seat
    from rlnet_bench.networks.led import external, led_by
    from rlnet_bench.rng import Stream, env_keys

    card = task_card(task)
    teams = [_loaded(source, card, results, device) for source in sources]
    team = [(player, policy, i) for i, found in enumerate(teams) for player, policy in found]
    players = tuple(p for p, _, _ in team)
    if len(players) < 2:
        raise BadInput(f"crossplay: expected at least two training runs or scripts, found {len(players)}.")
    if len(set(players)) < len(players):
        twice = next(p for p in players if players.count(p) > 1)
        raise BadInput(f"crossplay: {twice.method}, seed {twice.seed}, was given twice.")
    seated = [takes_a_seat(found[0][1], card, device) and not external(found[0][1]) for found in teams]
    keys = env_keys((0,), Stream.ABSOLUTE_ENV, episodes, device)
    returns = np.full((len(team), len(team)), np.nan)
    notes: dict[tuple[str, str], str] = {}
    for i, (row, guest, a) in enumerate(team):
        for j, (column, host, b) in enumerate(team):
            if i == j:
                played = evaluate(guest, card, (0,), episodes, mode=mode, device=device, keys=keys)
                returns[i, j] = played.team.mean()
            elif seated[a] and seated[b]:
                returns[i, j] = float(play_seats(guest, host, card, episodes, mode=mode, device=device).mean())
            elif (mixed := led_by(guest, host, card)) is not None:
                returns[i, j] = evaluate(mixed, card, (0,), episodes, mode=mode, device=device, keys=keys).team.mean()
                notes[row.method, column.method] = LED
            else:
                who, policy = (row, guest) if not seated[a] else (column, host)
                notes[row.method, column.method] = _no_seat(who.method, external(policy))
    if np.isnan(returns[~np.eye(len(team), dtype=bool)]).all():
        raise BadInput(f"crossplay on {task}: nobody can play with anybody: {' '.join(dict.fromkeys(notes.values()))}")
    return Crossplay(task, card.hash(), mode, episodes, players, returns, notes)


def _no_seat(method: str, outside: Sequence[str]) -> str:
    if outside:
        names = ", ".join(outside[:3]) + (", ..." if len(outside) > 3 else "")
        return f"{method} has vertices outside of its agents ({names}): no agent of it can play elsewhere."
    return f"{method}'s agents act on each other's observations within a step: no seat can be taken alone."


def _loaded(source: str | Path, card: TaskCard, results: str | Path | None, device: str) -> list[tuple[Player, Policy]]:
    """(player, policy of one replica) of every seed of a source."""
    from rlnet_bench.runs.policies import load_policy

    where = source if Path(source).is_dir() else f"{source}@{card.id}"
    whole = load_policy(where, device=device, results=results)
    trained, plays = whole.trained, whole.plays
    assert trained is not None and plays is not None
    if plays.hash() != card.hash():
        raise BadInput(f"{source}: expected a policy that was trained on {card.id}, found one of {plays.id}.")
    trains = bool(whole.state_dict())
    players = [Player(trained.label, s, run, trains) for s, run in zip(trained.seeds, trained.run_ids)]
    return [(p, load_policy(where, p.seed, device=device, results=results)) for p in players]
