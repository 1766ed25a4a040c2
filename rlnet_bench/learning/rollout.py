"""What collecting writes down: T steps of every environment, as buffers [T, R, B, ...], and ways through them.

Axes: **T** steps of a rollout, **R** replicas, **B** environments per replica, **N** agents, **F** features,
**S** state width, **K** agents or vertices, **H** numbers remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rlnet_bench.envs.contract import Reset, Transition, VectorEnv
from rlnet_bench.learning.actor import Actor

# Rows of one forward and backward pass: what fits into a processor's cache, or into a GPU's memory, where every pass
# costs the time of its launches however few rows it has.
CPU_ROWS = 4096
GPU_ROWS = 1 << 20


class Steps:
    """The environments' side of T steps: rewards, endings, who is alive."""

    def __init__(self, env: VectorEnv, steps: int, replicas: int) -> None:
        n, device = env.card.num_agents, env.device
        self.shape = t, r, b, _ = (steps, replicas, env.num_envs // replicas, n)
        self.rewards = torch.empty(t, r, b, n, device=device)
        self.terminated = torch.empty(t, r, b, dtype=torch.bool, device=device)
        self.truncated = torch.empty(t, r, b, dtype=torch.bool, device=device)
        self.alive: Tensor | None = None  # [T, R, B, N], allocated when the environment first sends a mask
        self.died: Tensor | None = None  # likewise, bool

    def see(self, t: int, now: Reset | Transition) -> None:
        """Keep who is alive before step t."""
        if now.alive_mask is None:
            return
        if self.alive is None:
            self.alive = torch.ones(self.shape, device=self.rewards.device)
            self.died = torch.zeros(self.shape, dtype=torch.bool, device=self.rewards.device)
        self.alive[t] = now.alive_mask.view(self.shape[1:])

    def write(self, t: int, now: Transition) -> None:
        """Keep what step t brought."""
        self.rewards[t] = now.reward.view(self.shape[1:])
        self.terminated[t] = now.terminated.view(self.shape[1:3])
        self.truncated[t] = now.truncated.view(self.shape[1:3])
        if self.died is not None:
            self.died[t] = now.agent_terminated.view(self.shape[1:])

    def reward(self, team: bool) -> Tensor:
        """The team's mean reward [T, R, B, 1], or every agent's own [T, R, B, N]."""
        return self.rewards.mean(dim=3, keepdim=True) if team else self.rewards

    def endings(self, team: bool, agents: Sequence[int] | slice = slice(None)) -> Tensor:
        """Terminations [T, R, B, 1 or some agents]: an agent's own rewards end with it; the team's go on."""
        terminated = self.terminated[..., None]
        return terminated if team or self.died is None else terminated | self.died[..., agents]

    def begins(self) -> Tensor:
        """[T + 1, R, B] bool: an episode begins with this step, within the rollout."""
        ended = self.terminated | self.truncated
        return torch.cat((torch.zeros_like(ended[:1]), ended))

    def cuts(self) -> Tensor:
        """Numbers of the steps at which a time limit cut some episode."""
        return self.truncated.flatten(1).any(dim=1).nonzero().flatten()


class TeamRollout(Steps):
    """T steps of a team: what actors (and critics) read, what was chosen, with which probability."""

    def __init__(self, env: VectorEnv, actor: Actor, steps: int, replicas: int, with_state: bool) -> None:
        """Allocate; ``with_state`` keeps the task's state, for critics that read it."""
        super().__init__(env, steps, replicas)
        self.env, self.actor = env, actor
        t, r, b, n = self.shape
        card, device = env.card, env.device
        self.features = actor.blank((t + 1, r, b, n, actor.width), env.device)
        self.final_features = actor.blank((t, r, b, n, actor.width), env.device)
        self.states = self.final_states = None
        if with_state:
            self.states = torch.empty(t + 1, r, b, card.state_size, device=device)
            self.final_states = torch.empty(t, r, b, card.state_size, device=device)
        continuous = not actor.actions.discrete
        raw = (t, r, b, n, card.action_size) if continuous else (t, r, b, n)
        self.actions = torch.empty(raw, dtype=torch.float32 if continuous else torch.int64, device=device)
        self.outputs = torch.empty(t, r, b, n, card.action_size, device=device)  # logits or means
        self.log_p: Tensor | None = None  # [T, R, B, N] of the actions, once they are collected
        self.masks = torch.empty(t, r, b, n, card.action_size, dtype=torch.bool, device=device) if card.masked else None
        self.final_masks = None if self.masks is None else torch.ones_like(self.masks)
        self.memory = self.start = actor.initial_memory(r * b)  # after the last step; before the first

    @torch.no_grad()
    def collect(self, now: Reset, noise: Tensor) -> Reset:
        """T steps under the current policy.

        Args:
            now: what the environments show.
            noise: [T, R, B, N] uniforms or [T, R, B, N, A] normals.

        Returns:
            What the environments show next.
        """
        (t_max, r, b, _), actor, memory = self.shape, self.actor, self.memory
        self.start = memory
        for t in range(t_max):
            features = actor.features(now.observation, self.features[t])
            mask = None
            if self.masks is not None and now.action_mask is not None:
                mask = self.masks[t] = now.action_mask.view(self.masks.shape[1:])
            self.see(t, now)
            if self.states is not None:
                self.states[t] = now.state.unflatten(0, (r, b))
            output, raw, memory = actor.choose(features, memory, mask, noise[t])
            self.outputs[t], self.actions[t] = output, raw
            self.note(t)
            after: Any = self.env.step(actor.actions.to_task(raw).flatten(0, 1))
            self.write(t, after)
            # An environment that ended nothing hands back the same tensor: nothing to keep then.
            if after.final_observation is not after.observation:
                actor.features(after.final_observation, self.final_features[t])
                if self.final_states is not None:
                    self.final_states[t] = after.final_state.unflatten(0, (r, b))
                if self.final_masks is not None and after.final_action_mask is not None:
                    self.final_masks[t] = after.final_action_mask.view(self.final_masks.shape[1:])
            if actor.is_recurrent:
                memory = memory.masked_fill((after.terminated | after.truncated)[:, None, None], 0.0)
            now = after
        actor.features(now.observation, self.features[t_max])
        if self.states is not None:
            self.states[t_max] = now.state.unflatten(0, (r, b))
        self.log_p = actor.stats(self.outputs, self.actions)[0]
        self.memory = memory
        return now

    def note(self, t: int) -> None:
        """Keep what else the actor chose at step t; nothing here."""

    def state_dict(self) -> dict[str, Tensor]:
        """What actors remember between rollouts."""
        return {"memory": self.memory}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from there."""
        self.memory = state["memory"].to(self.rewards.device)

    def rows(self) -> dict[str, Tensor]:
        """Flat rows [T * R * B, ...] of everything that a loss may read."""
        names = ("features", "states", "actions", "log_p", "masks", "alive")
        found = {name: getattr(self, name) for name in names}
        return {name: flat(value[: self.shape[0]]) for name, value in found.items() if value is not None}


def flat(buffer: Tensor) -> Tensor:
    """[T, R, B, ...] -> [T * R * B, ...]."""
    return buffer.reshape(-1, *buffer.shape[3:])


def chosen(data: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """The rows [R, c] of flat buffers, [R, c, ...] each."""
    index = rows.flatten()
    return {name: value.index_select(0, index).unflatten(0, rows.shape) for name, value in data.items()}


def most(width: int, device: torch.device) -> int:
    """How many rows of this many networks make a chunk."""
    return max(1, (CPU_ROWS if device.type == "cpu" else GPU_ROWS) // width)


# -- values along a rollout ----------------------------------------------------------------------------------


def over_time(function: Callable[[Tensor], Tensor], inputs: Tensor, width: int) -> Tensor:
    """A function [R, n, ...] -> [R, n, ...] of every step [T, R, B, ...], a few steps at a time.

    ``width``: networks evaluated per environment.
    """
    _, r, b, *_ = inputs.shape
    parts = [
        function(some.transpose(0, 1).flatten(1, 2)).unflatten(1, (len(some), b))
        for some in inputs.split(most(r * b * width, inputs.device))
    ]
    return torch.cat(parts, dim=1).transpose(0, 1)


def at_cuts(function: Callable[[Tensor], Tensor], finals: Tensor, steps: Steps, width: int) -> Tensor:
    """The same of final inputs at the steps where a time limit cut an episode; zero elsewhere."""
    shape, cuts = steps.shape[:3], steps.cuts()
    if not len(cuts):
        return torch.zeros(*shape, 1, device=finals.device)
    found = over_time(function, finals[cuts], width)
    out = torch.zeros(*shape, found.shape[-1], device=finals.device)
    out[cuts] = found
    return out


class CriticMemory:
    """What a recurrent critic remembers: it reads along after a rollout, and goes on from there in the next."""

    def __init__(self, network: Any, steps: Steps) -> None:
        """``network``: an :class:`~rlnet_bench.learning.agents.AgentNetwork` with memory."""
        self.network, self.steps = network, steps
        self.now = self.before = self._nothing()  # [R, B, K, H]: after the last rollout, and before it

    def _nothing(self) -> Tensor:
        _, r, b, _ = self.steps.shape
        memory: Tensor = self.network.initial_memory(r * b)
        return memory.unflatten(0, (r, b))

    def restart(self) -> None:
        """All episodes begin anew."""
        self.now = self._nothing()

    def values(
        self, along: Callable[..., tuple[Tensor, Tensor]], inputs: Tensor, finals: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Outputs along a rollout.

        Args:
            along: (x [R, T, n, ...], memory, begins) -> (values [R, T, n, K], memory after every step).
            inputs: [T + 1, R, B, ...].
            finals: [T, R, B, ...], read where a time limit cut an episode.

        Returns:
            (values [T + 1, R, B, K], those of final inputs [T, R, B, K]; zero where nothing was cut).
        """
        t, r, b, _ = self.steps.shape
        begins = self.steps.begins()
        self.before = self.now
        value, after = along(inputs.transpose(0, 1), self.before, begins.transpose(0, 1))
        self.now = torch.where(begins[t][..., None, None], 0.0, after[:, t - 1])
        final = torch.zeros(t, r, b, value.shape[-1], device=value.device)
        cuts = self.steps.cuts()
        if len(cuts):
            x = finals[cuts].transpose(0, 1).flatten(1, 2)[:, None]  # [R, 1, C * B, ...]: one step each
            there, _ = along(x, after[:, cuts].flatten(1, 2))
            final[cuts] = there[:, 0].unflatten(1, (-1, b)).transpose(0, 1)
        return value.transpose(0, 1), final

    def state_dict(self) -> dict[str, Tensor]:
        """What is remembered."""
        return {"now": self.now}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from there."""
        self.now = state["now"].to(self.now.device)


def sequences(
    steps: Steps, envs: Tensor, start: Tensor, recalled: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Whole rollouts of some environments, for networks with memory.

    Args:
        steps: the rollout.
        envs: [R, e] numbers of environments.
        start: what policies remembered before the first step, [R * B, K, H].
        recalled: what critics did, [R, B, K, H].

    Returns:
        (rows [R, T * e] of flat buffers, step by step; what was remembered before, and where episodes begin).
    """
    t, r, b, _ = steps.shape
    replica = torch.arange(r, device=envs.device)[:, None]
    first = torch.arange(t, device=envs.device)[:, None] * (r * b)
    rows = (first + (replica * b + envs)[:, None]).flatten(1)
    part = {
        "memory": start.unflatten(0, (r, b))[replica, envs],
        "begins": steps.begins()[:t].permute(1, 2, 0)[replica, envs].transpose(1, 2),
    }
    return rows, part if recalled is None else {**part, "recalled": recalled[replica, envs]}
