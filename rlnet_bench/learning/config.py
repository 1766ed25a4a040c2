"""Configurations of learners: the only home of their defaults. Imports without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.layout import layout_of
from rlnet_bench.learning.fields import replay_bytes

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Encoder = Literal["plain", "entities"]


class MethodConfig(BaseModel):
    """Base of every method's configuration: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    later: ClassVar[Mapping[str, Any]] = {}
    """Settings that are younger than published records, with what was so before. They are left out of plain data where
    nothing else is asked for, so that run ids stay."""

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in handler(self).items() if k not in self.later or v != self.later[k]}

    @property
    def iteration_frames(self) -> int | None:
        """Frames per seed of one iteration, where the settings tell: a smaller budget would train nothing."""
        return None

    @property
    def warmup_frames(self) -> int:
        """Frames per seed before the first update, which are only collected."""
        return 0

    def memory_bytes(self, card: TaskCard, replicas: int) -> int:
        """Bytes that a learner of so many replicas sets aside and fills as it goes (a replay)."""
        return 0

    def refuses(self, card: TaskCard) -> str | None:
        """Why these settings make no sense on a task, as a sentence; None when they do."""
        return None


def _undeclared(encoder: Encoder, card: TaskCard) -> str | None:
    if encoder == "plain" or layout_of(card) is not None:
        return None
    return f"encoder: entities needs to know what observations are made of, and {card.id} does not declare it."


class OnPolicyConfig(MethodConfig):
    """What all learners share that act for some steps, learn from them, and throw them away."""

    later: ClassVar[Mapping[str, Any]] = {"normalise_observation": "none", "encoder": "plain"}

    num_envs: Positive = 32
    """Environments per replica, B."""
    rollout_steps: Positive = 50
    """Steps of every environment per iteration, T."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-3
    anneal: bool = True
    """Let the learning rate fall linearly to zero at the end of the budget."""
    gamma: Fraction = 0.9
    entropy_weight: Annotated[float, Field(ge=0.0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 0.5
    """Per replica, actor and critic each."""
    normalise_value: bool = True
    """Critics predict returns with mean 0 and deviation 1 (running, per replica)."""
    share_parameters: bool = True
    """One network for all agents (with a one-hot agent id) or one per agent."""
    observe: Literal["own", "all"] = "own"
    """``all``: every actor reads all agents' observations (execution class C)."""
    memory: Literal["none", "gru"] = "none"
    """``gru``: actors and critics remember, by a gated recurrent unit after the last hidden layer, and learn from whole
    rollouts of environments."""
    hidden: tuple[Positive, ...] = (64, 64)
    critic_hidden: tuple[Positive, ...] = (64, 64)
    activation: Literal["tanh", "relu"] = "tanh"
    normalise_observation: Literal["none", "running", "layer"] = "none"
    """What actors and critics read. ``running``: every feature by mean and deviation of all that was learned from so
    far, per network, kept with the policy; ``layer``: every row by its own (:mod:`rlnet_bench.learning.inputs`)."""
    encoder: Encoder = "plain"
    """``entities``: observations are read as a set of entities, by attention, and agents have no ids, so that nothing
    depends on how many there are (:mod:`rlnet_bench.learning.entities`); the hidden layers follow."""

    @property
    def iteration_frames(self) -> int:
        """One rollout of every environment."""
        return self.num_envs * self.rollout_steps

    def refuses(self, card: TaskCard) -> str | None:
        """Entities must be declared."""
        return _undeclared(self.encoder, card)

    @model_validator(mode="after")
    def _entities_alone(self) -> OnPolicyConfig:
        others = {"observe": "own", "normalise_observation": "none"}
        for name, expected in others.items():
            if self.encoder == "entities" and (found := getattr(self, name)) != expected:
                raise ValueError(f"encoder: entities reads the agent's own observation as it is; expected {name}: "
                                 f"{expected}, found {found}")  # fmt: skip
        return self

    @model_validator(mode="after")
    def _memory_has_a_width(self) -> OnPolicyConfig:
        if self.memory == "gru" and () in (self.hidden, self.critic_hidden):
            raise ValueError("memory: gru needs at least one hidden layer, found hidden or critic_hidden = ()")
        return self


