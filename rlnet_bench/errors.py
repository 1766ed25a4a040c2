"""The exception tree. Each message says what was expected, what was found, where, and what to do.

The command line prints the message of an :class:`RlnetError` without a traceback; its ``exit_code``
is the process's (1: the work itself failed, 2: bad input).
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class RlnetError(Exception):
    """Base class of every error that a user can cause or must hear about."""

    exit_code = 2


class UnknownName(RlnetError):
    """Raised when a task, method, network or suite id is not known; names the nearest known id."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = sorted(known)
        near = get_close_matches(name, known, n=1, cutoff=0.4)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        where = hint or f"`rlnet-bench list {kind}s` shows all {len(known)}."
        super().__init__(f"unknown {kind} {name!r}.{guess} {where}")
        self.kind, self.name, self.nearest = kind, name, near[0] if near else None


class BadInput(RlnetError):
    """Raised when a file, key, argument or override is not what was expected."""


class MissingExtra(RlnetError):
    """Raised when an optional dependency is needed; names the exact install command."""

    def __init__(self, package: str, extra: str, needed_for: str) -> None:
        super().__init__(
            f'{needed_for} needs the package {package!r}: install it with `pip install "rlnet-bench[{extra}]"`.'
        )


class ImpossibleCell(RlnetError):
    """Raised at planning when a method cannot run on a task."""


class ContractViolation(RlnetError):
    """Raised by the conformance checks; lists every violation found."""

    exit_code = 1


class StoreError(RlnetError):
    """Raised when a run store is damaged, read-only, full or not a store."""


class WorkFailed(RlnetError):
    """Raised when work that was asked for did not complete; names the groups."""

    exit_code = 1


class Interrupted(RlnetError):
    """Raised after a clean stop: the checkpoint is written, the lease can be given back."""

    exit_code = 1


class NotReproducible(RlnetError):
    """Raised when a line made again after a resume differs from the stored one."""

    exit_code = 1
