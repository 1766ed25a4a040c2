"""From YAML to a :class:`NetworkSpec`; every mistake is a sentence with file, line and vertex names.

All mistakes of a file are reported at once. What needs a task (agents without a motor, widths) is checked
by :func:`rlnet_bench.networks.graph.expand`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rlnet_bench.errors import BadInput
from rlnet_bench.networks._fields import PARSERS, RECIPE, Refused, choice, deal_of, finite, number, weight_of
from rlnet_bench.networks.shape import check_shape
from rlnet_bench.networks.spec import (
    EDGE_FIELDS,
    FIELDS,
    MAX_DELAY,
    MAX_EDGES,
    MAX_VERTICES,
    MODELS,
    SENDS_KEY,
    Edge,
    NetworkSpec,
    Recipe,
    Sends,
    Vertex,
)
from rlnet_bench.reading.files import read_text
from rlnet_bench.reading.yaml import MAX_BYTES, Document, load
from rlnet_bench.trust import VERTEX

MAX_LINES = 5_000
MAX_BITS = 16  # per number, of an edge that says so
MAX_DROP = 0.99
_NAME = re.compile(r"[^\W\d_][\w.-]{0,39}")
_ARROW = re.compile(r"\s*(\S+)\s*->\s*(\S+)\s*")
_TOP = ("name", "description", "model", "vertices", "edges", "defaults")
_NOT_DEFAULT = ("count", "group", "place", "settings")  # these belong to one declaration
METHOD_RECIPE = ("learning_rate", "share")  # what a recipe says to a vertex that learns by another method
_AT_VERTEX = "said at the vertex itself: `{}`"
SAID_ELSEWHERE = {  # settings of methods that a network has elsewhere
    "num_envs": "the network's: all its vertices act in the same environments",
    "share_parameters": _AT_VERTEX.format("share"), "learning_rate": _AT_VERTEX.format("learning_rate"),
    "hidden": _AT_VERTEX.format("hidden"), "memory": _AT_VERTEX.format("memory"),
    "critic_hidden": "not set apart: a critic is as wide as its policy, `hidden`",
}  # fmt: skip


def parse_yaml(source: Path | str) -> NetworkSpec:
    """Read a file (``Path``) or YAML text (``str``).

    Raises:
        BadInput: naming file, line, vertices, what was expected and what was found.
    """
    name = str(source) if isinstance(source, Path) else "<text>"
    text = read_text(source, MAX_BYTES, links=True) if isinstance(source, Path) else source
    found = text.count("\n")
    if found > MAX_LINES:
        raise BadInput(
            f"{name}: expected at most {MAX_LINES} lines, found {found}; declare vertices that are alike once, "
            "with `count` or `per_agent`."
        )
    return parse_document(load(text, name))


def parse_json(data: Any) -> NetworkSpec:
    """From :meth:`NetworkSpec.to_json`, or the same mapping that a YAML file holds."""
    if isinstance(data, Mapping):
        data = {k: v for k, v in data.items() if not (k in ("description", "edges") and not v)}
        vertices = data.get("vertices")
        if isinstance(vertices, (list, tuple)):
            named: dict[Any, Any] = {}
            for item in vertices:
                if not isinstance(item, Mapping) or not isinstance(item.get("name"), str) or item["name"] in named:
                    raise BadInput(f"network: expected vertices with distinct names, found {str(item)[:80]}.")
                named[item["name"]] = {k: v for k, v in item.items() if k != "name"}
            data["vertices"] = named
    return parse_document(Document(data, {}, ""))


def parse_document(document: Document) -> NetworkSpec:
    """Validate plain data; see :func:`parse_yaml`."""
    return _Reader(document).network()


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document, self.problems = document, list[str]()

    def problem(self, path: tuple[Any, ...], sentence: str) -> None:
        where = f"{self.document.where(path)}: " if self.document.name else "network: "
        self.problems.append(where + sentence)

    def stop_if_problems(self) -> None:
        if self.problems:
            shown = list(dict.fromkeys(self.problems))
            more = [f"... and {len(shown) - 20} more mistakes."] if len(shown) > 20 else []
            raise BadInput("\n".join(shown[:20] + more))

    def line(self, path: tuple[Any, ...]) -> int:
        return self.document.line(path) if self.document.name else 0

    def keys(self, data: Mapping[Any, Any], known: tuple[str, ...], path: tuple[Any, ...], owner: str) -> None:
        for key in data:
            if key not in known:
                near = get_close_matches(str(key), known, n=1, cutoff=0.6)
                guess = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(known)}."
                self.problem((*path, key), f"unknown key {str(key)[:60]!r} of {owner}. {guess}")

    def network(self) -> NetworkSpec:
        data = self.document.data
        if not isinstance(data, Mapping):
            self.problem((), f"expected a mapping with the keys `name` and `vertices`, found {_short(data)}.")
            self.stop_if_problems()
        self.keys(data, _TOP, (), "a network")
        name, description = data.get("name"), data.get("description", "")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self.problem(("name",), f"`name`: expected a word such as bridged-3ppo, found {_short(name)}.")
        if not isinstance(description, str) or len(description) > 1_000:
            self.problem(("description",), f"`description`: expected text of at most 1000 characters, "
                         f"found {_short(description)}.")  # fmt: skip
        model = self.model(data)
        defaults = self.fields(data.get("defaults", {}), ("defaults",), "the defaults", for_defaults=True)
        vertices = self.vertices(data.get("vertices"), defaults)
        edges = self.edges(data.get("edges", []), [v.name for v in vertices])
        self.stop_if_problems()
        spec = NetworkSpec(name, vertices, edges, description, model, self.document.name)
        check_shape(spec)
        return spec

    def model(self, data: Mapping[Any, Any]) -> str:
        try:
            return choice(*MODELS)(data["model"]) if "model" in data else ""
        except Refused as refused:
            self.problem(("model",), f"`model`: expected {refused}, found {_short(data['model'])}.")
            return ""

    # -- vertices ----------------------------------------------------------------------------------------

    def vertices(self, data: Any, defaults: dict[str, Any]) -> tuple[Vertex, ...]:
        if not isinstance(data, Mapping) or not data:
            self.problem(("vertices",), f"`vertices`: expected a mapping from names to fields, found {_short(data)}.")
            return ()
        if len(data) > MAX_VERTICES:
            self.problem(("vertices",), f"`vertices`: expected at most {MAX_VERTICES} declarations, found {len(data)}; "
                         "declare vertices that are alike once, with `count` or `per_agent`.")  # fmt: skip
            self.stop_if_problems()
        return tuple(self.vertex(name, fields, defaults) for name, fields in data.items())

    def vertex(self, name: Any, data: Any, defaults: dict[str, Any]) -> Vertex:
        path = ("vertices", name)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self.problem(path, f"vertex {_short(name)}: expected a name of letters, digits, `-`, `_` or `.` "
                         "(at most 40, a letter first; quote words that YAML reads as yes, no or null).")  # fmt: skip
        fields = self.fields({} if data is None else data, path, f"vertex {_short(name)}")
        is_motor = fields.get("agents") is not None
        if fields.pop("per_agent_false", False):
            self.problem((*path, "per_agent"), f"vertex {name!r}: leave `per_agent` out for a vertex that is no motor.")
        given: dict[str, Any] = {key: fields.pop(key) for key in ("action", "instruction") if key in fields}
        inherited = {k: v for k, v in defaults.items() if k not in fields}
        sends = inherited.pop("sends", Vertex("").sends)
        if is_motor:
            sends = Sends("action")
            inherited.pop("period", None)  # these defaults are for the vertices above the motors
            inherited.pop("learner", None)
            if "action" in given:
                self.problem((*path, "action"), f"motor {name!r}: its action belongs to the task; "
                             "what it sends to subordinates is its `instruction`.")  # fmt: skip
            if fields.pop("count", None) is not None:
                self.problem((*path, "count"), f"motor {name!r}: `per_agent` says how many; remove `count`.")
        elif "instruction" in given:
            self.problem((*path, "instruction"), f"vertex {name!r}: `instruction` is for motors; what other vertices "
                         "send is their `action`.")  # fmt: skip
        sends = given.get(SENDS_KEY[is_motor], sends)
        said = {**inherited, **fields, "sends": sends}
        if str(said.get("learner")).startswith(VERTEX):  # a recipe in `defaults` is for those who learn by ppo
            said = {k: v for k, v in said.items() if k in fields or k not in RECIPE or k in METHOD_RECIPE}
        recipe = Recipe(**{key: said.pop(key) for key in RECIPE if key in said})
        vertex = Vertex(name=str(name), line=self.line(path), recipe=recipe, **said)
        self.consistent(vertex, path)
        return vertex

    def consistent(self, vertex: Vertex, path: tuple[Any, ...]) -> None:
        who = f"vertex {vertex.name!r}"
        if vertex.is_motor and vertex.period != 1:
            self.problem((*path, "period"), f"{who}: a motor acts at every step; `period` is for its superiors.")
        if vertex.is_motor and not vertex.kind.trains and vertex.method is None:
            self.problem((*path, "learner"), f"{who}: a motor learns by ppo or `method:NAME`, found "
                         f"{vertex.learner!r}; what does not learn sits above the motors.")  # fmt: skip
        for key in vertex.recipe.to_data() if vertex.method is not None else ():
            if key not in METHOD_RECIPE:
                self.problem((*path, key), f"{who}: `{key}` is for vertices that learn by ppo, and its learner is "
                             f"{vertex.learner}; what that method can be told stands in `settings`.")  # fmt: skip
        if vertex.settings.items and vertex.method is None:
            self.problem((*path, "settings"), f"{who}: `settings` are those of another method; expected `learner: "
                         f"method:NAME`, found learner {vertex.learner!r}.")  # fmt: skip
        for key, instead in SAID_ELSEWHERE.items():
            if key in vertex.settings.to_data():
                self.problem((*path, "settings"), f"{who}: `settings`: {key!r} is {instead}.")
        if vertex.sends.kind == "relay" and (vertex.period != 1 or not vertex.kind.trains or vertex.delivers != "own"):
            self.problem((*path, "action"), f"{who}: `action: relay` chooses nothing; expected period 1 and no "
                         "`learner` or `delivers`.")  # fmt: skip
        if vertex.kind.noise == "with samples" and vertex.sends.kind == "discrete":
            self.problem((*path, "learner"), f"{who}: `learner: {vertex.learner}` is noise around zero; expected a "
                         "continuous `action`, found a discrete one.")  # fmt: skip
        if vertex.sends.kind == "bits" and vertex.gradient != "through":
            self.problem((*path, "gradient"), f"{who}: bits learn from the losses of those who read them; expected "
                         f"`gradient: through`, found {vertex.gradient!r} (or use {{discrete: n}}).")  # fmt: skip
        if vertex.delivers != "own" and vertex.gradient == "through":
            self.problem((*path, "delivers"), f"{who}: no gradient passes an instruction that is not delivered; "
                         f"expected `gradient: stop` with `delivers: {vertex.delivers}`.")  # fmt: skip
        if vertex.delivers != "own" and vertex.is_motor and vertex.sends.kind == "action":
            self.problem((*path, "delivers"), f"{who}: it passes on its action; expected an `instruction` of its own "
                         f"with `delivers: {vertex.delivers}`.")  # fmt: skip
        if vertex.gradient == "through":
            if not vertex.kind.trains:
                self.problem((*path, "gradient"), f"{who}: `gradient: through` needs a vertex that learns by ppo, "
                             f"found learner {vertex.learner!r}.")  # fmt: skip
            if vertex.sends.kind == "discrete":
                self.problem((*path, "gradient"), f"{who}: no gradient passes a discrete instruction; use "
                             "`{continuous: d}` or `gradient: stop`.")  # fmt: skip
        if vertex.group is not None and vertex.recipe.share in (False, "group"):
            self.problem((*path, "share"), f"{who}: `group: {vertex.group}` shares its parameters; "
                         f"expected no `share`, found {vertex.recipe.share!r}.")  # fmt: skip
        if vertex.place.kind == "agents" and not vertex.is_motor and vertex.count != len(vertex.place.agents):
            self.problem((*path, "place"), f"{who}: expected one agent per vertex ({vertex.count}), "
                         f"found {len(vertex.place.agents)}.")  # fmt: skip
        if vertex.is_motor and vertex.place.kind != "external":
            self.problem((*path, "place"), f"{who}: a motor is at its agent; remove `place`.")

    def fields(self, data: Any, path: tuple[Any, ...], owner: str, for_defaults: bool = False) -> dict[str, Any]:
        """Validated fields by their names in :class:`Vertex`, ``action`` and ``instruction`` as written."""
        if not isinstance(data, Mapping):
            self.problem(path, f"{owner}: expected a mapping of fields such as {{period: 5}}, found {_short(data)}.")
            return {}
        known = tuple(k for k in FIELDS if k != "sends")
        known = tuple(k for k in known if k not in _NOT_DEFAULT) if for_defaults else ("per_agent", *known)
        known = (*known, *RECIPE, "action") if for_defaults else (*known, *RECIPE, "action", "instruction")
        self.keys(data, known, path, owner)
        out: dict[str, Any] = {}
        for key in known:
            if key not in data:
                continue
            try:
                value = (PARSERS | RECIPE)[key](data[key])
            except Refused as refused:
                self.problem((*path, key), f"{owner}: `{key}`: expected {refused}, found {_short(data[key])}.")
                continue
            target = {"per_agent": "agents", "action": "sends" if for_defaults else "action"}.get(key, key)
            out[target] = value
            if key == "per_agent" and value is None:
                out["per_agent_false"] = True
        return out

    # -- edges -------------------------------------------------------------------------------------------

    def edges(self, data: Any, names: list[str]) -> tuple[Edge, ...]:
        if not isinstance(data, (list, tuple)):
            self.problem(("edges",), f"`edges`: expected a list such as [director -> manager], found {_short(data)}.")
            return ()
        if len(data) > MAX_EDGES:
            self.problem(("edges",), f"`edges`: expected at most {MAX_EDGES} declarations, found {len(data)}.")
            self.stop_if_problems()
        found = [self.edge(item, ("edges", i), names) for i, item in enumerate(data)]
        return tuple(e for e in found if e is not None)

    def edge(self, data: Any, path: tuple[Any, ...], names: list[str]) -> Edge | None:
        arrow: Any = data
        options: Any = {}
        inner = path
        if isinstance(data, Mapping) and len(data) == 1:
            ((arrow, options),) = data.items()
            inner = (*path, arrow)
        match = _ARROW.fullmatch(arrow) if isinstance(arrow, str) and len(arrow) < 200 else None
        if match is None or not isinstance(options, Mapping):
            self.problem(path, "expected an edge such as `director -> manager` or `director -> manager: "
                         f"{{delay: 1}}`, found {_short(data)}.")  # fmt: skip
            return None
        superior, subordinate = match[1], match[2]
        name = f"edge {superior} -> {subordinate}"
        for end in (superior, subordinate):
            if end not in names:
                near = get_close_matches(end, names, n=1, cutoff=0.4)
                guess = f"Did you mean {near[0]!r}?" if near else f"Known vertices: {', '.join(names[:20])}."
                self.problem(path, f"{name}: unknown vertex {end!r}. {guess}")
        self.keys(options, EDGE_FIELDS, inner, name)
        parsers = {"deal": deal_of, "delay": lambda v: number(v, 0, MAX_DELAY), "weight": weight_of,
                   "carry": PARSERS["carry"], "bits": lambda v: number(v, 1, MAX_BITS),
                   "drop": lambda v: finite(v, 0.0, MAX_DROP)}  # fmt: skip
        out: dict[str, Any] = {}
        for key, parser in parsers.items():
            if key not in options:
                continue
            try:
                out[key] = parser(options[key])
            except Refused as refused:
                found = _short(options[key])
                self.problem((*inner, key), f"{name}: `{key}`: expected {refused}, found {found}.")
        return Edge(superior, subordinate, line=self.line(path), **out)


def _short(value: Any) -> str:
    """A value as found, never longer than a line."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**20:
        return "a number of more than 20 digits"
    if isinstance(value, (list, tuple)) and len(value) > 8:
        return f"a list of {len(value)} entries"
    if isinstance(value, Mapping) and len(value) > 8:
        return f"a mapping of {len(value)} keys"
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