class PpoConfig(OnPolicyConfig):
    """Proximal policy optimisation on a team."""

    epochs: Positive = 4
    minibatches: Positive = 4
    """Minibatches per epoch; a minibatch holds whole joint steps (all agents of a step together)."""
    gae_lambda: Fraction = 0.95
    clip: Annotated[float, Field(gt=0.0)] = 0.2
    value_weight: Annotated[float, Field(gt=0.0)] = 1.0
    normalise_advantage: Literal["replica", "agent", "none"] = "replica"

    @model_validator(mode="after")
    def _enough_rows(self) -> PpoConfig:
        if self.minibatches > self.iteration_frames:
            rows = f"num_envs x rollout_steps = {self.iteration_frames}"
            raise ValueError(f"minibatches: expected at most {rows} joint steps, found {self.minibatches}")
        if self.memory == "gru" and self.minibatches > self.num_envs:
            what = f"memory: gru learns from whole rollouts, so that at most num_envs = {self.num_envs} make sense"
            raise ValueError(f"minibatches: {what}, found {self.minibatches}")
        return self


class A2cConfig(OnPolicyConfig):
    """Advantage actor-critic on a team: one gradient step per rollout, so that rollouts are short."""

    epochs: ClassVar[int] = 1
    minibatches: ClassVar[int] = 1

    rollout_steps: Positive = 10
    """Steps of every environment per iteration and gradient step, T."""
    n_step: Positive = 5
    """Rewards that are summed before the critic is asked; fewer at the end of an episode and of the rollout."""
    entropy_weight: Annotated[float, Field(ge=0.0)] = 0.01


class HappoConfig(PpoConfig):
    """PPO agent by agent."""

    share_parameters: Literal[False] = False
    """Every agent has a network of its own: agents are updated one after the other."""


class CentralConfig(PpoConfig):
    """PPO for a team as one agent."""

    share_parameters: Literal[False] = False
    """There is one network, and it is the team's."""
    observe: Literal["own"] = "own"
    """The team's network reads everybody's observation in any case."""
    encoder: Literal["plain"] = "plain"
    """The team's network reads everybody's numbers side by side."""


class TalkConfig(PpoConfig):
    """PPO for a team whose agents tell each other numbers before they act."""

    rounds: Positive = 2
    """How often agents speak and listen in every step: hops."""
    graph: Literal["all", "ring"] = "all"
    """Who hears whom: everybody everybody, or each its two neighbours in the order of the agents."""
    observe: Literal["own"] = "own"
    """An agent reads its own observation; what else it learns it is told."""
    memory: Literal["none"] = "none"
    """Agents do not remember."""

    @model_validator(mode="after")
    def _something_to_say(self) -> TalkConfig:
        if not self.hidden:
            raise ValueError("hidden: agents tell each other their last hidden layer; expected at least one, found ()")
        return self


class MatConfig(PpoConfig):
    """PPO for a transformer that chooses for one agent after the other."""

    width: Positive = 64
    """Numbers of a token: an agent's observation, or its action."""
    blocks: Positive = 1
    """Blocks of attention of the encoder, and of the decoder."""
    attention_heads: Positive = 1
    """Of every attention; they share the width."""
    hidden: tuple[()] = ()
    """The policy is made of ``blocks``, as wide as ``width``."""
    critic_hidden: tuple[Positive, ...] = (64,)
    """Of the value head, which reads the encoder's tokens."""
    share_parameters: Literal[True] = True
    """There is one network, and it is the team's."""
    normalise_observation: Literal["none"] = "none"
    """Layers of the transformer normalise what is read."""
    encoder: Literal["plain"] = "plain"
    """A token is an agent's whole observation."""
    observe: Literal["own"] = "own"
    """The encoder reads everybody's observation in any case."""
    memory: Literal["none"] = "none"
    """Agents do not remember."""

    @model_validator(mode="after")
    def _heads_share(self) -> MatConfig:
        if self.width % self.attention_heads:
            raise ValueError(
                f"width: expected a multiple of attention_heads = {self.attention_heads}, found {self.width}"
            )
        return self


class ComaConfig(OnPolicyConfig):
    """Counterfactual policy gradients: one gradient step of the actors per rollout, so that rollouts are short."""

    epochs: ClassVar[int] = 1
    minibatches: ClassVar[int] = 1

    rollout_steps: Positive = 10
    """Steps of every environment per iteration and gradient step of the actors, T."""
    critic_minibatches: Positive = 4
    """Gradient steps of the critic per rollout, before that of the actors."""
    td_lambda: Fraction = 0.8
    """Of the critic's targets: 0 asks it after every reward, 1 sums rewards to the end of the episode or rollout."""
    target_tau: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    """How far the target critic moves at every gradient step of the critic; 1 copies it."""
    entropy_weight: Annotated[float, Field(ge=0.0)] = 0.01
    normalise_observation: Literal["none", "layer"] = "none"
    """Not ``running``: the critic reads actions, too, and is followed by a copy."""
    encoder: Literal["plain"] = "plain"
    """The critic reads everybody's actions side by side."""
    memory: Literal["none"] = "none"
    """The critic values joint actions at the end of a rollout, for which nothing is remembered."""

    @model_validator(mode="after")
    def _enough_rows(self) -> ComaConfig:
        if self.critic_minibatches > self.iteration_frames:
            rows = f"num_envs x rollout_steps = {self.iteration_frames}"
            raise ValueError(
                f"critic_minibatches: expected at most {rows} joint steps, found {self.critic_minibatches}"
            )
        return self


