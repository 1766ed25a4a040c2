"""How tasks are named in heads of columns and panels."""

from __future__ import annotations


def task_title(task: str) -> tuple[str, str]:
    """A task id in two parts: its name, and everything that tells it from its namesakes.

    >>> task_title("mpe/simple_spread-n4-discrete-v1")
    ('simple_spread', 'mpe · n4-discrete-v1')
    """
    family, slash, rest = task.partition("/")
    if not slash:
        return task, ""
    name, _, variant = rest.partition("-")
    return name, f"{family} · {variant}" if variant else family
