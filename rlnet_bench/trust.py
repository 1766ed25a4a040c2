"""Which code may be imported, decided before any import. Needs nothing but the standard library.

Names of tasks and methods are *catalogued* (ids of what is installed; networks and suites are data), or they
are *code*, which comes in through four doors:

* ``module:factory?key=value``, a PettingZoo environment; also ``path/to/file.py:factory``,
* ``path/to/file.py:Class``, a method,
* ``vmas:path/to/file.py``, a scenario,
* ``learner: method:NAME`` at a vertex of a network, where NAME is one of the above.

Code is imported only where it was trusted in this process before, by exactly that name and with exactly that
content. What the caller types is trusted by that (:func:`typed`); what a *file* names (a suite, a store, a record,
a network) is trusted when the caller says so (:func:`ask`, ``--trust-code``); a worker trusts what its driver
hands over (:func:`accept`). Readers never ask. ``docs/security.md`` says it for users.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from rlnet_bench.errors import BadInput, said

PREFIX = "_rlnet_code_"  # of the names of modules made from files
VERTEX = "method:"  # how a vertex of a network names a method


class Untrusted(BadInput):
    """Raised instead of importing code that nobody trusted."""


@dataclass(frozen=True)
class Code:
    """Code as it was trusted: a name, and the file that stands behind it."""

    name: str
    path: str  # absolute; empty for a module without a file
    sha256: str  # of that file; empty where there is none


@dataclass(frozen=True)
class Wanted:
    """Code that a file names, with what the file says of it."""

    name: str
    sha256: str = ""  # its beginning, as recorded; empty when nothing is recorded
    file: str = ""  # where it was, if the name does not say so


# -- names -------------------------------------------------------------------------------------------------


def target(name: str) -> str | None:
    """The file (``x.py``) or module that a name would import; None for a name that imports nothing.

    >>> target("my.py:Mine"), target("pkg.envs:make?n=3"), target("vmas:my.py:n=3"), target("vmas:football")
    ('my.py', 'pkg.envs', 'my.py', None)
    """
    if name.startswith("vmas:"):
        scenario = name.split(":")[1]
        return scenario if scenario.endswith(".py") else None
    head, colon, _ = name.partition("?")[0].rpartition(":")
    return head if colon else None


def is_file(name: str) -> bool:
    """Whether a name would import a file."""
    return (target(name) or "").endswith(".py")


def tail(name: str) -> str:
    """What a name says besides its file or module: the factory or class, and arguments."""
    head = target(name)
    return name if head is None else name.replace(head, "", 1)


def attribute(name: str) -> str:
    """The factory or class of a name."""
    return name.partition("?")[0].rpartition(":")[2]


def without_folder(name: str) -> str:
    """A name whose file stands without its folder: a moved file is the same code."""
    head = target(name)
    return name.replace(head, Path(head).name, 1) if head is not None and is_file(name) else name


def at_vertices(network: object) -> list[str]:
    """Code that a network names at its vertices, from :meth:`~rlnet_bench.networks.spec.NetworkSpec.to_json`."""
    vertices = network.get("vertices") if isinstance(network, dict) else None
    learners = [v.get("learner") for v in vertices or () if isinstance(v, dict)]
    names = [x.removeprefix(VERTEX) for x in learners if isinstance(x, str) and x.startswith(VERTEX)]
    return [name for name in dict.fromkeys(names) if target(name) is not None]


# -- trust -------------------------------------------------------------------------------------------------

_trusted: dict[tuple[str, str], Code] = {}  # by name and digest, the latest last


def typed(*names: str | None) -> None:
    """Trust what the caller typed: on the command line, or as an argument of a public function."""
    for name in names:
        if name is not None and target(name) is not None:
            _trust(_found(name))


def accept(handed: Iterable[Code]) -> None:
    """In a worker: trust what the driver trusted (see :func:`handed`)."""
    for code in handed:
        _trust(code)


def ask(
    wanted: Iterable[Wanted],
    *,
    asked_by: str,
    trust_code: bool = False,
    given: Iterable[str] = (),
    say: Callable[[str], None] = lambda sentence: print(sentence, file=sys.stderr),
) -> None:
    """Decide about code that a file names; catalogued names are passed over.

    Args:
        wanted: what the file names.
        asked_by: the file, for the sentence.
        trust_code: the caller trusts it: what will be imported is said first.
        given: names that the caller typed, whose files may stand for recorded ones with the same content.
        say: prints a sentence.

    Raises:
        Untrusted: one sentence per name that nobody trusts, or whose file is not what was recorded.
    """
    refused = []
    given = tuple(given)
    for want in dict.fromkeys(w for w in wanted if target(w.name) is not None):
        try:
            _decide(want, asked_by, trust_code, given, say)
        except Untrusted as error:
            refused.append(str(error))
    if refused:
        raise Untrusted("\n".join(dict.fromkeys(refused)))


def _decide(want: Wanted, asked_by: str, trust_code: bool, given: tuple[str, ...], say: Callable[[str], None]) -> None:
    for name in given:
        if tail(name) == tail(want.name):
            code = demand(name)
            if not code.sha256.startswith(want.sha256):
                raise Untrusted(f"{asked_by}: {want.name!r} was the file with sha256 {want.sha256}, and {code.path} "
                                f"has {code.sha256[:16]}; give the file that was recorded.")  # fmt: skip
            _trust(Code(want.name, code.path, code.sha256))
            return
    if _known(want.name, want.sha256) is not None:
        return
    if not trust_code:
        raise Untrusted(
            f"{asked_by}: {want.name!r} is code ({_words(want.name)}), and code that a file names is imported only "
            "with --trust-code (from Python: trust_code=True)."
        )
    code = _found(want.name, want.file)
    if not code.sha256.startswith(want.sha256):
        found = f"has {code.sha256[:16]}" if code.sha256 else "is not there"
        raise Untrusted(
            f"{asked_by}: {want.name!r} was the file with sha256 {want.sha256}, and {code.path or want.name} {found}; "
            f"name the recorded file, wherever it is now, as {_option(want.name)}."
        )
    say(f"{asked_by} names {want.name!r}; trusted: {code.path or 'a module without a file'}, sha256 {code.sha256}")
    _trust(code)


def demand(name: str, sha256: str = "") -> Code:
    """The code behind a name, if it is trusted: what every door asks before it imports.

    ``sha256``: of a record, or its beginning; then a file of another folder stands for it, if the rest agrees.

    Raises:
        Untrusted: when it is not.
    """
    found = _known(name, sha256)
    if found is None:
        raise Untrusted(
            f"{name!r} is code ({_words(name)}) that nobody trusted; type its name yourself, or say --trust-code "
            "(from Python: trust_code=True) where a file names it."
        )
    return found


def handed(wanted: Iterable[Wanted]) -> tuple[Code, ...]:
    """What a driver hands to its workers, all of it trusted here."""
    return tuple(dict.fromkeys(demand(w.name, w.sha256) for w in wanted if target(w.name) is not None))


def search_path() -> str:
    """PYTHONPATH of a process that finds the modules that this one finds. Start it with ``-P``: the folder that it
    starts in holds anybody's files."""
    return os.pathsep.join(p or os.getcwd() for p in sys.path)


