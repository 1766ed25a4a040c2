"""A Reinforcement Network as a method: trained, recorded and compared like any other. Imports without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from json import dumps, loads
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.errors import BadInput
from rlnet_bench.learning.config import MethodConfig, Positive, PpoConfig
from rlnet_bench.learning.learner import Learner
from rlnet_bench.methods import Method, catalogued, find_method
from rlnet_bench.networks.build import load_network
from rlnet_bench.networks.graph import expand
from rlnet_bench.networks.parse import SAID_ELSEWHERE
from rlnet_bench.networks.refuse import unsupported
from rlnet_bench.networks.spec import NetworkSpec
from rlnet_bench.networks.tenancy import Tenancy, is_hosted, settings_of, tenancies, unsettled, versions
from rlnet_bench.vocabulary import TrainingClass, TrainingReward

if TYPE_CHECKING:
    from rlnet_bench.learning.policy import Policy

VERSION = 3  # of training and execution; raise it whenever a network's numbers change


class NetworkConfig(PpoConfig):
    """PPO at every vertex: the settings of :class:`~rlnet_bench.learning.config.PpoConfig`, on equal footing."""

    share_parameters: bool = True
    """One set of parameters for all motors that look alike (told apart by a one-hot id), or one per motor, as for
    the agents of every method. Other vertices, and motors by declaration, say ``share`` or ``group``."""
    changes: Mapping[str, Any] = Field(default_factory=dict)
    """What differs from the network's file: ``VERTEX.FIELD`` and ``SUPERIOR -> SUBORDINATE.OPTION`` by value. Written
    beside the other settings, as ``director.learning_rate: 1e-4``."""
    observe: Literal["own"] = "own"
    """A motor reads its own observation; what else it learns comes over edges."""
    memory: Literal["none"] = "none"
    """A vertex remembers where the network's file says so."""
    hidden: tuple[Positive, ...] | None = None  # type: ignore[assignment]
    """None: as the network's file says, vertex by vertex."""
    critic_hidden: tuple[Positive, ...] | None = None  # type: ignore[assignment]
    """None: as wide as the vertex's policy."""


