"""Published policies by name: ``mappo@mpe/simple_spread-discrete-v1`` is a method's cell in a folder of publications.

Imports without torch.
"""

from __future__ import annotations

import re
from pathlib import Path

import rlnet_bench
from rlnet_bench.errors import BadInput, StoreError, UnknownName
from rlnet_bench.runs.published import SUITE, Publication, finished_groups, is_published, read_cell, weights_file

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


def find_holder(name: str, results: str | Path | None = None) -> Path:
    """The publication that holds a policy.

    Where several do, one that has its weights counts before one that has none, then the newest version of the method,
    then the one that was trained longest.

    Args:
        name: ``METHOD@TASK``.
        results: see :func:`publications`.

    Raises:
        UnknownName: when no publication has it, with the nearest name.
        StoreError: when a plan that is there is damaged.
    """
    if split(name) is None:
        raise BadInput(f"{name}: expected METHOD@TASK, such as mappo@mpe/simple_spread-discrete-v1.")
    known: dict[str, tuple[bool, int, int, Path]] = {}
    for folder in publications(results):
        for group in finished_groups(folder):
            c = group.config
            label, task = c["label"], c["task"]
            has_weights = any(weights_file(folder, label, task, seed).exists() for seed in c["seeds"])
            cell, found = f"{label}@{task}", (has_weights, c.get("method_version", 1), c["frames"], folder)
            if cell not in known or found[:-1] > known[cell][:-1]:
                known[cell] = found
    if name not in known:
        shown = ", ".join(sorted(known)[:12])
        raise UnknownName("policy", name, known, hint=f"Published: {shown}{', ...' if len(known) > 12 else ''}.")
    return known[name][-1]


def find_cell(name: str, results: str | Path | None = None) -> tuple[Path, Publication]:
    """The publication that :func:`find_holder` finds, and the policy's cell in it, verified.

    Raises:
        StoreError: when what is there is damaged; and as :func:`find_holder`.
    """
    folder, asked = find_holder(name, results), split(name)
    assert asked is not None
    return folder, read_cell(folder, *asked)
