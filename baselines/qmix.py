"""QMIX: monotonic value function factorisation (Rashid et al. 2018, arXiv:1803.11485).

The team's value is a network of the agents' utilities, whose weights come from the state and are never negative:

    Q_tot(s, u) = w_2(s)' elu(W_1(s)' (Q_1, ..., Q_N) + b_1(s)) + b_2(s),    W_1, w_2 >= 0       (section 4, figure 2)
    L = E[(y - Q_tot)^2],   y = r + gamma Q_tot^-(s', (argmax_u Q_i(o_i', u))_i)                  (eq. 6)

so that d Q_tot / d Q_i >= 0 (eq. 5): every agent's own best action is its part of the team's best, while how much it
counts depends on the state. Weights are absolute values of hypernetworks' outputs. r is the team's mean reward.

Options, off by default: targets of a neighbourhood (``similar_targets``), or of a worst case (``robust_rho``); further
values, of what is second best and so on (``sub_values``).

Departures: double Q (van Hasselt et al. 2016); Adam where the paper has RMSprop; hypernetworks of W_1 and w_2 with a
hidden layer (``hyper_hidden``), as in the authors' later code, but of tanh: with their relu, weights grow with the
state, and on simple_spread, whose states have no bounds, values ran away after 250,000 frames (version 1); by default
without the recurrent unit (``memory: gru``).

Try it: ``rlnet-bench run quick --methods qmix``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from rlnet_bench.learning.config import Positive, TeamQConfig
from rlnet_bench.methods import Capabilities, Method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.q_learning import TeamQLearner


class QmixConfig(TeamQConfig):
    """Q-learning with a mixing network."""

    later: ClassVar[Mapping[str, Any]] = {**TeamQConfig.later, "sub_values": 0, "sub_temperature": 0.1}

    mixer_hidden: Positive = 32
    """Units of the mixing network."""
    hyper_hidden: Positive = 64
    """Units of the hypernetworks that make its weights."""
    sub_values: Annotated[int, Field(ge=0, le=8)] = 0
    """How many values follow the first, each of what is best but for the best of those before it; all of them explore
    half of the episodes (S2Q, which has 2; :mod:`rlnet_bench.learning.successive`). Networks like the first."""
    sub_temperature: Annotated[float, Field(gt=0.0)] = 0.1
    """With ``sub_values``: how much worse, in units of value, what is played by chance may be."""

    @property
    def keeps_state(self) -> bool:
        """It is mixed by it."""
        return True

    @model_validator(mode="after")
    def _one_value_bootstraps(self) -> QmixConfig:
        if self.sub_values and (self.similar_targets or self.is_dual):
            other = "similar_targets" if self.similar_targets else "robust_set: total_variation"
            raise ValueError(f"sub_values: what follows is valued by a network of their own; expected no other target "
                             f"beside them, found {other}")  # fmt: skip
        return self


@register(
    "qmix",
    version=2,
    summary="the team's value is a monotonic function of the agents' utilities, mixed by the state",
    Config=QmixConfig,
    training="gradients across agents",
    capabilities=Capabilities(continuous=False),
    citation="rashid2018qmix",
)
class Qmix(Method):
    """QMIX."""

    @classmethod
    def learner_class(cls) -> type[TeamQLearner]:
        """The algorithm."""
        from torch import Tensor

        from rlnet_bench.envs.contract import Reset
        from rlnet_bench.learning.mixing import MIXER, MonotonicMixer
        from rlnet_bench.learning.q_learning import QSpec, Step, TeamQLearner
        from rlnet_bench.learning.successive import Successive

        class QmixLearner(TeamQLearner):
            """Q-learning of a monotonic mixture."""

            config: QmixConfig

            def mixers(self) -> dict[str, tuple[MonotonicMixer, MonotonicMixer]]:
                """The mixing network and its target."""
                self.mix, self.mix_target = (self.mixer() for _ in range(2))
                return {"mixer": (self.mix, self.mix_target)}

            def mixer(self, networks: Sequence[int] = (MIXER,)) -> MonotonicMixer:
                """Freshly initialised mixing networks."""
                card, c = self.card, self.config
                sizes = card.num_agents, card.state_size, c.mixer_hidden, c.hyper_hidden
                return MonotonicMixer(*sizes, self.seeds, self.device, networks)

            def build_more(self) -> dict[str, list[Tensor]]:
                """With ``sub_values``, their networks."""
                groups, c = super().build_more(), self.config
                self.subs = None
                if not c.sub_values:
                    return groups
                self.subs = Successive(
                    self.card, QSpec.of(c), self.mixer, c.sub_values, c.sub_temperature, self.seeds, self.device
                )
                self.parts |= {"subs": self.subs, "star_target": self.subs.star_target}
                self.follow(self.subs.star_target, self.subs.star)
                self.carried.now |= self.subs.initial_memory(self.env.num_envs)
                return groups | {"subs": list(self.subs.parameters())}

            def followed(self, q: Tensor, now: Reset, step: int) -> Tensor:
                """Those of any of the values, with ``sub_values``."""
                return q if self.subs is None else self.subs.followed(self, q, now, step)

            def after_step(self, done: Tensor) -> None:
                """Memory ends with an episode."""
                super().after_step(done)
                if self.subs is not None:
                    self.subs.after_step(self, done)

            def loss(self, step: Step) -> Tensor:
                """L; the dead bring a utility of zero into the mixture."""
                chosen, following = step.living()  # Q_i(o_i, u_i), and Q_i^- of what is best next
                total = self.mix(chosen, step.state)
                if self.subs is not None:
                    return self.subs.loss(self, step, total)
                return step.squared(total, step.target(self.ahead(step, following, self.mix_target)))

        return QmixLearner
