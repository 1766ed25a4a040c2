"""The exception tree. Each message says what was expected, what was found, where, and what to do.

The command line prints the message of an :class:`RlnetError` without a traceback; its ``exit_code``
is the process's (1: the work itself failed, 2: bad input).
"""

from __future__ import annotations

import os
import re
import reprlib
import sysconfig
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from traceback import extract_tb

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 80
_REPR.maxlist = _REPR.maxdict = _REPR.maxtuple = 20


class RlnetError(Exception):
    """Base class of every error that a user can cause or must hear about."""

    exit_code = 2


def in_python(text: str) -> str:
    """A message as a reader of Python needs it: options become arguments, commands in backticks stay commands.

    >>> in_python("--trust-code is missing; see `rlnet-bench run --help`, or --set a=1")
    'trust_code is missing; see `rlnet-bench run --help`, or overrides a=1'
    """
    parts = re.split(r"(`rlnet-bench[^`]*`)", text)
    return "".join(p if i % 2 else _OPTION.sub(_argument, p) for i, p in enumerate(parts))


_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*[a-z])\b")
_ARGUMENTS = {word: f"{word}s" for word in ("method", "network", "task", "reference")} | {"set": "overrides"}


def _argument(option: re.Match[str]) -> str:
    return _ARGUMENTS.get(option[1], option[1].replace("-", "_"))


class UnknownName(RlnetError):
    """Raised when a task, method, network or suite id is not known; names the nearest known id."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = sorted(known)
        near = get_close_matches(name, known, n=1, cutoff=0.4)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        where = hint or f"`rlnet-bench list {kind}s` shows all {len(known)}."
        super().__init__(f"unknown {kind} {name!r}.{guess} {where}")
        self.kind, self.name, self.nearest, self.hint = kind, name, near[0] if near else None, hint


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


class Malformed(StoreError, BadInput):
    """Raised for a file, or a part of one, that is not what it should be: where, what was expected, what was found."""

    def __init__(self, where: str, expected: str, found: object, hint: str = "") -> None:
        text = found if isinstance(found, str) and found.startswith(("nothing", "a ", "an ")) else shown(found)
        super().__init__(f"{where}: expected {expected}, found {text}.{' ' + hint if hint else ''}")


def shown(value: object) -> str:
    """A value in an error message: its repr, cut."""
    text = repr(value[:80]) if isinstance(value, str) else _REPR.repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def their_line(error: BaseException) -> str:
    """Where an exception came from in somebody's own code: ``FILE, line N, in NAME``, or nothing.

    That is the last frame of its traceback outside of this package, the standard library and installed packages.
    """
    for frame in reversed(extract_tb(error.__traceback__)):
        path = os.path.abspath(frame.filename)
        if os.path.isfile(path) and not path.startswith(_not_theirs()):
            return f"{path}, line {frame.lineno}, in {frame.name}"
    return ""


def said(error: BaseException) -> str:
    """An exception as a sentence: what it is, what it says, and where in somebody's own code it was raised."""
    place = their_line(error)
    words = f": {error}" if str(error) else ""
    return f"{type(error).__name__}{words}{f' ({place})' if place else ''}"


@cache
def _not_theirs() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    places = {os.path.abspath(sysconfig.get_path(name)) for name in names}
    return (str(Path(__file__).resolve().parent) + os.sep, *(place + os.sep for place in sorted(places)))


class WorkFailed(RlnetError):
    """Raised when work that was asked for did not complete; names the groups."""

    exit_code = 1


class Interrupted(RlnetError):
    """Raised after a clean stop: the checkpoint is written, the lease can be given back."""

    exit_code = 1


class NotReproducible(RlnetError):
    """Raised when a line made again after a resume differs from the stored one."""

    exit_code = 1
