"""Which scripts play a task: the reference points between random play and the best known. Imports without torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.vmas.tasks import COORDINATED, UNCOORDINATED

if TYPE_CHECKING:
    from torch import Tensor

ROLES = ("uncoordinated", "coordinated")  # the order of scripts_of


def scripts_of(card: TaskCard) -> tuple[str, ...]:
    """Script names of a task: the uncoordinated one, then the coordinated one, as far as they were written."""
    if card.family == "mpe":
        spread = card.constructor["scenario"] == "simple_spread"
        return ("nearest", "assignment") if spread else ("silent", "signal")
    if card.family == "lbf" and "grid" not in card.id:
        return ("forage", "rally")
    if card.id.startswith("vmas/"):  # not the user's: a script is written for a card's arguments
        scenario = str(card.constructor["scenario"])
        return tuple(scripts[scenario] for scripts in (UNCOORDINATED, COORDINATED) if scenario in scripts)
    return ()


def script(card: TaskCard, name: str) -> Callable[..., Tensor]:
    """A script of the card's family by name: ``(observation [B, N, O], card[, keys]) -> actions``."""
    return importlib.import_module(f"rlnet_bench.envs.{card.family}.policies").SCRIPTS[name]
