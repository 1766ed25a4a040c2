"""Scripted policies as methods: the reference lines of every figure, runnable like any other method.

``uncoordinated`` and ``coordinated`` pick the script that the task's card names; the scripts also have
names of their own (``nearest``, ``assignment``, ``silent``, ``signal``, ``forage``, ``rally``). The VMAS
tasks have an uncoordinated script each, and few a coordinated one.

Try it: ``rlnet-bench run quick --methods uncoordinated``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.scripts import script, scripts_of
from rlnet_bench.learning.config import MethodConfig
from rlnet_bench.methods import Capabilities, Method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.policy import Policy


class Scripted(Method):
    """Base: a pure function of the observations, not trained."""

    role: ClassVar[int | None] = None  # index into scripts_of, or None for a script by its own name

    @classmethod
    def _script(cls, card: TaskCard) -> str | None:
        scripts = scripts_of(card)
        if cls.role is not None:
            return scripts[cls.role] if cls.role < len(scripts) else None
        return cls.id if cls.id in scripts else None

    @classmethod
    def impossible(cls, card: TaskCard, config: MethodConfig) -> str | None:
        """Scripts are written for single tasks."""
        if cls._script(card) is None:
            known = ", ".join(scripts_of(card))
            if known and cls.role is not None:
                return f"{card.id} has no {cls.id} script (it has {known}, which is uncoordinated)."
            return f"{card.id} has no script {cls.id!r} ({'it has ' + known if known else 'it has none'})."
        return None

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any], card: TaskCard, seeds: Sequence[int], device: str = "cpu") -> Policy:
        """From the card alone."""
        from rlnet_bench.learning.untrained import ScriptPolicy

        name = cls._script(card)
        assert name is not None
        return ScriptPolicy(script(card, name), card, len(seeds))


_UNTRAINED = Capabilities(trains=False)


@register(
    "uncoordinated",
    version=1,
    summary="the task's best script without coordination or communication",
    capabilities=_UNTRAINED,
    role=0,
)
class Uncoordinated(Scripted):
    """What each agent can do for itself."""


@register("coordinated", version=1, summary="the task's coordinated script", capabilities=_UNTRAINED, role=1)
class Coordinated(Scripted):
    """What the team can do when it plans, or signals, together."""


@register("nearest", version=1, summary="spread: everyone to its nearest landmark", capabilities=_UNTRAINED)
class Nearest(Scripted):
    """No coordination."""


@register("assignment", version=1, summary="spread: the best assignment to landmarks", capabilities=_UNTRAINED)
class Assignment(Scripted):
    """Reads everyone's observation."""


@register("silent", version=1, summary="channel tasks: best move without a message", capabilities=_UNTRAINED)
class Silent(Scripted):
    """No communication."""


@register("signal", version=1, summary="channel tasks: says the goal and decodes it", capabilities=_UNTRAINED)
class Signal(Scripted):
    """An agreed code."""


@register("forage", version=1, summary="LBF: everyone to the nearest food it could load", capabilities=_UNTRAINED)
class Forage(Scripted):
    """No coordination."""


@register("rally", version=1, summary="LBF: the whole team to one food at a time", capabilities=_UNTRAINED)
class Rally(Scripted):
    """Reads the field from everyone's observations."""