class OffPolicyConfig(MethodConfig):
    """Learning from a replay."""

    num_envs: Positive = 64
    """Environments per replica, B."""
    rollout_steps: Positive = 1
    """Steps of every environment per iteration, between updates."""
    updates_per_iteration: Positive = 4
    """Optimiser steps per iteration; with ``rollout_steps`` x ``num_envs`` new frames each."""
    batch_size: Positive = 128
    """Rows of an update per replica: joint steps, or sequences where there is memory."""
    buffer_size: Positive = 50_000
    """Frames per seed that the replay keeps, oldest first out (whole steps of every environment)."""
    learning_starts: Annotated[int, Field(ge=0)] = 1_000
    """Frames per seed that are only collected, before the first update."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    gamma: Fraction = 0.95
    n_step: Positive = 5
    """Rewards that are summed before a value is asked; fewer at the end of an episode."""
    target_tau: Annotated[float, Field(gt=0.0, le=1.0)] = 0.01
    """How far target networks move at an update of theirs: 1 copies (hard), less follows (soft)."""
    target_every: Positive = 1
    """Optimiser steps between updates of the target networks."""
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 10.0
    """Per replica."""
    share_parameters: bool = True
    """One network for all agents (with a one-hot agent id) or one per agent."""
    memory: Literal["none", "gru"] = "none"
    """``gru``: agents remember, by a gated recurrent unit after the last hidden layer, and learn from sequences."""
    sequence_length: Positive = 10
    """With memory: steps of a sequence that are learned from."""
    burn_in: Annotated[int, Field(ge=0)] = 4
    """With memory: steps before them that only warm the memory up."""
    hidden: tuple[Positive, ...] = (64, 64)
    activation: Literal["tanh", "relu"] = "relu"

    @property
    def iteration_frames(self) -> int:
        """New frames of every environment between updates."""
        return self.num_envs * self.rollout_steps

    @property
    def window(self) -> int:
        """Successive steps that a row of an update reads."""
        return self.n_step if self.memory == "none" else self.burn_in + self.sequence_length

    @property
    def buffer_steps(self) -> int:
        """Steps that are kept of every environment."""
        return self.buffer_size // self.num_envs

    @property
    def warmup_frames(self) -> int:
        """What is collected before the first update."""
        return self.warmup()

    def warmup(self, period: int = 1) -> int:
        """The same of decisions that hold for ``period`` steps: an update needs a window and what was seen after it."""
        return max(self.learning_starts, (self.window * period + 1) * self.num_envs)

    @property
    def keeps_state(self) -> bool:
        """The replay keeps the state of the task, too."""
        return False

    @property
    def discount(self) -> float:
        """Of targets, per step."""
        return self.gamma

    def memory_bytes(self, card: TaskCard, replicas: int) -> int:
        """The replay's."""
        return replay_bytes(card, replicas, self.num_envs, self.buffer_steps, state=self.keeps_state)

    def refuses(self, card: TaskCard) -> str | None:
        """A sequence ends with its episode: a longer one would never be whole."""
        if self.memory == "gru" and self.window > card.horizon:
            found = f"burn_in {self.burn_in} + sequence_length {self.sequence_length} = {self.window}"
            return f"episodes of {card.id} have {card.horizon} steps; expected no longer sequences, found {found}."
        return None

    @model_validator(mode="after")
    def _a_window_fits(self) -> OffPolicyConfig:
        if self.buffer_steps <= self.window:
            need = f"{self.window + 1} steps of {self.num_envs} environments = {(self.window + 1) * self.num_envs}"
            raise ValueError(f"buffer_size: expected at least {need}, found {self.buffer_size}")
        if self.memory == "gru" and not self.hidden:
            raise ValueError("memory: gru needs at least one hidden layer, found hidden = ()")
        return self


class QConfig(OffPolicyConfig):
    """Q-learning on a team."""

    later: ClassVar[Mapping[str, Any]] = {"encoder": "plain"}

    epsilon_start: Fraction = 1.0
    epsilon_end: Fraction = 0.05
    """Share of random actions at the end of exploration; sampled play is evaluated with it, too."""
    epsilon_share: Fraction = 0.5
    """Share of the budget in which epsilon falls, linearly."""
    double_q: bool = True
    """The online network chooses and the target network values (van Hasselt et al. 2016)."""
    encoder: Encoder = "plain"
    """``entities``: as on-policy; utilities then belong to any number of agents, a mixing network to one number."""

    def refuses(self, card: TaskCard) -> str | None:
        """Entities must be declared, too."""
        return super().refuses(card) or _undeclared(self.encoder, card)


