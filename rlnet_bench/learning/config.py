"""Configurations of learners: the only home of their defaults. Imports without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class MethodConfig(BaseModel):
    """Base of every method's configuration: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @property
    def iteration_frames(self) -> int | None:
        """Frames per seed of one iteration, where the settings tell: a smaller budget would train nothing."""
        return None

    @property
    def warmup_frames(self) -> int:
        """Frames per seed before the first update, which are only collected."""
        return 0


class PpoConfig(MethodConfig):
    """Proximal policy optimisation on a team."""

    num_envs: Positive = 32
    """Environments per replica, B."""
    rollout_steps: Positive = 50
    """Steps of every environment per iteration, T."""
    epochs: Positive = 4
    minibatches: Positive = 4
    """Minibatches per epoch; a minibatch holds whole joint steps (all agents of a step together)."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-3
    anneal: bool = True
    """Let the learning rate fall linearly to zero at the end of the budget."""
    gamma: Fraction = 0.9
    gae_lambda: Fraction = 0.95
    clip: Annotated[float, Field(gt=0.0)] = 0.2
    entropy_weight: Annotated[float, Field(ge=0.0)] = 0.0
    value_weight: Annotated[float, Field(gt=0.0)] = 1.0
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 0.5
    """Per replica, actor and critic each."""
    normalise_advantage: Literal["replica", "agent", "none"] = "replica"
    normalise_value: bool = True
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

    @property
    def iteration_frames(self) -> int:
        """One rollout of every environment."""
        return self.num_envs * self.rollout_steps

    @model_validator(mode="after")
    def _enough_rows(self) -> PpoConfig:
        if self.minibatches > self.iteration_frames:
            rows = f"num_envs x rollout_steps = {self.iteration_frames}"
            raise ValueError(f"minibatches: expected at most {rows} joint steps, found {self.minibatches}")
        if self.memory == "gru" and self.minibatches > self.num_envs:
            what = f"memory: gru learns from whole rollouts, so that at most num_envs = {self.num_envs} make sense"
            raise ValueError(f"minibatches: {what}, found {self.minibatches}")
        if self.memory == "gru" and () in (self.hidden, self.critic_hidden):
            raise ValueError("memory: gru needs at least one hidden layer, found hidden or critic_hidden = ()")
        return self
