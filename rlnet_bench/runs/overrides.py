"""``--set a.b=c``: changes to a suite's document before it is validated. Pure, and imports without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rlnet_bench.errors import BadInput
from rlnet_bench.reading.yaml import load

Path = tuple[str, ...]


def override(data: dict[str, Any], texts: Iterable[str]) -> dict[Path, str]:
    """Change a suite's document by ``a.b=c`` each, c read as YAML; the changed paths, and who changed them.

    Methods that an override names keep what the document says of them; what it says of tasks that an override left out
    is forgotten.

    Raises:
        BadInput: for a text of another form, and a path through something that is no mapping.
    """
    tasks, methods = data.get("tasks"), data.get("methods")
    changed = {path: f"--set {'.'.join(path)}" for path in (_set(data, text) for text in texts)}
    if ("methods",) in changed:
        data["methods"] = _as_declared(data["methods"], methods)
    if ("tasks",) in changed:
        _forget(data, tasks)
    if {("methods",), ("tasks",)} & changed.keys():
        data.pop("trial", None)  # a part of the suite is run; the whole is what is judged
    return changed


def _set(data: dict[str, Any], text: str) -> Path:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise BadInput(f"--set {text!r}: expected key.path=value, for instance budget.frames=100000.")
    target = data
    *parents, last = key.split(".")
    for part in parents:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise BadInput(f"--set {text!r}: {part!r} is not a mapping.")
    target[last] = load(value, f"--set {key}").data
    return (*parents, last)


def _as_declared(wanted: Any, declared: Any) -> Any:
    """The methods that an override names, those that the document has with all that it says of them."""
    if not isinstance(wanted, list) or not isinstance(declared, list):
        return wanted
    known = {
        str(m.get("label") or m.get("id") or m.get("network")): m for m in reversed(declared) if isinstance(m, dict)
    }
    return [known.get(m, m) if isinstance(m, str) else m for m in wanted]


def _forget(data: dict[str, Any], declared: Any) -> None:
    """Take what a document says of its own tasks off those that an override left out."""
    parts = declared.values() if isinstance(declared, dict) else [declared]
    before = {task for part in parts if isinstance(part, list) for task in part if isinstance(task, str)}
    kept = data["tasks"] if isinstance(data["tasks"], list) else before
    gone = before - {task for task in kept if isinstance(task, str)}
    budget, methods = data.get("budget"), data.get("methods")
    tables = [budget.get("frames")] if isinstance(budget, dict) else []
    tables += [data.get("card")]
    tables += [m.get("per_task") for m in methods if isinstance(m, dict)] if isinstance(methods, list) else []
    for table in tables:
        if isinstance(table, dict):
            for task in gone & table.keys():
                del table[task]
    entries = [m for m in methods if isinstance(m, dict)] if isinstance(methods, list) else []
    for entry in entries:
        if isinstance(entry.get("only"), list) and (left := [task for task in entry["only"] if task not in gone]):
            entry["only"] = left
        elif isinstance(methods, list) and entry.get("only"):
            methods.remove(entry)