class TeamQConfig(QConfig):
    """Q-learning of one value of the whole team. What is off by default has no part in a run's identity."""

    later: ClassVar[Mapping[str, Any]] = {
        **QConfig.later, "robust_rho": 0.0, "robust_set": "contamination", "similar_targets": False,
    }  # fmt: skip

    robust_rho: Fraction = 0.0
    """Share of the worst case in targets (DrIGM), where the worst that can follow is worth nothing: for tasks whose
    rewards are not negative."""
    robust_set: Literal["contamination", "total_variation"] = "contamination"
    """What the worst case may change. ``contamination``: whatever follows may, with probability rho, be the worst;
    y = r + (1 - rho) gamma V is *exactly* a smaller discount: run it beside ``gamma`` times (1 - rho).
    ``total_variation``: a share rho of what chance does is moved from the best to the worst
    (:mod:`rlnet_bench.learning.robust`); the same where chance does nothing. One step at a time."""
    similar_targets: bool = False
    """Bootstrap from a mean over joint actions around the greedy one, weighted by how alike their effects are, as in
    QSIM (arXiv:2602.22786), instead of the greedy one alone, whose value is overestimated. One step, no memory."""

    @property
    def discount(self) -> float:
        """(1 - rho) gamma under contamination."""
        return self.gamma if self.is_dual else (1.0 - self.robust_rho) * self.gamma

    @property
    def is_dual(self) -> bool:
        """A network learns the worst case."""
        return self.robust_rho > 0 and self.robust_set == "total_variation"

    @property
    def keeps_state(self) -> bool:
        """The worst case depends on it."""
        return self.is_dual

    @model_validator(mode="after")
    def _worst_case_of_one_step(self) -> TeamQConfig:
        if self.is_dual and self.n_step > 1:
            raise ValueError(
                "robust_set: total_variation says the worst that one step can do; expected n_step 1, found "
                f"n_step {self.n_step}"
            )
        return self

    @model_validator(mode="after")
    def _effects_of_one_step(self) -> TeamQConfig:
        if self.similar_targets and (self.n_step > 1 or self.memory != "none"):
            raise ValueError(
                "similar_targets: effects are learned from one step without memory; expected n_step 1 and memory none, "
                f"found n_step {self.n_step} and memory {self.memory}"
            )
        return self


class ActorCriticConfig(OffPolicyConfig):
    """Actors and critics that learn from a replay."""

    memory: Literal["none"] = "none"
    """Actors and critics that remember are not available here."""
    n_step: Positive = 1
    """Rewards that are summed before a critic is asked; the entropies between them (SAC) are left out."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    """The critics'."""
    actor_learning_rate: Annotated[float, Field(gt=0.0)] = 3e-4
    """Less than the critics', as in Lillicrap et al. 2016: actors that run ahead of them saturate and stay there."""
    critic_hidden: tuple[Positive, ...] = (64, 64)


class DdpgConfig(ActorCriticConfig):
    """Deterministic policy gradients on a team."""

    noise_start: Annotated[float, Field(ge=0.0)] = 0.5
    """Deviation of the Gaussian that is added to actions, in halves of their range; what leaves the range is cut."""
    noise_end: Annotated[float, Field(ge=0.0)] = 0.1
    """The same at the end of exploration; sampled play is evaluated with it, too."""
    noise_share: Fraction = 0.5
    """Share of the budget in which the deviation falls, linearly."""
    saturation_weight: Annotated[float, Field(ge=0.0)] = 1e-3
    """Weight of the mean square of what actors say before it is squashed. An actor that a young critic has sent to the
    edge of the range, where tanh is flat, would stay there; the published code of Lowe et al. 2017 has 1e-3, too."""


class SacConfig(ActorCriticConfig):
    """Soft actor-critics on a team."""

    batch_size: Positive = 256
    """Joint steps of an update per replica."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 5e-4
    """The critics'."""
    actor_learning_rate: Annotated[float, Field(gt=0.0)] = 5e-4
    """The actors' and the temperature's."""
    temperature_start: Annotated[float, Field(gt=0.0)] = 0.1
    """The entropy's weight at first; learned from then on, per replica, and per agent where parameters are separate."""
    target_entropy: float = -1.0
    """Continuous actions: nats per dimension, of densities over -1..1, that the temperature aims at (0.69: uniform)."""
    target_entropy_share: Fraction = 0.2
    """Options: share of the log of the number of legal ones (uniform play) that the temperature aims at."""