class NetworkMethod(Method):
    """Base of the classes that :func:`network_method` makes, one per network."""

    Config = NetworkConfig
    version = VERSION
    spec: NetworkSpec

    @classmethod
    def configure(cls, overrides: dict[str, Any], where: str = "") -> MethodConfig:
        """The configuration with overrides; names with a dot change the network's file.

        Raises:
            BadInput: naming key or vertex, what was expected and what was found.
        """
        own = {key: value for key, value in overrides.items() if "." not in key}
        changes = {key: value for key, value in overrides.items() if "." in key}
        if changes:
            own["changes"] = {**own.get("changes", {}), **changes}
        config = super().configure(own, where)
        spec = cls.network(config, where)
        for v in spec.vertices:
            if v.method is not None and (method := catalogued(v.method)) and is_hosted(method):
                settings_of(spec, v, cast("NetworkConfig", config), where)
        return config

    @classmethod
    def network(cls, config: Any, where: str = "") -> NetworkSpec:
        """The network with what the settings change of it; raises BadInput naming vertex, expected and found."""
        return changed(cls.spec, config.changes, where)

    @classmethod
    def training_class(cls, config: Any) -> TrainingClass:
        """Whose knowledge flows where while learning."""
        return _training(cls.network(config), find_method)

    @classmethod
    def impossible(cls, card: TaskCard, config: Any) -> str | None:
        """Why this network cannot be trained on a task, naming the vertex; None when it can."""
        reason = super().impossible(card, config)
        if reason is None:
            try:
                graph = expand(cls.network(config), card)
                reason = unsupported(graph) or unsettled(graph, config) or cls._too_small(config)
            except BadInput as error:
                reason = str(error)
        return reason

    @classmethod
    def uses(cls, config: Any) -> dict[str, str]:
        """Methods at its vertices."""
        return versions(cls.network(config))

    @classmethod
    def warmup_frames(cls, card: TaskCard, config: Any) -> int:
        """The longest of the methods at its vertices."""
        return max((t.config.warmup(t.vertex.period) for t in cls._tenancies(card, config)), default=0)

    @classmethod
    def memory_bytes(cls, card: TaskCard, config: Any, replicas: int) -> int:
        """The replays of the methods at its vertices."""
        return sum(t.config.memory_bytes(t.card, replicas) for t in cls._tenancies(card, config))

    @classmethod
    def _tenancies(cls, card: TaskCard, config: Any) -> Iterator[Tenancy]:
        spec = cls.network(config)
        return tenancies(expand(spec, card), config) if any(v.method for v in spec.vertices) else iter(())

    @classmethod
    def small(cls) -> dict[str, Any]:
        """Small settings of the methods at its vertices, too, and narrow models."""
        found = {**super().small(), **_models().SMALL.get(cls.spec.model, {})}
        for v in cls.spec.vertices:
            if v.method is not None:
                own = find_method(v.method).small()
                found[f"{v.name}.settings"] = v.settings.to_data() | {k: own[k] for k in own if k not in SAID_ELSEWHERE}
        return found

    @classmethod
    def _too_small(cls, config: NetworkConfig) -> str | None:
        """Settings that leave a recurrent vertex nothing to learn from or remember with, or blur entities."""
        if cls.spec.model:
            return _models().unfit(cls.network(config), config)
        for v in cls.network(config).vertices:
            if v.recipe.encoder == "entities" and config.normalise_observation != "none":
                found = config.normalise_observation
                return (f"{cls.spec.where(v.line)}vertex {v.name!r}: `encoder: entities` reads observations as they "
                        f"are; expected normalise_observation: none, found {found}.")  # fmt: skip
            head = f"{cls.spec.where(v.line)}vertex {v.name!r}: `memory: gru` "
            if v.memory == "gru" and v.method is None and config.minibatches > config.num_envs:
                return (f"{head}learns from whole rollouts of environments, so that num_envs must be at least "
                        f"minibatches = {config.minibatches}, found {config.num_envs}.")  # fmt: skip
            if v.memory == "gru" and v.method is None and () in (config.hidden, config.critic_hidden):
                return f"{head}needs at least one hidden layer; the settings say hidden or critic_hidden = ()."
        return None

    @classmethod
    def learner(
        cls,
        card: TaskCard,
        config: NetworkConfig,
        seeds: tuple[int, ...],
        *,
        total_frames: int,
        training_reward: TrainingReward,
        device: str = "cpu",
    ) -> Learner:
        """PPO at every vertex."""
        from rlnet_bench.envs.registry import make_env

        graph = expand(cls.network(config), card)
        reason = unsupported(graph) or unsettled(graph, config) or cls._too_small(config)
        if reason:
            raise BadInput(reason)
        env = make_env(card, len(seeds) * config.num_envs, device)
        made: Learner = cls.learner_class()(
            env, seeds, graph, config, training_reward=training_reward, total_frames=total_frames
        )
        return made

    @classmethod
    def learner_class(cls) -> Any:
        """The learner, made from (env, seeds, graph, config, *, training_reward, total_frames)."""
        if cls.spec.model:
            return _models().module(cls.spec.model).Learner
        from rlnet_bench.networks.learner import NetworkLearner

        return NetworkLearner

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any], card: TaskCard, seeds: Sequence[int], device: str = "cpu") -> Policy:
        """A network around its weights."""
        if cls.spec.model:
            made: Policy = cls.learner_class().rebuild(spec, card, seeds, device)
            return made
        from rlnet_bench.networks.policy import NetworkPolicy

        return NetworkPolicy.rebuild(spec, card, seeds, device)


def _models() -> Any:
    """Of networks in one piece; their settings are more than those above."""
    from rlnet_bench.networks import models

    return models


