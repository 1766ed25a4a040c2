"""The board's own settings, ``results/board.yaml``: one version for code, rules and board. Imports without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from rlnet_bench.errors import BadInput
from rlnet_bench.leaderboard.submission import Line, Name, Positive, TaskId
from rlnet_bench.reading.files import Absent, read_text
from rlnet_bench.reading.yaml import MAX_BYTES, load
from rlnet_bench.runs.strict import Strict, explained

BOARD, SUBMISSIONS, EVIDENCE = "board.yaml", "submissions", "verification"


class Withdrawal(Strict):
    """A tombstone: the row stays, unranked, with the reason."""

    method: Name
    version: Positive = 1
    reason: Line


class Exemption(Strict):
    """A cell that a rule does not hold for. Please do not add any: the list can only shrink."""

    rule: Annotated[str, Field(pattern=r"^[a-z_]+$", description="the name of a rule, lower-case letters and _")]
    subject: Line
    reason: Line


class Reference(Strict):
    """A reference point of a task, frozen for this version of the board."""

    task: TaskId
    random: Annotated[float, Field(allow_inf_nan=False)]
    best: Annotated[float, Field(allow_inf_nan=False)]
    bound: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """What no policy can exceed, where that is proven."""


class Board(Strict):
    """Settings of a board."""

    version: Positive = 1
    season: Name | None = None
    """The season that ranks; what an earlier one scored is to be scored again."""
    maintainers: list[Name] = Field(default_factory=list)
    """Submitters whose rows are marked."""
    fixed: list[Line] = Field(default_factory=list, max_length=2)
    """The two methods that every new row is compared with."""
    references: list[Reference] = Field(default_factory=list)
    withdrawn: list[Withdrawal] = Field(default_factory=list)
    exemptions: list[Exemption] = Field(default_factory=list)


def read_board(results: Path) -> Board:
    """The settings in a folder of results; the defaults where there are none.

    Raises:
        BadInput: with file, line and key.
    """
    try:
        return parse_board(read_text(results / BOARD, MAX_BYTES))
    except Absent:
        return Board()


def parse_board(text: str) -> Board:
    """Settings from their YAML text; raises BadInput."""
    document = load(text, BOARD)
    try:
        return Board.model_validate(document.data or {})
    except ValidationError as error:
        raise BadInput(explained(error, document.where, _model_at)) from None


def _model_at(path: tuple[Any, ...]) -> type[BaseModel]:
    models: dict[str, type[BaseModel]] = {
        "withdrawn": Withdrawal, "exemptions": Exemption, "references": Reference,
    }  # fmt: skip
    return models.get(str(path[0]), Board) if len(path) > 1 else Board
