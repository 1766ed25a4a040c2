"""QMIX: monotonic value function factorisation (Rashid et al. 2018, arXiv:1803.11485).

The team's value is a network of the agents' utilities, whose weights come from the state and are never negative:

    Q_tot(s, u) = w_2(s)' elu(W_1(s)' (Q_1, ..., Q_N) + b_1(s)) + b_2(s),    W_1, w_2 >= 0       (section 4, figure 2)
    L = E[(y - Q_tot)^2],   y = r + gamma Q_tot^-(s', (argmax_u Q_i(o_i', u))_i)                  (eq. 6)

so that d Q_tot / d Q_i >= 0 (eq. 5): every agent's own best action is its part of the team's best, while how much it
counts depends on the state. Weights are absolute values of hypernetworks' outputs. r is the team's mean reward.

Options, off by default: targets of a neighbourhood (``similar_targets``), or of a worst case (``robust_rho``).

Departures: double Q (van Hasselt et al. 2016); Adam where the paper has RMSprop; hypernetworks of W_1 and w_2 with a
hidden layer (``hyper_hidden``), as in the authors' later code; by default without the recurrent unit (``memory: gru``).

Try it: ``rlnet-bench run quick --methods qmix``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlnet_bench.learning.config import Positive, TeamQConfig
from rlnet_bench.methods import Capabilities, Method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.q_learning import TeamQLearner


class QmixConfig(TeamQConfig):
    """Q-learning with a mixing network."""

    mixer_hidden: Positive = 32
    """Units of the mixing network."""
    hyper_hidden: Positive = 64
    """Units of the hypernetworks that make its weights."""

    @property
    def keeps_state(self) -> bool:
        """It is mixed by it."""
        return True


@register(
    "qmix",
    version=1,
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

        from rlnet_bench.learning.mixing import MonotonicMixer
        from rlnet_bench.learning.q_learning import Step, TeamQLearner

        class QmixLearner(TeamQLearner):
            """Q-learning of a monotonic mixture."""

            config: QmixConfig

            def mixers(self) -> dict[str, tuple[MonotonicMixer, MonotonicMixer]]:
                """The mixing network and its target."""
                card, c = self.card, self.config
                sizes = card.num_agents, card.state_size, c.mixer_hidden, c.hyper_hidden
                self.mix, self.mix_target = (MonotonicMixer(*sizes, self.seeds, self.device) for _ in range(2))
                return {"mixer": (self.mix, self.mix_target)}

            def loss(self, step: Step) -> Tensor:
                """L; the dead bring a utility of zero into the mixture."""
                chosen, following = step.living()  # Q_i(o_i, u_i), and Q_i^- of what is best next
                total = self.mix(chosen, step.state)
                return step.squared(total, step.target(self.ahead(step, following, self.mix_target)))

        return QmixLearner
