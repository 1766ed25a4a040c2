"""Networks by name, by file and by Python. Imports without torch.

>>> spec = (
...     Network("bridged")
...     .vertex("director", action=continuous(8), period=5)
...     .vertex("manager", count=2, message=learned(16))
...     .motors("motor")
...     .edge("director", "manager")
...     .edge("manager", "motor", deal="balanced")
...     .edge("director", "motor")
...     .build()
... )
>>> spec == NetworkSpec.from_yaml(spec.to_yaml())
True
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.errors import BadInput, UnknownName
from rlnet_bench.networks.parse import parse_document, parse_json
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.networks.zoo_files import FOLDER, zoo_text
from rlnet_bench.reading.yaml import load

_ZOO = "zoo/"


def continuous(width: int, *, per_subordinate: bool = False) -> dict[str, Any]:
    """An ``action`` or ``instruction`` of ``width`` numbers."""
    return {"continuous": width, **({"per_subordinate": True} if per_subordinate else {})}


def discrete(options: int, *, per_subordinate: bool = False) -> dict[str, Any]:
    """An ``action`` or ``instruction`` that is one of ``options``."""
    return {"discrete": options, **({"per_subordinate": True} if per_subordinate else {})}


def bits(count: int, *, per_subordinate: bool = False) -> dict[str, Any]:
    """An ``action`` or ``instruction`` of ``count`` bits, for ``gradient="through"``."""
    return {"bits": count, **({"per_subordinate": True} if per_subordinate else {})}


def learned(width: int) -> dict[str, Any]:
    """A learned ``message`` of ``width`` numbers."""
    return {"learned": width}


class Network:
    """Builds a :class:`NetworkSpec` step by step; the fields are those of the YAML language."""

    def __init__(self, name: str, description: str = "", **defaults: Any) -> None:
        """``defaults`` are the fields of the YAML block of that name, such as ``hidden=[32]``."""
        self._data: dict[str, Any] = {"name": name, "vertices": {}, "edges": [], "defaults": defaults}
        if description:
            self._data["description"] = description

    def vertex(self, name: str, **fields: Any) -> Network:
        """Add a vertex (or ``count`` of them)."""
        if name in self._data["vertices"]:
            raise BadInput(f"network {self._data['name']}: vertex {name!r} is declared twice.")
        self._data["vertices"][name] = fields
        return self

    def motors(self, name: str = "motor", agents: Any = True, **fields: Any) -> Network:
        """Add one motor per agent; ``agents`` may be a list of agents or ``"rest"``."""
        return self.vertex(name, per_agent=agents, **fields)

    def edge(self, superior: str, subordinate: str, **options: Any) -> Network:
        """Add an edge from a superior to a subordinate."""
        name = f"{superior} -> {subordinate}"
        self._data["edges"].append({name: options} if options else name)
        return self

    def build(self) -> NetworkSpec:
        """The specification.

        Raises:
            BadInput: as for YAML, without lines.
        """
        return parse_json(self._data)


def zoo_ids() -> list[str]:
    """Every network that comes with the package, as ``zoo/NAME``."""
    return sorted(_ZOO + f.name.removesuffix(".yaml") for f in FOLDER.iterdir() if f.name.endswith(".yaml"))


def load_network(name: str | Path) -> NetworkSpec:
    """A network by zoo id (``zoo/NAME``) or from a YAML file.

    Raises:
        UnknownName: with the nearest zoo id.
        BadInput: with file, line, vertices and what was expected.
    """
    text = str(name)
    if text in zoo_ids():
        return parse_document(load(zoo_text(text.removeprefix(_ZOO)), f"{text}.yaml"))
    if text.endswith((".yaml", ".yml")):
        return NetworkSpec.from_yaml(Path(text))
    raise UnknownName("network", text, zoo_ids(), "Expected a zoo id (`rlnet-bench list networks`) or a YAML file.")


def nominal_card(agents: int = 3, observation: int = 8, actions: int = 5) -> TaskCard:
    """A stand-in for a task: ``agents`` alike, each observing ``observation`` numbers, with discrete actions."""
    return TaskCard(
        id=f"any task with {agents} agents",
        family="none",
        faithful_to="",
        description="a stand-in to look at a network without a task",
        constructor={},
        agents=tuple(f"agent_{i}" for i in range(agents)),
        horizon=1,
        action_kind="discrete",
        action_sizes=(actions,) * agents,
        observation_sizes=(observation,) * agents,
        state_size=agents * observation,
        state="concat",
        reward_scale="",
        shared_reward=True,
        success_metric="",
        floor=0.0,
    )
