"""How tasks are named in heads of columns and panels: short, and each with another name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from rlnet_bench.envs.registry import task_ids

_VERSION = re.compile(r"-v\d+$")


def task_titles(tasks: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Task -> its title and, in small, what else its id says. No two of the tasks share a title.

    Only our own ids have a grammar by which they can be shortened; a stranger's name is taken as it is.

    >>> task_titles(["mpe/simple_spread-n4-discrete-v1"])
    {'mpe/simple_spread-n4-discrete-v1': ('simple_spread', 'mpe · n4-discrete-v1')}
    >>> [title for title, _ in task_titles(["x/one-two", "x/one-three", "y/one-two"]).values()]
    ['x/one-two', 'one-three', 'y/one-two']
    """
    ours = set(task_ids())
    found = {t: _short(t) if t in ours else _whole(t) for t in dict.fromkeys(tasks)}
    for longer in (_whole, lambda task: (task, "")):
        counts = Counter(title for title, _ in found.values())
        found = {t: longer(t) if counts[parts[0]] > 1 else parts for t, parts in found.items()}
    return found


def _short(task: str) -> tuple[str, str]:
    family, _, rest = task.partition("/")
    name, _, variant = rest.partition("-")
    return name, f"{family} · {variant}" if variant else family


def _whole(task: str) -> tuple[str, str]:
    family, slash, rest = task.partition("/")
    version = _VERSION.search(rest)
    if not slash or not rest:
        return task, ""
    if version is None:
        return rest, family
    return rest[: version.start()], f"{family} · {version[0][1:]}"
