"""Strict YAML: safe, small, no aliases, tags or duplicate keys, and every value knows its line.

Used for suites, networks, submissions and the arguments in a task's id alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rlnet_bench.errors import BadInput, shown
from rlnet_bench.reading.files import KiB, read_text
from rlnet_bench.reading.plain import bounded

MAX_BYTES = 256 * KiB
MAX_DEPTH = 20
MAX_NODES = 20_000  # a reader in Python needs about a second for so many


@dataclass(frozen=True)
class Document:
    """Parsed YAML: plain data, and the 1-based line of every path into it."""

    data: Any
    lines: dict[tuple[Any, ...], int]
    name: str

    def line(self, path: tuple[Any, ...]) -> int:
        """The line of a path, or of the nearest parent that is written in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def where(self, path: tuple[Any, ...] = ()) -> str:
        """``file:line`` of a path."""
        return f"{self.name}:{self.line(path)}"


def load(source: Path | str, name: str | None = None) -> Document:
    """Read a YAML file (``Path``) or text (``str``).

    Raises:
        BadInput: with file and line, for anything but plain data.
    """
    if isinstance(source, Path):
        text, name = read_text(source, MAX_BYTES, links=True), name or str(source)
    else:
        text, name = source, name or "<text>"
        if len(text) > MAX_BYTES:
            raise BadInput(f"{name}: expected at most {MAX_BYTES // 1024} KiB, found {len(text)} characters.")
    try:
        _screen(text, name)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        raise BadInput(f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}.") from None
    lines: dict[tuple[Any, ...], int] = {}
    data = _build(loader, node, (), lines, name) if node is not None else None
    return Document(data, lines, name)


def _screen(text: str, name: str) -> None:
    """Refuse aliases, tags and deep nesting before anything is built (billion-laughs safe)."""
    depth = 0
    event: Any
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        where = f"{name}:{event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise BadInput(f"{where}: anchors and aliases (& and *) are not allowed; write the value out.")
        if getattr(event, "tag", None):
            raise BadInput(f"{where}: the tag {event.tag!r} is not allowed; use plain values.")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if number > MAX_NODES:
            raise BadInput(f"{where}: expected at most {MAX_NODES} values, found more.")
        if depth > MAX_DEPTH:
            raise BadInput(f"{where}: nested deeper than {MAX_DEPTH} levels.")


def _build(loader: Any, node: Any, path: tuple[Any, ...], lines: dict[tuple[Any, ...], int], name: str) -> Any:
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        out: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise BadInput(f"{name}:{key_node.start_mark.line + 1}: a key must be a plain word.")
            line = key_node.start_mark.line + 1
            try:
                key = _plain(loader, key_node, name)
            except (ValueError, yaml.YAMLError):
                found = shown(key_node.value)
                raise BadInput(f"{name}:{line}: {found} is not a valid key; use a plain word.") from None
            if key in out:
                raise BadInput(f"{name}:{line}: key {shown(key)} appears twice (first on line {lines[(*path, key)]}).")
            out[key] = _build(loader, value_node, (*path, key), lines, name)
            lines[(*path, key)] = key_node.start_mark.line + 1
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, (*path, i), lines, name) for i, item in enumerate(node.value)]
    try:
        return _plain(loader, node, name)
    except (ValueError, yaml.YAMLError):
        raise BadInput(f"{name}:{node.start_mark.line + 1}: {shown(node.value)} is not a valid value.") from None


def _plain(loader: Any, node: Any, name: str) -> Any:
    """A scalar: text, a number, true, false or null; raises ValueError, YAMLError or Malformed for others."""
    value = loader.construct_object(node)
    if type(value) not in (str, int, float, bool, type(None)):  # dates and bytes have types of their own
        raise ValueError(type(value).__name__)
    bounded(value, f"{name}:{node.start_mark.line + 1}")
    return value
