"""A trial: what a suite wants to find out, written down before it is run. Imports without torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rlnet_bench.runs.strict import Strict
from rlnet_bench.vocabulary import EndKind

Labels = Annotated[list[str], Field(min_length=1)]


class Trial(Strict):
    """One primary method against every comparator, on the suite's test tasks; labels of the suite's methods."""

    primary: str
    comparators: Labels
    """It wins on a task when it is better than each of them, and is not inferior when it is so to each."""
    controls: list[str] = []
    """What must also be beaten before a gain is credited to what they lack."""
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """How much worse still counts as not inferior, as a share of the way from random to best."""
    kind: EndKind = "final"

    @property
    def others(self) -> list[str]:
        """Comparators and controls."""
        return [*self.comparators, *self.controls]

    @model_validator(mode="after")
    def _distinct(self) -> Trial:
        named = [self.primary, *self.others]
        if len(set(named)) < len(named):
            raise ValueError(f"expected every method once, found {named}")
        return self