def to_text(codes: Iterable[Code]) -> str:
    """For a command line; see :func:`from_text`."""
    return json.dumps([asdict(code) for code in codes])


def from_text(text: str) -> tuple[Code, ...]:
    """Inverse of :func:`to_text`."""
    return tuple(Code(**item) for item in json.loads(text))


def _trust(code: Code) -> None:
    _trusted.pop((code.name, code.sha256), None)
    _trusted[code.name, code.sha256] = code


def _known(name: str, sha256: str) -> Code | None:
    for code in reversed(_trusted.values()):
        same = code.name == name or (sha256 and tail(code.name) == tail(name))
        if same and code.sha256.startswith(sha256):
            return code
    return None


def _words(name: str) -> str:
    head = target(name)
    return f"the file {head!r}" if is_file(name) else f"the module {head!r}"


def _option(name: str) -> str:
    is_task = name.startswith("vmas:") or "?" in name
    return f"--task {'vmas:' if name.startswith('vmas:') else ''}FILE.py{tail(name).removeprefix('vmas:')}" if is_task \
        else f"--method FILE.py{tail(name)} (a task: --task)"  # fmt: skip


# -- files -------------------------------------------------------------------------------------------------


def _found(name: str, file: str = "") -> Code:
    """What stands behind a name now; nothing is imported."""
    head = file or str(target(name))
    path = Path(head).absolute() if head.endswith(".py") else _module_file(head)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path is not None and path.is_file() else ""
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}).") from None
    return Code(name, "" if path is None else str(path), digest)


def _module_file(name: str) -> Path | None:
    """The file of a module, without importing it or the packages that it is in."""
    first, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except ValueError:  # of what runs as a script
        return None
    for part in rest:
        spec = PathFinder.find_spec(part, spec.submodule_search_locations) if spec is not None else None
    return Path(spec.origin) if spec is not None and spec.origin and spec.has_location else None


_modules: dict[tuple[str, str], ModuleType] = {}  # by path and digest


def load(code: Code) -> ModuleType:
    """The module of trusted code, made once: exactly the bytes that were trusted are run, never a cached ``.pyc``.

    Raises:
        Untrusted: when the file is not what was trusted.
        BadInput: when it is not there, or raises while it is imported.
    """
    head = str(target(code.name))
    if not is_file(code.name):
        if code.sha256 and _found(code.name).sha256 != code.sha256:
            raise Untrusted(f"{code.name!r}: the module {head!r} is not the one that was trusted ({code.path}, sha256 "
                            f"{code.sha256[:16]}).")  # fmt: skip
        return importlib.import_module(head)
    key = code.path, code.sha256
    if key not in _modules:
        _modules[key] = _run(code)
    return _modules[key]


def _run(code: Code) -> ModuleType:
    path = Path(code.path)
    if not path.is_file():
        raise BadInput(f"{code.name!r}: there is no file {code.path}.")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != code.sha256:
        raise Untrusted(f"{code.path}: changed since it was trusted (sha256 {code.sha256[:16]}); start again.")
    name = f"{PREFIX}{path.stem}_{hashlib.sha256(code.path.encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    previous = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses and enums of the file look for it there
    try:
        exec(compile(data, code.path, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        sys.modules.pop(name)
        if previous is not None:
            sys.modules[name] = previous
        if not isinstance(error, Exception):
            raise
        raise BadInput(f"{code.path}: importing it raised {said(error)}") from error
    return module
