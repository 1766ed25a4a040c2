"""Cards of the level-based foraging family, faithful to lbforaging 2.0.0.

Seven ids are published (:func:`ids`); every other id of this grammar names a task too::

    lbf/[<s>s-]<R>x<C>-<P>p-<F>f[-coop][-pl<a>to<b>][-fl<a>to<b>][-pen<x>][-h<n>][-grid][-masked][-clean]-v1

========== ============================================================ =====================
token      meaning                                                      default (left out)
========== ============================================================ =====================
<s>s       sight: how many rows and columns away food is seen           the whole field
<R>x<C>    rows and columns
<P>p <F>f  players, and foods asked for
coop       every food takes the three lowest players together           levels drawn
pl<a>to<b> player levels, drawn uniformly, both ends included           pl1to2
fl<a>to<b> food levels; ``auto`` as upper end is the sum of the three   fl1toauto
           lowest player levels
pen<x>     what each loader of a failed load loses                      0
h<n>       time limit in steps                                          50
grid       three-layer grid observations, flattened layer, row, column  vectors
masked     legal actions are given as a mask                            no mask
clean      the repairs listed in the card's deviations                  the original's rules
========== ============================================================ =====================

Tokens come in this order and defaults are left out, so that one task has one id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.cards import references
from rlnet_bench.errors import BadInput, UnknownName

_GRAMMAR = "lbf/[<s>s-]<R>x<C>-<P>p-<F>f[-coop][-pl<a>to<b>][-fl<a>to<b>][-pen<x>][-h<n>][-grid][-masked][-clean]-v1"
_PATTERN = re.compile(
    r"lbf/(?:(?P<sight>\d+)s-)?(?P<rows>\d+)x(?P<columns>\d+)-(?P<players>\d+)p-(?P<foods>\d+)f(?P<coop>-coop)?"
    r"(?:-pl(?P<player_low>\d+)to(?P<player_high>\d+))?(?:-fl(?P<food_low>\d+)to(?P<food_high>\d+|auto))?"
    r"(?:-pen(?P<penalty>\d+(?:\.\d+)?))?(?:-h(?P<horizon>\d+))?"
    r"(?P<grid>-grid)?(?P<masked>-masked)?(?P<clean>-clean)?-v1"
)
_STANDARD = (
    "8x8-2p-2f-coop",
    "2s-8x8-2p-2f-coop",
    "10x10-3p-3f",
    "2s-10x10-3p-3f",
    "15x15-3p-5f",
    "15x15-4p-3f",
    "15x15-4p-5f",
)
_ALWAYS = (
    "the time limit is reported as truncated (lbforaging reports it as terminated)",
    "every reset is drawn as by a newly built ForagingEnv (a reused one also keeps players off the cells "
    "where players that are not placed yet stood at the end of the previous episode)",
    "actions outside 0..5 do nothing (lbforaging raises ValueError)",
)
_GRID = "grid observations are flattened, and work (lbforaging 2.0.0 declares a wrong space and crashes)"
_CLEAN = (
    "clean: two players never share a cell; a player whose target cell is kept by a player that fails to "
    "move stays where it is (lbforaging lets it in)",
    "clean: a player is seen when it is at most `sight` rows and columns away (lbforaging shows players "
    "further away when the observer is near the top or left edge)",
)


@dataclass(frozen=True)
class Parameters:
    """What an id says. ``sight`` None is the whole field; ``food_high`` None is ``auto``."""

    rows: int
    columns: int
    players: int
    foods: int
    sight: int | None = None
    coop: bool = False
    player_low: int = 1
    player_high: int = 2
    food_low: int = 1
    food_high: int | None = None
    penalty: float = 0.0
    horizon: int = 50
    grid: bool = False
    masked: bool = False
    clean: bool = False

    def id(self) -> str:
        """The one id of this task."""
        name = "lbf/" if self.sight is None else f"lbf/{self.sight}s-"
        name += f"{self.rows}x{self.columns}-{self.players}p-{self.foods}f" + "-coop" * self.coop
        if (self.player_low, self.player_high) != (1, 2):
            name += f"-pl{self.player_low}to{self.player_high}"
        if (self.food_low, self.food_high) != (1, None):
            name += f"-fl{self.food_low}to{'auto' if self.food_high is None else self.food_high}"
        name += f"-pen{self.penalty:g}" if self.penalty else ""
        name += f"-h{self.horizon}" if self.horizon != 50 else ""
        return name + "-grid" * self.grid + "-masked" * self.masked + "-clean" * self.clean + "-v1"


def ids() -> list[str]:
    """The published ids."""
    return [f"lbf/{name}-v1" for name in _STANDARD]


@cache
def card(task: str) -> TaskCard:
    """The card of an LBF task id.

    Raises:
        UnknownName: the id does not follow the grammar of this module.
        BadInput: it does, but asks for the impossible or is not written in its one canonical way.
    """
    match = _PATTERN.fullmatch(task)
    if match is None:
        raise UnknownName("task", task, ids(), f"LBF ids are {_GRAMMAR}.")
    p = _parameters(match)
    _check(task, p)
    if p.id() != task:
        raise BadInput(f"{task}: a task has one id, and defaults are left out; use {p.id()!r}.")
    return _card(p)


def resized(task: str, agents: int) -> str:
    """The id of the same task with another number of players; foods stay as many as they are."""
    match = _PATTERN.fullmatch(task)
    assert match is not None  # a card was made of it
    return replace(_parameters(match), players=agents).id()


def _parameters(match: re.Match[str]) -> Parameters:
    found = match.groupdict()
    whole = {k: int(v) for k, v in found.items() if v and v.isdigit() and k != "penalty"}
    if whole.get("sight") == max(whole["rows"], whole["columns"]):
        del whole["sight"]
    flags = {k: found[k] is not None for k in ("coop", "grid", "masked", "clean")}
    return Parameters(**whole, **flags, penalty=float(found["penalty"] or 0))  # type: ignore[arg-type]


def _check(task: str, p: Parameters) -> None:
    """Refuse what the rules cannot play, with the sentence that says why."""
    cells, least_cap = p.rows * p.columns, p.player_low * min(3, p.players)
    problems = {
        f"rows and columns are 3 to 64 (food keeps off the border), found {p.rows}x{p.columns}": (
            not (3 <= p.rows <= 64 and 3 <= p.columns <= 64)
        ),
        f"there are 1 to 16 players, found {p.players}": not 1 <= p.players <= 16,
        f"{p.players} players do not fit on {cells} cells": p.players > cells,
        f"there are 1 to 32 foods, found {p.foods}": not 1 <= p.foods <= 32,
        f"sight is 1 to {max(p.rows, p.columns)}, found {p.sight}": (
            p.sight is not None and not 1 <= p.sight <= max(p.rows, p.columns)
        ),
        f"player levels are 1 to 63, low end first, found {p.player_low} to {p.player_high}": (
            not 1 <= p.player_low <= p.player_high <= 63
        ),
        f"food levels are 1 to 255, low end first, found {p.food_low} to {p.food_high or 'auto'}": (
            not 1 <= p.food_low <= (255 if p.food_high is None else p.food_high) <= 255
        ),
        "-coop already sets every food's level; for a fixed level leave -coop out and write -fl4to4": (
            p.coop and (p.food_low, p.food_high) != (1, None)
        ),
        f"the three lowest players may sum to {least_cap}, below the lowest food level {p.food_low}; "
        f"write an upper end instead of auto": p.food_high is None and p.food_low > least_cap,
        f"the time limit is 1 to 100000 steps, found {p.horizon}": not 1 <= p.horizon <= 100_000,
    }
    for sentence, wrong in problems.items():
        if wrong:
            raise BadInput(f"{task}: {sentence}.")


def _card(p: Parameters) -> TaskCard:
    n, sight = p.players, p.sight or max(p.rows, p.columns)
    size = 3 * (2 * sight + 1) ** 2 if p.grid else 3 * p.foods + 3 * n
    return TaskCard(
        id=p.id(),
        family="lbf",
        faithful_to="lbforaging 2.0.0",
        description=f"{n} players of different levels load {p.foods} foods on a {p.rows}x{p.columns} grid; "
        + ("every food needs the three weakest of them" if p.coop else "strong foods need several at once"),
        constructor={
            "players": n,
            "min_player_level": p.player_low,
            "max_player_level": p.player_high,
            "min_food_level": p.food_low,
            "max_food_level": p.food_high,
            "field_size": (p.rows, p.columns),
            "max_num_food": p.foods,
            "sight": sight,
            "max_episode_steps": p.horizon,
            "force_coop": p.coop,
            "grid_observation": p.grid,
            "penalty": p.penalty,
            "masked": p.masked,  # ours, not the original's
            "clean": p.clean,  # ours, not the original's
        },
        agents=tuple(f"player_{i}" for i in range(n)),
        horizon=p.horizon,
        action_kind="discrete",
        action_sizes=(6,) * n,
        observation_sizes=(size,) * n,
        state_size=size * n,
        state="concat",
        reward_scale="per agent its level's share of the loaders' levels, times the food's share of all "
        "food levels of the episode (team return at most 1)"
        + (f"; minus {p.penalty:g} for each failed load" if p.penalty else ""),
        shared_reward=False,
        success_metric="food_share",
        success_description="share of the episode's food levels that was eaten",
        # A failed load costs each loader the penalty, at worst all of them in every step.
        floor=-p.penalty * n * p.horizon if p.penalty else 0.0,
        masked=p.masked,
        can_terminate=True,
        references=references("lbf").get(p.id(), {}),
        deviations=_ALWAYS + (_GRID,) * p.grid + _CLEAN * p.clean,
    )
