"""The specification of a Reinforcement Network: frozen data, no torch, no behaviour beyond printing itself.

A *vertex* here is a declaration: it stands for ``count`` vertices of the graph, or for one motor per agent.
:func:`rlnet_bench.networks.graph.expand` turns a specification into the graph of one task. Every field,
its default and its allowed values are explained in ``docs/networks.md``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from rlnet_bench.networks.vertex_kinds import VertexKind, kind_of
from rlnet_bench.trust import VERTEX

WIDTH_CAP = 65_536  # numbers in any message, instruction or input
MAX_VERTICES = 256  # declarations in one file
MAX_EDGES = 4_096  # declarations in one file
MAX_COUNT = 512  # vertices of the expanded graph, see graph.py
MAX_PERIOD = 10_000
MAX_DELAY = 1_000

Critic = Literal["local", "subtree", "global"]
Gradient = Literal["stop", "through"]
MODELS = ("cmat", "learned-graph")  # what is trained as one piece, see shape.py
Reward = Literal["mean", "sum", "team", "difference", "superior_advantage"]


@dataclass(frozen=True)
class Sends:
    """What a vertex sends down: ``size`` numbers (continuous), one of ``size`` options (discrete) or ``size`` bits.

    ``bits`` are trained by those who read them, who are told shades of them until the network is evaluated. ``action``
    is a motor's own environment action, whose size the task knows; ``none`` sends nothing; ``relay`` passes on what the
    vertex sees from below; ``graph`` tells every subordinate whom of the others it hears. ``per_subordinate`` gives
    every subordinate its own instead of one for all.
    """

    kind: Literal["none", "continuous", "discrete", "bits", "action", "relay", "graph"]
    size: int = 0
    per_subordinate: bool = False

    @property
    def is_chosen(self) -> bool:
        """The vertex makes it for its subordinates: neither its environment action nor what it sees from below."""
        return self.kind in ("continuous", "discrete", "bits")

    def to_data(self) -> Any:
        """As written in YAML."""
        if self.kind in ("none", "action", "relay", "graph"):
            return self.kind
        return {self.kind: self.size, **({"per_subordinate": True} if self.per_subordinate else {})}


@dataclass(frozen=True)
class Message:
    """What a vertex returns to its superiors; ``width`` belongs to ``learned``."""

    kind: Literal["identity", "learned", "mean", "none"]
    width: int = 0

    def to_data(self) -> Any:
        """As written in YAML."""
        return {"learned": self.width} if self.kind == "learned" else self.kind


@dataclass(frozen=True)
class Place:
    """Where a vertex computes: by itself (``external``), at an agent, or at a named site."""

    kind: Literal["external", "agent", "agents", "site"] = "external"
    agents: tuple[int | str, ...] = ()
    site: str = ""

    def to_data(self) -> Any:
        """As written in YAML."""
        if self.kind == "agents":
            return {"agents": list(self.agents)}
        return {"site": self.site} if self.kind == "site" else self.kind


@dataclass(frozen=True)
class Recipe:
    """What a declaration says; None: as the settings of the run say, see
    :func:`rlnet_bench.networks.recipe.settled`."""

    learning_rate: float | None = None
    """Of its policy, critic and messages."""
    entropy: float | None = None
    """Weight of the entropy bonus."""
    log_std: float | None = None
    """Of its Gaussian instructions (and of a motor's continuous action) before training."""
    epochs: int | None = None
    """Passes over a rollout."""
    clip: float | None = None
    """Half width of the trust region."""
    target_kl: float | None = None
    """Its policy stops learning from a rollout once it has moved that far."""
    share: bool | Literal["group"] | None = None
    """One set of parameters for its members that look alike; ``group``: for those with the same superiors."""
    encoder: Literal["plain", "entities"] | None = None
    """How it reads: plain numbers, or entities, of which there may be any number."""
    instruction_gain: float | None = None
    """Multiplies the first weights that read instructions, before training."""

    def to_data(self) -> dict[str, Any]:
        """What is said, as written in YAML."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


_OPEN = Recipe()


@dataclass(frozen=True)
class Settings:
    """What a declaration says to the method at its vertices: (name, value) pairs in order of their names."""

    items: tuple[tuple[str, Any], ...] = ()

    def to_data(self) -> dict[str, Any]:
        """As written in YAML."""
        return {name: _plain(value) for name, value in self.items}


@dataclass(frozen=True)
class Vertex:
    """One declaration. ``agents`` is None for a non-motor; else which agents get a motor of this kind."""

    name: str
    count: int | Literal["agents"] = 1
    agents: Literal["all", "rest"] | tuple[int | str, ...] | None = None
    sends: Sends = Sends("continuous", 8)
    period: int = 1
    message: Message = Message("identity")
    critic: Critic = "local"
    group: str | None = None
    place: Place = Place()
    learner: str = "ppo"
    settings: Settings = Settings()
    memory: Literal["none", "gru"] = "none"
    hidden: tuple[int, ...] = (64, 64)
    gradient: Gradient = "stop"
    reward: Reward = "mean"
    advantage: Literal["own", "superiors"] = "own"
    evaluation: Literal["own", "shuffled"] = "own"
    delivers: Literal["own", "shuffled", "constant"] = "own"
    recipe: Recipe = _OPEN
    line: int = field(default=0, compare=False, repr=False)

    @property
    def is_motor(self) -> bool:
        """It acts on the environment."""
        return self.agents is not None

    @property
    def kind(self) -> VertexKind:
        """What its learner word means."""
        return kind_of(self.learner)

    @property
    def method(self) -> str | None:
        """The other method that it learns by, if any."""
        return self.learner.removeprefix(VERTEX) if self.learner.startswith(VERTEX) else None

    @property
    def is_taught(self) -> bool:
        """It learns from its superiors' advantages: they replace half of its own, or are its reward."""
        return self.advantage == "superiors" or self.reward == "superior_advantage"

    def to_data(self) -> dict[str, Any]:
        """What differs from the defaults, as written in YAML."""
        blank = Vertex("", agents="all", sends=Sends("action")) if self.is_motor else Vertex("")
        out: dict[str, Any] = {}
        if self.is_motor:
            out["per_agent"] = True if self.agents == "all" else _plain(self.agents)
        for key in FIELDS:
            value = getattr(self, key)
            if value != getattr(blank, key):
                out[SENDS_KEY[self.is_motor] if key == "sends" else key] = _plain(value)
        return out | self.recipe.to_data()


FIELDS = (
    "count", "sends", "period", "message", "critic", "group", "place", "learner", "settings", "memory", "hidden",
    "gradient", "reward", "advantage", "evaluation", "delivers",
)  # fmt: skip
SENDS_KEY = {True: "instruction", False: "action"}

EDGE_FIELDS = ("deal", "delay", "weight", "carry", "bits", "drop")
Deal = Literal["all-to-all", "balanced", "others", "chain", "order", "learned"] | tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Edge:
    """From a superior declaration to a subordinate one; ``deal`` says which members are joined.

    ``weight`` multiplies the instruction: a fixed number, ``learned``, or ``sparse`` (learned, and annealed
    to 0 or 1 by the end of training). ``bits`` per number that goes over it (None: as it is), ``drop`` the probability
    that nothing arrives in a step.
    """

    superior: str
    subordinate: str
    deal: Deal = "all-to-all"
    delay: int = 0
    weight: float | Literal["learned", "sparse"] = 1.0
    carry: Literal["both", "messages", "instructions"] = "both"
    bits: int | None = None
    drop: float = 0.0
    line: int = field(default=0, compare=False, repr=False)

    @property
    def name(self) -> str:
        """``superior -> subordinate``."""
        return f"{self.superior} -> {self.subordinate}"

    def to_data(self) -> Any:
        """As written in YAML: the arrow alone, or the arrow with what differs from the defaults."""
        blank = Edge("", "")
        options = {key: _plain(getattr(self, key)) for key in EDGE_FIELDS if getattr(self, key) != getattr(blank, key)}
        return {self.name: options} if options else self.name


@dataclass(frozen=True)
class NetworkSpec:
    """A model for any number of agents. Equal specifications mean the same model.

    ``model``: one of :data:`MODELS`, whose vertices are parts of one network of the team; the graph says what is told.
    """

    name: str
    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...] = ()
    description: str = ""
    model: str = ""
    source: str = field(default="", compare=False, repr=False)

    @classmethod
    def from_yaml(cls, source: Path | str) -> NetworkSpec:
        """Read a file (``Path``) or YAML text (``str``).

        Raises:
            BadInput: naming file, line, vertices, what was expected and what was found.
        """
        from rlnet_bench.networks.parse import parse_yaml

        return parse_yaml(source)

    @classmethod
    def from_json(cls, data: Any) -> NetworkSpec:
        """Inverse of :meth:`to_json`.

        Raises:
            BadInput: as :meth:`from_yaml`.
        """
        from rlnet_bench.networks.parse import parse_json

        return parse_json(data)

    def vertex(self, name: str) -> Vertex:
        """A declaration by name."""
        return next(v for v in self.vertices if v.name == name)

    def where(self, line: int) -> str:
        """``file:line: `` in front of an error, or the network's name where there is no file."""
        return f"{self.source}:{line}: " if self.source and line else f"network {self.name}: "

    def to_json(self) -> dict[str, Any]:
        """Plain data in which the order of declarations survives sorting of keys."""
        edges = [e.to_data() for e in self.edges]
        return {
            "name": self.name,
            "description": self.description,
            **({"model": self.model} if self.model else {}),
            "vertices": [{"name": v.name, **v.to_data()} for v in self.vertices],
            "edges": edges,
        }

    def to_yaml(self) -> str:
        """YAML text that reads back as an equal specification."""
        lines = [f"name: {_flow(self.name)}"]
        if self.description:
            lines.append(f"description: {_words(self.description)}")
        if self.model:
            lines.append(f"model: {self.model}")
        lines.append("vertices:")
        lines += [f"  {_flow(v.name)}: {_flow(v.to_data())}" for v in self.vertices]
        if self.edges:
            lines.append("edges:")
            for edge in self.edges:
                data = edge.to_data()
                options = f": {_flow(data[edge.name])}" if isinstance(data, dict) else ""
                lines.append(f"  - {_flow(edge.name)}{options}")
        return "\n".join(lines) + "\n"

    def digest(self) -> str:
        """16 hex digits over everything but the name and the description."""
        content = {k: v for k, v in self.to_json().items() if k not in ("name", "description")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if hasattr(value, "to_data"):
        return value.to_data()
    return [_plain(x) for x in value] if isinstance(value, tuple) else value


def _flow(value: Any) -> str:
    """One line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"), allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _words(text: str) -> str:
    """Free text on one line of YAML; whatever does not print is escaped."""
    if text.isprintable():
        return _flow(text)
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