def changed(spec: NetworkSpec, changes: Mapping[str, Any], where: str = "") -> NetworkSpec:
    """A network with some fields of its vertices and edges replaced.

    Args:
        spec: the network.
        changes: values by ``VERTEX.FIELD`` or ``SUPERIOR -> SUBORDINATE.OPTION``; any but those that say which
            vertices there are.
        where: in front of errors.

    Raises:
        BadInput: naming the key, or the vertex, what was expected and what was found.
    """
    if not changes:
        return spec
    data = spec.to_json()
    vertices = {v["name"]: v for v in data["vertices"]}
    edges = [e if isinstance(e, dict) else {e: {}} for e in data["edges"]]
    options = {name: held for e in edges for name, held in e.items()}
    for key, value in changes.items():
        owner, _, name = key.rpartition(".")
        owner, _, inner = owner.rpartition(".") if owner.endswith(".settings") else (owner, "", "")
        owner = " -> ".join(part.strip() for part in owner.split("->"))
        known = vertices | options
        if owner not in known:
            near = get_close_matches(owner, known, n=1, cutoff=0.4)
            guess = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(list(known)[:20])}."
            raise BadInput(f"{where}network {spec.name}: {key!r} names no vertex or edge. {guess}")
        if name in ("count", "per_agent", "place", "name", "deal"):
            raise BadInput(f"{where}network {spec.name}: {key!r} would change which vertices there are or where; "
                           "write a network of your own for that (`rlnet-bench new network`).")  # fmt: skip
        if inner:
            known[owner][inner] = {**known[owner].get(inner, {}), name: value}
        else:
            known[owner][name] = value
    data["edges"] = [e if next(iter(e.values())) else next(iter(e)) for e in edges]
    try:
        return NetworkSpec.from_json(data)
    except BadInput as error:
        raise BadInput(f"{where}{error}") from None


def network_method(name: str) -> tuple[type[Method], dict[str, Any]]:
    """The method of a network by zoo id (``zoo/NAME``) or YAML file, and the network as plain data.

    Raises:
        UnknownName: with the nearest zoo id.
        BadInput: with file, line, vertices and what was expected.
    """
    spec = load_network(name)
    data = spec.to_json()
    method = method_from_json(data)
    method.spec = spec  # equal, and it knows its lines
    return method, data


def method_from_json(data: Mapping[str, Any]) -> type[NetworkMethod]:
    """The method of a network from :meth:`NetworkSpec.to_json`; equal data give the same class."""
    return _made(dumps(data, sort_keys=True))


@cache
def _made(text: str) -> type[NetworkMethod]:
    from rlnet_bench.networks.build import zoo_ids

    spec = NetworkSpec.from_json(loads(text))
    zoo = f"zoo/{spec.name}"
    known = zoo in zoo_ids() and load_network(zoo) == spec
    attributes = {
        "id": zoo if known else f"network/{spec.name}",
        "summary": spec.description or f"a Reinforcement Network of {len(spec.vertices)} declarations",
        "training": _training(spec, catalogued),
        "spec": spec,
        "Config": _models().CONFIGS[spec.model] if spec.model else NetworkConfig,
        "__doc__": f"The Reinforcement Network {spec.name}.",
    }
    return type("NetworkMethod_" + "".join(c if c.isalnum() else "_" for c in spec.name), (NetworkMethod,), attributes)


def _training(spec: NetworkSpec, find: Callable[[str], type[Method] | None]) -> TrainingClass:
    """Training class: whose knowledge flows where while learning; a method that is not found may do all."""
    methods = {find(v.method) for v in spec.vertices if v.method is not None}
    found = {"gradients across agents" if method is None else method.training for method in methods}
    if any(v.gradient == "through" for v in spec.vertices) or "gradients across agents" in found:
        return "gradients across agents"
    if any(v.critic != "local" or v.is_taught for v in spec.vertices) or "centralised critic" in found:
        return "centralised critic"
    return "independent"
