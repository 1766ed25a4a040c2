"""A trial: what a suite wants to find out, written down before it is run. Imports without torch."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from rlnet_bench.errors import Malformed
from rlnet_bench.runs.files import read_mapping
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


TIME = "%Y-%m-%dT%H:%M:%S%z"  # as provenance has it


class Declared(Strict):
    """When a trial entered the store, and how far its runs (a method's, on a task, with a seed) had come by then."""

    trial: Trial
    test: list[str]
    at: str = ""
    """A time with its zone; empty where it is not recorded, as in stores and publications of older versions."""
    begun: int = 0
    ended: int = 0

    def is_of(self, trial: Trial | None, test: list[str]) -> bool:
        """Whether this is the trial of a suite."""
        return (self.trial, self.test) == (trial, test)


def read_declared(path: Path) -> Declared | None:
    """The declaration in a file; None where there is none. Raises Malformed."""
    found = read_mapping(path)
    try:
        declared = Declared.model_validate(found) if found else None
    except ValidationError as error:
        raise Malformed(str(path), f"a declared trial ({error.errors()[0]['msg'][:200]})", found) from None
    if declared and declared.at and when(declared.at) is None:
        raise Malformed(f"{path}: at", "a time such as 2026-01-31T12:00:00+0000", declared.at)
    return declared


def when(text: str | None) -> datetime | None:
    """A time with its zone; None for anything else."""
    try:
        return datetime.strptime(text or "", TIME)
    except ValueError:
        return None
