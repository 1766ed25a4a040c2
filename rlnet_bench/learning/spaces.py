"""Search spaces: what ``tune`` tries, one per family of algorithms. Data, in one place. Imports without torch.

A family is all methods whose configuration is of one class: everybody's methods, networks included. All of a family
search the same space, so that none has more to find than its rivals; what only some of them have is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlnet_bench.learning.config import ActorCriticConfig, MethodConfig, OnPolicyConfig, QConfig
from rlnet_bench.vocabulary import Mode


@dataclass(frozen=True)
class Space:
    """A grid of settings: the choices of each, by name."""

    family: str
    config: type[MethodConfig]
    choices: Mapping[str, tuple[Any, ...]]

    @property
    def size(self) -> int:
        """How many combinations there are."""
        return math.prod(map(len, self.choices.values()))

    def describe(self) -> str:
        """``on-policy: 60 settings = learning_rate (5) x entropy_weight (4) x gamma (3)``."""
        parts = " x ".join(f"{name} ({len(values)})" for name, values in self.choices.items())
        return f"{self.family}: {self.size} settings = {parts}"


SPACES = (
    Space(
        "on-policy",
        OnPolicyConfig,
        {
            "learning_rate": (3e-4, 7e-4, 1e-3, 2e-3, 4e-3),
            "entropy_weight": (0.0, 0.003, 0.01, 0.03),
            "gamma": (0.9, 0.95, 0.99),
        },
    ),
    Space(
        "value-based",
        QConfig,
        {
            "learning_rate": (3e-4, 5e-4, 1e-3, 2e-3),
            "gamma": (0.9, 0.95, 0.99),
            "n_step": (1, 3, 5),
            "target_tau": (0.005, 0.01, 0.05),
        },
    ),
    Space(
        "off-policy actor-critic",
        ActorCriticConfig,
        {
            "learning_rate": (3e-4, 5e-4, 1e-3, 3e-3),
            "actor_learning_rate": (1e-4, 3e-4, 5e-4, 1e-3),
            "gamma": (0.9, 0.95, 0.99),
            "target_tau": (0.005, 0.01, 0.05),
        },
    ),
)

# Where the suite's primary mode hides learning, trials are scored by the other: on LBF deterministic play of a policy
# that forages well when it samples can stand at zero, because two agents wait for each other.
SCORED_IN: Mapping[str, Mode] = {"lbf": "sampled"}


def space_of(config: type[MethodConfig]) -> Space | None:
    """The space of methods with such a configuration; None where no family has it."""
    return next((s for s in SPACES if issubclass(config, s.config)), None)
