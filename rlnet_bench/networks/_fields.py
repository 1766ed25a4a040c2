"""One parser per field of the network language: a plain value in, a typed one out, or Refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from rlnet_bench.networks.spec import MAX_COUNT, MAX_PERIOD, WIDTH_CAP, Message, Place, Sends, Settings
from rlnet_bench.networks.vertex_kinds import KINDS
from rlnet_bench.trust import VERTEX

MAX_LAYERS = 8
MAX_LAYER = 4_096
MAX_SETTINGS = 64
_WORD = re.compile(r"[^\W\d_][\w.-]{0,39}")
_METHOD = re.compile(rf"{VERTEX}\S{{1,200}}")


class Refused(Exception):
    """The text says what was expected."""


def number(value: Any, low: int, high: int) -> int:
    """A whole number between two bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refused(f"a whole number from {low} to {high}")
    return value


def finite(value: Any, low: float, high: float, *, above: bool = False) -> float:
    """A number between two bounds; ``above``: greater than the lower one."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    if not good or (above and value == low):
        raise Refused(f"a number {f'above {low:g}, at most {high:g}' if above else f'from {low:g} to {high:g}'}")
    return float(value)


def choice(*words: str) -> Callable[[Any], Any]:
    """One of a few words."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            near = get_close_matches(str(value), words, n=1, cutoff=0.6)
            raise Refused(f"one of {', '.join(words)}{f' (did you mean {near[0]!r}?)' if near else ''}")
        return value

    return parse


def word(value: Any) -> str:
    """A name."""
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise Refused("a word")
    return value


def _agent_list(value: Any) -> tuple[int | str, ...] | None:
    """Agents by number or name, in order; None when this is no such list."""
    if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= MAX_COUNT:
        return None
    good = all((isinstance(x, str) and x) or (type(x) is int and 0 <= x < MAX_COUNT) for x in value)
    return tuple(value) if good and len(set(value)) == len(value) else None


def per_agent(value: Any) -> Any:
    """``true`` (every agent), ``rest``, or a list of agents; ``false`` is None."""
    agents = "all" if value is True else "rest" if value == "rest" else _agent_list(value)
    if agents is None and value is not False:
        raise Refused("true, `rest`, or a list of distinct agent numbers or names")
    return agents


def count(value: Any) -> Any:
    """How many vertices, or ``agents``: as many as there are agents."""
    if value == "agents":
        return value
    try:
        return number(value, 1, MAX_COUNT)
    except Refused as refused:
        raise Refused(f"{refused}, or `agents`") from None


def sends(value: Any, is_motor: bool = False) -> Sends:
    """The ``action`` of a vertex, or the ``instruction`` of a motor."""
    words = ("action",) if is_motor else ("none", "relay", "graph")
    if isinstance(value, str) and value in words:
        return Sends(value, per_subordinate=value == "graph")  # type: ignore[arg-type]
    alone = ", ".join(f"`{word}`" for word in words)
    expected = f"{alone}, {{continuous: d}}, {{discrete: n}} or {{bits: d}}, with `per_subordinate: true` where wanted"
    if not isinstance(value, Mapping):
        raise Refused(expected)
    rest = dict(value)
    each = rest.pop("per_subordinate", False)
    if type(each) is not bool or len(rest) != 1 or next(iter(rest)) not in ("continuous", "discrete", "bits"):
        raise Refused(expected)
    ((kind, size),) = rest.items()
    low = 2 if kind == "discrete" else 1
    if type(size) is not int or not low <= size <= WIDTH_CAP:
        what = {"continuous": "a width", "discrete": "a number of options", "bits": "a number of bits"}[kind]
        raise Refused(f"{what} from {low} to {WIDTH_CAP}")
    return Sends(kind, size, each)


def message(value: Any) -> Message:
    """What is returned to superiors."""
    if isinstance(value, Mapping) and list(value) == ["learned"]:
        width = value["learned"]
        if type(width) is not int or not 1 <= width <= WIDTH_CAP:
            raise Refused(f"a width from 1 to {WIDTH_CAP}")
        return Message("learned", width)
    if isinstance(value, str) and value in ("identity", "mean", "none"):
        return Message(value)  # type: ignore[arg-type]
    raise Refused("`identity`, `mean`, `none` or {learned: m}")


def place(value: Any) -> Place:
    """Where a vertex computes."""
    if isinstance(value, str) and value in ("external", "agent"):
        return Place(value)  # type: ignore[arg-type]
    if isinstance(value, Mapping) and list(value) == ["site"]:
        return Place("site", site=word(value["site"]))
    if isinstance(value, Mapping) and list(value) == ["agents"]:
        listed = value["agents"]
        good = isinstance(listed, (list, tuple)) and 1 <= len(listed) <= MAX_COUNT
        if good and all((isinstance(x, str) and x) or (type(x) is int and 0 <= x < MAX_COUNT) for x in listed):
            return Place("agents", tuple(listed))
    raise Refused("`external`, `agent`, {agents: [one per vertex]} or {site: NAME}")


