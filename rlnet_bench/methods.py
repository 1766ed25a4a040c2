"""What a method is, and how one is found by name. Importing this module does not import torch.

A method is a class with an id, an integer version, a frozen configuration class and capabilities. It
is registered by the decorator :func:`register` in its own file: any module of ``rlnet_bench.baselines``,
of the entry point group ``rlnet_bench.methods``, or a file of yours named ``path/to/file.py:ClassName``.
Heavy imports belong inside :meth:`Method.learner_class`, so that planning stays fast.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ValidationError

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.errors import BadInput, ImpossibleCell, UnknownName
from rlnet_bench.learning.config import MethodConfig
from rlnet_bench.trust import PREFIX, Code, attribute, demand, is_file, load
from rlnet_bench.vocabulary import TrainingClass, TrainingReward

if TYPE_CHECKING:
    from rlnet_bench.learning.learner import Learner
    from rlnet_bench.learning.policy import Policy


@dataclass(frozen=True)
class Capabilities:
    """What tasks a method can run on, and what it is."""

    discrete: bool = True
    continuous: bool = True
    heterogeneous: bool = True  # agents with observations or actions of different sizes
    trains: bool = True  # False: a control or a script, evaluated once


# A ring wraps after 16 steps, the warm-up ends within 2 iterations, targets are updated, sequences are short.
SMALL: Mapping[str, Any] = {
    "num_envs": 4, "rollout_steps": 10, "epochs": 2, "minibatches": 2, "hidden": (8,), "critic_hidden": (8,),
    "mixer_hidden": 8, "hyper_hidden": 8, "batch_size": 8, "buffer_size": 64, "learning_starts": 48,
    "updates_per_iteration": 2, "target_every": 2, "sequence_length": 4, "burn_in": 2,
}  # fmt: skip


class Method:
    """Base of every method; subclass it, set the class attributes, write :meth:`learner_class`."""

    id: ClassVar[str]
    version: ClassVar[int]
    summary: ClassVar[str] = ""
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    capabilities: ClassVar[Capabilities] = Capabilities()
    training: ClassVar[TrainingClass] = "none"
    citation: ClassVar[str] = ""  # a key of the bibliography
    source_hash: ClassVar[str] = ""  # set for methods given by path: their source is part of the run id

    @classmethod
    def impossible(cls, card: TaskCard, config: MethodConfig) -> str | None:
        """Why this method cannot run on a task, as a sentence; None when it can."""
        if card.action_kind == "discrete" and not cls.capabilities.discrete:
            return f"{cls.id} needs continuous actions, and {card.id} has discrete ones."
        if card.action_kind == "continuous" and not cls.capabilities.continuous:
            return f"{cls.id} needs discrete actions, and {card.id} has continuous ones."
        if not card.homogeneous and not cls.capabilities.heterogeneous:
            return f"{cls.id} needs agents of one kind, and those of {card.id} differ."
        return config.refuses(card)

    @classmethod
    def training_class(cls, config: Any) -> TrainingClass:
        """Whose knowledge flows where while learning, with these settings."""
        return cls.training

    @classmethod
    def uses(cls, config: Any) -> dict[str, str]:
        """Other methods that train within it with these settings, with their versions: part of a run's identity."""
        return {}

    @classmethod
    def warmup_frames(cls, card: TaskCard, config: Any) -> int:
        """Frames per seed before everything in it learns."""
        frames: int = config.warmup_frames
        return frames

    @classmethod
    def memory_bytes(cls, card: TaskCard, config: Any, replicas: int) -> int:
        """Bytes that a learner of so many replicas sets aside and fills as it goes (a replay)."""
        size: int = config.memory_bytes(card, replicas)
        return size

    @classmethod
    def small(cls) -> dict[str, Any]:
        """Settings with which ``check_method`` sees all that the method does within a few hundred frames.

        Those of :data:`SMALL` that the method has; one with settings of its own that matter adds them.
        """
        return {name: value for name, value in SMALL.items() if name in cls.Config.model_fields}

    @classmethod
    def learner_class(cls) -> Any:
        """The class of the learner, made from (env, seeds, config, *, training_reward, total_frames).

        Import what is heavy in here: planning needs no torch.
        """
        raise NotImplementedError(f"{cls.__name__} needs learner_class() or learner()")

    @classmethod
    def learner(
        cls,
        card: TaskCard,
        config: Any,
        seeds: tuple[int, ...],
        *,
        total_frames: int,
        training_reward: TrainingReward,
        device: str = "cpu",
    ) -> Learner:
        """Build a fresh learner for the replicas ``seeds``, environments included (``config.num_envs`` each).

        Of a method that does not train, the policy that it rebuilds from nothing.
        """
        from rlnet_bench.envs.registry import make_env
        from rlnet_bench.learning.untrained import UntrainedLearner

        if not cls.capabilities.trains:
            return UntrainedLearner(cls.rebuild({}, card, seeds, device))
        env = make_env(card, len(seeds) * config.num_envs, device)
        made: Learner = cls.learner_class()(
            env, seeds, config, training_reward=training_reward, total_frames=total_frames
        )
        return made

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any], card: TaskCard, seeds: Sequence[int], device: str = "cpu") -> Policy:
        """A policy from the plain data of its ``spec()``, for the replicas ``seeds``; its weights are loaded into it.

        A method whose policies are of another kind than ``actor`` (on-policy), ``q`` (value-based) and ``head``
        (off-policy actor-critics) writes its own.

        Raises:
            BadInput: for a kind of policy that the method does not know.
        """
        from rlnet_bench.learning.off_policy_actor_critic import HeadPolicy
        from rlnet_bench.learning.policy import ActorPolicy
        from rlnet_bench.learning.q_learning import QPolicy

        kinds: dict[Any, type[ActorPolicy | QPolicy | HeadPolicy]]
        kinds = {"actor": ActorPolicy, "q": QPolicy, "head": HeadPolicy}
        if spec.get("kind") not in kinds:
            raise BadInput(
                f"{cls.id}: cannot rebuild a policy of kind {spec.get('kind')!r}; a method with policies of its own "
                "defines the class method `rebuild(spec, card, seeds, device)`."
            )
        return kinds[spec["kind"]].rebuild(spec, card, seeds, device)

    @classmethod
    def configure(cls, overrides: dict[str, Any], where: str = "") -> MethodConfig:
        """The configuration with overrides.

        Raises:
            BadInput: naming the key, what was expected and what was found.
        """
        try:
            # As JSON, in which a stored list is a tuple again; everything else stays strict.
            return cls.Config.model_validate_json(json.dumps(overrides))
        except TypeError as error:
            raise BadInput(f"{where}{cls.id}: expected plain values ({error}).") from None
        except ValidationError as error:
            raise BadInput(f"{where}{cls.id}: {explain(error, cls.Config)}") from None


