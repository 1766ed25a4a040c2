"""MAT: the multi-agent transformer (Wen et al. 2022, arXiv:2205.14953).

A team's joint action is written like a sentence, one agent's action after the other, each knowing those before it. The
joint advantage splits in the same order (their theorem 1), so that every word can be an improvement. One network for
the team, centralised in training and execution:

    encoder:  tokens of all observations attend to each other,     z_1, ..., z_n = encode(o_1, ..., o_n)
    decoder:  pi(u_i | z, u_1, ..., u_{i-1}), masked attention over the actions before agent i's (their figure 2)
    values:   V_i = V(z_i)

Acting decodes n times. Learning decodes once, all actions being known. After every rollout, with generalised advantages
A and returns R = A + V_old, a few epochs of minibatches on the sum of their eqs. 4 and 5 (r the ratio of probabilities)
with an entropy bonus, actor and critic reading the same encoder:

    L = -E[min(r A, clip(r, 1 - eps, 1 + eps) A)] + c_1 E[(V - R)^2 / 2] - c_2 E[H(pi)]

Agents of different sizes: observations are padded, and options that an agent lacks are never chosen. An agent is known
by a one-hot id in its token.

Departures: value errors are squared, not Huber's; agents keep one order; tanh or relu where they have GELU.

Try it: ``rlnet-bench run quick --methods mat``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.config import MatConfig
from rlnet_bench.methods import Method, register

if TYPE_CHECKING:
    from rlnet_bench.learning.actor import Actor
    from rlnet_bench.learning.on_policy import TeamLearner
    from rlnet_bench.learning.policy import ActorPolicy, Policy

NETWORKS = 32  # the first network number for initialisation keys


@cache
def parts() -> Any:
    """(actor, critic): the classes of the team's networks. Torch is imported here."""
    import torch
    from torch import Tensor

    from rlnet_bench.learning.actions import Actions
    from rlnet_bench.learning.actor import Actor, ActorSpec
    from rlnet_bench.learning.agents import CRITIC, AgentNetwork
    from rlnet_bench.learning.attention import Block, Encoding, Norm, Tokens
    from rlnet_bench.learning.stacked import ACTIVATIONS, copy_keys

    class Transformer(Encoding, AgentNetwork):
        """Encoder and decoder of R replicas."""

        copies = 1

        def __init__(self, card: TaskCard, spec: Mapping[str, Any], seeds: Sequence[int], device: Any) -> None:
            own, actions = ActorSpec.from_json(spec["actor"]), Actions(card)
            self.replicas, self.agents = len(seeds), card.num_agents
            self.activation, self.options = ACTIVATIONS[own.activation], card.action_size
            width, count, heads = spec["width"], spec["blocks"], spec["attention_heads"]
            keys = copy_keys(seeds, 1, NETWORKS)
            more = {"activation": own.activation, "device": device}
            self.parts: dict[str, Any] = {
                "observed": Tokens((own.features(card), width), keys, 0, **more),
                "observed_norm": Norm(width, len(seeds), device),
                **{f"encoder.{k}": Block(width, heads, keys, 1, k, **more) for k in range(count)},
                "done": Tokens((self.options + 1, width), keys, 2, **more),
                "done_norm": Norm(width, len(seeds), device),
                **{f"decoder.{k}": Block(width, heads, keys, 3, k, crosses=True, **more) for k in range(count)},
                "choice": Tokens((width, width, actions.outputs), keys, 4, gain=0.01, **more),
            }
            self.blocks = range(count)

        def decode(self, z: Tensor, raw: Tensor) -> Tensor:
            """Logits or means [R, n, N, outputs]; of the raw actions agent i is told those of 0 to i - 1."""
            x = self.parts["done_norm"](self.activation(self.parts["done"](self.told(raw))))
            for k in self.blocks:
                x = self.parts[f"decoder.{k}"](x, z)
            return self.parts["choice"](x)

        def told(self, raw: Tensor) -> Tensor:
            """Token i is agent i - 1's action (one-hot where it is discrete); the first says that nothing was done."""
            hot = raw if raw.is_floating_point() else torch.nn.functional.one_hot(raw, self.options).to(torch.float32)
            tokens = torch.zeros(*hot.shape[:3], self.options + 1, device=hot.device)
            tokens[:, :, 1:, :-1] = hot[:, :, :-1]
            tokens[:, :, 0, -1] = 1.0
            return tokens

    class TransformerActor(Actor):
        """Chooses for one agent after the other."""

        network: Transformer

        def choose(
            self, features: Tensor, memory: Tensor, mask: Tensor | None, noise: Tensor | None
        ) -> tuple[Tensor, Tensor, Tensor]:
            """N times: decode what is known so far, and add the next agent's action."""
            z = self.network.encode(features)
            shape = features.shape[:3] if self.actions.discrete else (*features.shape[:3], self.actions.width)
            raw = torch.zeros(shape, dtype=torch.int64 if self.actions.discrete else torch.float32, device=z.device)
            for i in range(self.card.num_agents):
                output = self.actions.distribution(self.network.decode(z, raw), mask)
                raw[:, :, i] = (self.actions.mode(output) if noise is None else self.sample(output, noise))[:, :, i]
            return output, raw, memory

        def evaluate(self, rows: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
            """(log probability, entropy) [R, c, N] of actions that are all known."""
            return self.decided(rows, self.network.encode(rows["features"]))

        def decided(self, rows: Mapping[str, Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
            """The same, of what is encoded already."""
            said = self.network.decode(z, rows["actions"])
            return self.stats(self.actions.distribution(said, rows.get("masks")), rows["actions"])

    class EncoderCritic(AgentNetwork):
        """V_i = V(z_i); its parameters are the value head's."""

        def __init__(self, network: Transformer, width: int, hidden: Sequence[int], seeds: Sequence[int], **more: Any):
            super().__init__((width, *hidden, 1), copy_keys(seeds, 1, CRITIC), len(seeds), network.agents, **more)
            self.network = network

        def __call__(self, x: Tensor) -> Tensor:
            return self.of(self.network.encode(x))

        def of(self, z: Tensor) -> Tensor:
            """[R, n, N, D] -> [R, n, N, 1]."""
            return super().__call__(z)

    def actor(card: TaskCard, spec: Mapping[str, Any], seeds: Sequence[int], device: Any) -> TransformerActor:
        network = Transformer(card, spec, seeds, device)
        return TransformerActor(card, ActorSpec.from_json(spec["actor"]), seeds, device, network)

    return actor, EncoderCritic


@register(
    "mat",
    version=1,
    summary="a transformer encodes all observations and chooses for one agent after the other; PPO",
    Config=MatConfig,
    training="gradients across agents",
    citation="wen2022mat",
)
class Mat(Method):
    """The multi-agent transformer."""

    @classmethod
    def small(cls) -> dict[str, Any]:
        """See :class:`~rlnet_bench.methods.Method`."""
        return {**super().small(), "hidden": (), "width": 8, "attention_heads": 2}

    @classmethod
    def rebuild(cls, spec: Mapping[str, Any], card: TaskCard, seeds: Sequence[int], device: str = "cpu") -> Policy:
        """See :class:`~rlnet_bench.methods.Method`."""
        from rlnet_bench.learning.policy import ActorPolicy

        return ActorPolicy(parts()[0](card, spec, seeds, device), spec)

    @classmethod
    def learner_class(cls) -> type[TeamLearner]:
        """The algorithm."""
        import torch

        from rlnet_bench.learning.actor import ActorSpec
        from rlnet_bench.learning.agents import AgentNetwork
        from rlnet_bench.learning.on_policy import TeamLearner
        from rlnet_bench.learning.policy import ActorPolicy
        from rlnet_bench.learning.ppo import Batch, Loss, clipped_surrogate, half_squared_error, is_clipped

        make_actor, make_critic = parts()

        class MatLearner(TeamLearner):
            """PPO for a team that is one transformer."""

            critic_reads = "features"  # through the encoder

            @property
            def spec(self) -> dict[str, Any]:
                """What the policy is made again from."""
                c = self.config
                shape = {"width": c.width, "blocks": c.blocks, "attention_heads": c.attention_heads}
                return {"kind": "transformer", "actor": ActorSpec.of(c).to_json(), **shape}

            def make_actor(self) -> Actor:
                return make_actor(self.env.card, self.spec, self.seeds, self.device)

            def make_critic(self) -> AgentNetwork:
                c, more = self.config, {"activation": self.config.activation, "device": self.device}
                return make_critic(self.actor.network, c.width, c.critic_hidden, self.seeds, **more)

            def policy(self) -> ActorPolicy:
                return ActorPolicy(self.actor, self.spec)

            def loss(self, batch: Batch) -> Loss:
                """L; ``advantage`` is A and ``returns`` R, both normalised as the settings say."""
                z = self.actor.network.encode(batch["features"])
                log_p, entropy = self.actor.decided(batch.rows, z)
                ratio = torch.exp(log_p - batch["log_p"])
                surrogate = clipped_surrogate(ratio, batch["advantage"], self.config.clip)
                policy, bonus = -batch.acting_mean(surrogate), batch.acting_mean(entropy)
                value = batch.mean(half_squared_error(self.critic.of(z).squeeze(-1), batch["returns"]))
                total = policy + self.config.value_weight * value - self.config.entropy_weight * bonus
                return Loss(total, policy, value, bonus, batch.mean(is_clipped(ratio, self.config.clip)))

        return MatLearner
