"""What a conformance check found: named outcomes, a sentence each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from rlnet_bench.envs.check.rules import Skip, Violation
from rlnet_bench.errors import ContractViolation, said


@dataclass(frozen=True)
class Check:
    """The outcome of one named check and a sentence about it."""

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    sentence: str


def judge(rule: Callable[[Any], str], subject: Any, who: str) -> Check:
    """Apply a rule; an exception of ``who`` is tested, whatever it is, belongs in the report."""
    name = rule.__name__
    try:
        return Check(name, "passed", rule(subject))
    except Skip as reason:
        return Check(name, "skipped", str(reason))
    except Violation as violation:
        return Check(name, "failed", str(violation))
    except Exception as error:
        return Check(name, "failed", f"{who} raised {said(error)}")


@dataclass(frozen=True)
class CheckReport:
    """What :func:`~rlnet_bench.envs.check.check_env` found."""

    task: str
    device: str
    num_envs: int
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """No check failed (some may have been skipped)."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(c for c in self.checks if c.outcome == "failed")

    @property
    def title(self) -> str:
        """What was checked, and where."""
        return f"{self.task} on {self.device}, {self.num_envs} environments"

    @property
    def verdict(self) -> str:
        """One line: how many checks failed."""
        return self._verdict(self.task, "the environment contract")

    def _verdict(self, who: str, contract: str) -> str:
        failed, skipped = len(self.failures), sum(c.outcome == "skipped" for c in self.checks)
        if failed:
            return f"{who} breaks {contract} in {failed} of {len(self.checks)} checks"
        return f"{who} keeps {contract}: {len(self.checks) - skipped} checks passed, {skipped} skipped"

    def __getitem__(self, name: str) -> Check:
        return next(c for c in self.checks if c.name == name)

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def __str__(self) -> str:
        width = max(len(c.name) for c in self.checks)
        return "\n".join([self.title, *(f"{c.outcome:7}  {c.name:{width}}  {words}" for c, words in self._words())])

    def _words(self) -> Iterator[tuple[Check, str]]:
        """Each check and its sentence; one that failed as an earlier one did says which."""
        first: dict[str, str] = {}
        for c in self.checks:
            if c.outcome == "failed" and c.sentence in first:
                yield c, f"as {first[c.sentence]}"
            else:
                first.setdefault(c.sentence, c.name)
                yield c, c.sentence

    def raise_if_failed(self) -> None:
        """Raise :class:`~rlnet_bench.errors.ContractViolation` with every violation, if there is any."""
        if not self.ok:
            lines = [f"  {c.name}: {words}" for c, words in self._words() if c.outcome == "failed"]
            raise ContractViolation("\n".join([f"{self.verdict}:", *lines]))