def explain(error: ValidationError, model: Any = None) -> str:
    """A pydantic error as sentences: key, what was expected, what was found, nearest key."""
    from difflib import get_close_matches

    sentences = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "(top level)"
        if item["type"] == "extra_forbidden":
            known = list(getattr(model, "model_fields", {}))
            near = get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
            guess = f" Did you mean {near[0]!r}?" if near else f" Known keys: {', '.join(known)}." if known else ""
            sentences.append(f"unknown key {key!r}.{guess}")
        elif item["type"] == "missing":
            sentences.append(f"key {key!r} is required and missing.")
        elif item["type"] == "string_pattern_mismatch":
            field = getattr(model, "model_fields", {}).get(str(item["loc"][-1]))
            words = getattr(field, "description", None) or f"text of the form {item['ctx']['pattern']}"
            sentences.append(f"{key}: expected {words}, found {item['input']!r:.80}.")
        else:
            text = (item["msg"][0].lower() + item["msg"][1:]).removeprefix("value error, ")
            found = f", found {item.get('input')!r:.80}" if item["loc"] else ""  # not the whole document
            sentences.append(f"{key}: {text}{found}.")
    return " ".join(sentences)


_REGISTRY: dict[str, type[Method]] = {}


def register(id: str, *, version: int, summary: str, **attributes: Any) -> Any:
    """Class decorator that puts a :class:`Method` into the catalogue.

    Args:
        id: the name used in suites.
        version: an integer; raise it whenever the method's numbers change.
        summary: one line for ``list methods``.
        attributes: further class attributes (``capabilities``, ``training``, ``citation``, ``Config``).
    """

    def decorate(cls: type[Method]) -> type[Method]:
        known = _REGISTRY.get(id)
        foreign = cls.__module__.startswith(PREFIX)  # of a file that was named: used by that name, never catalogued
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise BadInput(f"method id {id!r} is taken by {known.__module__}.{known.__qualname__}.")
        for name, value in {"id": id, "version": version, "summary": summary, **attributes}.items():
            setattr(cls, name, value)
        if not foreign:
            _REGISTRY[id] = cls
        return cls

    return decorate


@cache
def _discover() -> None:
    baselines = importlib.import_module("rlnet_bench.baselines")
    for info in pkgutil.iter_modules(baselines.__path__):
        importlib.import_module(f"rlnet_bench.baselines.{info.name}")
    for entry in entry_points(group="rlnet_bench.methods"):
        entry.load()


def method_ids() -> list[str]:
    """Every catalogued method, sorted."""
    _discover()
    return sorted(name for name in _REGISTRY if ":" not in name)


def find_method(name: str, source: str = "") -> type[Method]:
    """A method class by id, or by ``path/to/file.py:ClassName`` where that is trusted (:mod:`rlnet_bench.trust`).

    Args:
        name: an id, or a file and a class.
        source: the recorded beginning of the file's sha256; then its folder does not matter.

    Raises:
        UnknownName: with the nearest id.
        Untrusted: instead of importing a file that nobody trusted.
        BadInput: when a path does not hold a Method.
    """
    if is_file(name):
        return _from_code(demand(name, source))
    _discover()
    if name not in _REGISTRY:
        own = "a method of yours is FILE.py:CLASS, a network --network FILE.yaml."
        raise UnknownName("method", name, method_ids(), hint=f"`rlnet-bench list methods` shows all; {own}")
    return _REGISTRY[name]


def catalogued(name: str) -> type[Method] | None:
    """The method of an id, if the catalogue has it; no code is imported but what is installed."""
    _discover()
    return _REGISTRY.get(name)


@cache
def _from_code(code: Code) -> type[Method]:
    _discover()  # the catalogue's ids are taken, whoever comes first
    module, name = load(code), attribute(code.name)
    method = getattr(module, name, None)
    if not (isinstance(method, type) and issubclass(method, Method)):
        classes = [
            k for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, Method) and v is not Method
        ]
        raise BadInput(f"method {code.name!r}: {name!r} is not a Method in {code.path}; found {classes or 'none'}.")
    if not hasattr(method, "id"):
        register(name.lower(), version=1, summary=f"user method from {Path(code.path).name}")(method)
    method.source_hash = code.sha256[:16]
    return method


def check_possible(method: type[Method], card: TaskCard, config: MethodConfig) -> None:
    """Raise ImpossibleCell with the reason when a method cannot run on a task."""
    reason = method.impossible(card, config)
    if reason:
        raise ImpossibleCell(
            f"impossible cell {method.id} x {card.id}: {reason} Remove one, or say `only: [TASK, ...]`."
        )
