"""Reference points of a suite's own tasks: what scores 0 and what scores 1. Imports without torch."""

from __future__ import annotations

from typing import Annotated, Any

import yaml
from pydantic import Field, field_validator, model_validator

from rlnet_bench.envs.card import Reference
from rlnet_bench.errors import BadInput
from rlnet_bench.reading.yaml import load
from rlnet_bench.runs.strict import Strict

ROLES = ("random", "uncoordinated", "best")


class Point(Strict):
    """A mean team return, added over agents, and where it comes from. In a file a bare number will do."""

    value: float
    se: Annotated[float, Field(ge=0)] = 0.0
    n: Annotated[int, Field(gt=0)] = 1
    """Episodes behind it."""
    policy: str = "as the suite says"
    command: str = ""


class Points(Strict):
    """The points of one task."""

    random: Point
    best: Point
    uncoordinated: Point | None = None

    @field_validator(*ROLES, mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return {"value": value} if isinstance(value, int | float) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _in_order(self) -> Points:
        if not self.best.value > self.random.value:
            raise ValueError(f"expected `best` above `random`, found {self.best.value:g} and {self.random.value:g}")
        return self

    def references(self) -> dict[str, Reference]:
        """As a card has them."""
        found = {role: getattr(self, role) for role in ROLES}
        return {role: Reference(**p.model_dump()) for role, p in found.items() if p is not None}


def written(task: str, points: dict[str, dict[str, Any]]) -> str:
    """The lines below ``card:`` for one task."""
    text = yaml.safe_dump({task: points}, sort_keys=False, width=1000, allow_unicode=True)
    return "".join(f"  {line}\n" for line in text.splitlines())


def inserted(text: str, name: str, task: str, lines: str) -> str:
    """A suite's file with the points of a task, everything else (comments too) as it was.

    Raises:
        BadInput: when the file has points of that task already, or ``card`` is written within braces.
    """
    card = load(text, name).data.get("card") or {}
    if task in card:
        raise BadInput(f"{name}: card has points of {task} already; remove them to write new ones.")
    rows = text.splitlines(keepends=True)
    place = next((i for i, row in enumerate(rows) if row.startswith("card:")), None)
    if place is None:
        return text + ("" if not text or text.endswith("\n") else "\n") + f"card:\n{lines}"
    if rows[place].partition("#")[0].strip() != "card:":
        raise BadInput(
            f"{name}, line {place + 1}: expected `card:` with its tasks on lines of their own, found braces."
        )
    return "".join([*rows[: place + 1], lines, *rows[place + 1 :]])