def learner(value: Any) -> str:
    """Who chooses the vertex's instruction."""
    if isinstance(value, str) and (value in KINDS or _METHOD.fullmatch(value)):
        return value
    near = get_close_matches(str(value), KINDS, n=1, cutoff=0.5)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    raise Refused(f"{', '.join(f'`{name}`' for name in KINDS)} or `method:NAME`{guess}")


def settings(value: Any) -> Settings:
    """Settings of the method at a vertex; the method says which there are, when a run is planned."""
    expected = "settings of the method by name, such as {n_step: 3}, with plain values"
    if not isinstance(value, Mapping) or len(value) > MAX_SETTINGS:
        raise Refused(expected)
    for name, x in value.items():
        flat = x if isinstance(x, (list, tuple)) else [x]
        if not isinstance(name, str) or len(flat) > MAX_LAYERS:
            raise Refused(expected)
        if not all(isinstance(y, (bool, int, str)) or (isinstance(y, float) and math.isfinite(y)) for y in flat):
            raise Refused(expected)
    return Settings(tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in sorted(value.items())))


def hidden(value: Any) -> tuple[int, ...]:
    """Widths of hidden layers; empty for a linear map."""
    expected = f"a list of at most {MAX_LAYERS} widths from 1 to {MAX_LAYER}"
    if not isinstance(value, (list, tuple)) or len(value) > MAX_LAYERS:
        raise Refused(expected)
    if not all(type(x) is int and 1 <= x <= MAX_LAYER for x in value):
        raise Refused(expected)
    return tuple(value)


def weight_of(value: Any) -> Any:
    """What an instruction is multiplied by."""
    if value in ("learned", "sparse"):
        return value
    if value == "fixed":
        return 1.0
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e6 and math.isfinite(value):
        return float(value)
    raise Refused("`fixed`, `learned`, `sparse` or a number from -1e6 to 1e6")


def deal_of(value: Any) -> Any:
    """Which members of two declarations are joined."""
    words = ("all-to-all", "balanced", "others", "chain", "order", "learned")
    if isinstance(value, str) and value in words:
        return value
    if isinstance(value, (list, tuple)) and len(value) <= MAX_COUNT:
        if all(
            isinstance(row, (list, tuple))
            and len(row) <= MAX_COUNT
            and all(type(x) is int and 0 <= x < MAX_COUNT for x in row)
            for row in value
        ):
            return tuple(tuple(row) for row in value)
        raise Refused(f"one list of subordinate numbers (0 to {MAX_COUNT - 1}) per superior, such as [[0, 1], [2]]")
    near = get_close_matches(str(value), words, n=1, cutoff=0.5)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    raise Refused(f"{', '.join(words)} or explicit lists such as [[0, 1], [2]]{guess}")


def share(value: Any) -> Any:
    """``true``, ``false`` or ``group``."""
    if value == "group" or isinstance(value, bool):
        return value
    raise Refused("true, false or `group`")


PARSERS: dict[str, Callable[[Any], Any]] = {
    "per_agent": per_agent,
    "count": count,
    "action": sends,
    "instruction": lambda value: sends(value, is_motor=True),
    "period": lambda value: number(value, 1, MAX_PERIOD),
    "message": message,
    "critic": choice("local", "subtree", "global"),
    "group": word,
    "place": place,
    "learner": learner,
    "settings": settings,
    "memory": choice("none", "gru"),
    "hidden": hidden,
    "gradient": choice("stop", "through"),
    "reward": choice("mean", "sum", "team", "difference", "superior_advantage"),
    "advantage": choice("own", "superiors"),
    "evaluation": choice("own", "shuffled"),
    "delivers": choice("own", "shuffled", "constant"),
    "carry": choice("both", "messages", "instructions"),
}

RECIPE: dict[str, Callable[[Any], Any]] = {
    "learning_rate": lambda value: finite(value, 0.0, 1.0, above=True),
    "entropy": lambda value: finite(value, 0.0, 10.0),
    "log_std": lambda value: finite(value, -10.0, 2.0),
    "epochs": lambda value: number(value, 1, 100),
    "clip": lambda value: finite(value, 0.0, 10.0, above=True),
    "target_kl": lambda value: finite(value, 0.0, 10.0, above=True),
    "share": share,
    "encoder": choice("plain", "entities"),
    "instruction_gain": lambda value: finite(value, 0.0, 10.0),
}
"""One parser per field of :class:`~rlnet_bench.networks.spec.Recipe`."""
