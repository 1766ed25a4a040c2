"""Published policies by name: ``mappo@mpe/simple_spread-discrete-v1`` is a method's cell in a folder of publications.

Imports without torch.
"""

from __future__ import annotations

import re
from pathlib import Path

import rlnet_bench
from rlnet_bench.errors import BadInput, StoreError, UnknownName
from rlnet_bench.runs.plan import read_plan
from rlnet_bench.runs.published import SUITE, Publication, is_published, read_cell

FOLDER = "results"
_VERSIONED = re.compile(r"(.+)-v(\d+)")


def split(name: str) -> tuple[str, str] | None:
    """(method, task) of a policy's name; None for anything else, such as a run directory."""
    method, at, task = name.rpartition("@")
    return (method, task) if at and method and task else None


def publications(results: str | Path | None = None) -> list[Path]:
    """The publications in a folder, by name; a folder that is one itself is the only one.

    Args:
        results: the folder; by default ``results`` here, else that of the repository this package is installed from.

    Raises:
        StoreError: when there is none.
    """
    home = Path(rlnet_bench.__file__).parent.parent
    tried = [Path(results)] if results is not None else [Path(FOLDER), home / FOLDER]
    for folder in tried:
        if is_published(folder):
            return [folder]
        found = sorted(p.parent for p in folder.glob(f"*/{SUITE}"))
        if found:
            return found
    where = " or ".join(str(folder) for folder in tried)
    raise StoreError(
        f"{where}: expected published results (NAME/{SUITE}), found none. They are in the project's repository "
        "and not in an installed package: name the folder in a checkout of it."
    )


def find_publication(name: str, results: str | Path | None = None) -> Path:
    """The folder of a publication: ``baselines-on-policy-v1``, or ``baselines-on-policy`` for its newest version.

    Args:
        name: of the publication, or of its suite.
        results: see :func:`publications`.

    Raises:
        UnknownName: with the nearest name.
        StoreError: when there are no publications.
    """
    found = {folder.name: folder for folder in publications(results)}
    versions = {int(m[2]): folder for n, folder in found.items() if (m := _VERSIONED.fullmatch(n)) and m[1] == name}
    if name in found:
        return found[name]
    if not versions:
        raise UnknownName("publication", name, found, hint=f"Published: {', '.join(found)}; a path will do, too.")
    return versions[max(versions)]


def find_cell(name: str, results: str | Path | None = None) -> tuple[Path, Publication]:
    """The publication that holds a policy, and the policy's cell in it, verified.

    Args:
        name: ``METHOD@TASK``.
        results: see :func:`publications`.

    Raises:
        UnknownName: when no publication has it, with the nearest name.
        BadInput: when several have it.
        StoreError: when what is there is damaged.
    """
    asked = split(name)
    if asked is None:
        raise BadInput(f"{name}: expected METHOD@TASK, such as mappo@mpe/simple_spread-discrete-v1.")
    holders, known = [], []
    for folder in publications(results):
        suite = read_plan(folder / SUITE).suite
        names = [f"{m.name}@{task}" for m in suite.methods for task in suite.tasks]
        known += names
        if name in names:
            holders.append(folder)
    if not holders:
        shown = ", ".join(sorted(known)[:12])
        raise UnknownName("policy", name, known, hint=f"Published: {shown}{', ...' if len(known) > 12 else ''}.")
    if len(holders) > 1:
        raise BadInput(
            f"{name}: {len(holders)} publications have it ({', '.join(map(str, holders))}); name one as the folder of "
            "results."
        )
    return holders[0], read_cell(holders[0], *asked)
