"""What training writes down: one buffer per stack, filled by stepping the environments.

Axes: **T** steps of a rollout, **R** replicas, **B** environments per replica, **N** agents, **K** vertices of a
stack, **F** features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rlnet_bench.envs.contract import VectorEnv
from rlnet_bench.learning.rollout import Steps
from rlnet_bench.networks.execute import Executor
from rlnet_bench.networks.modules import StackNet
from rlnet_bench.networks.step import Draws, Memory, Step, Taken
from rlnet_bench.networks.tenant import Tenant


class StackBuffer:
    """T steps of one stack. Rows of steps at which a slow vertex decided nothing hold older numbers, never NaN."""

    def __init__(self, net: StackNet, t: int, r: int, b: int, masked: bool) -> None:
        s, device = net.stack, net.agents.device
        k = s.size_k
        self.net = net

        def floats(steps: int, width: int) -> Tensor:
            return torch.zeros(steps, r, b, k, width, device=device)

        self.features = floats(t + 1, net.reads.width)
        wide = net.critic_reads
        self.critic = floats(t + 1, wide.width) if wide is not None and net.critic is not None else None
        self.final = floats(t, (wide or net.reads).width) if net.critic is not None else None
        self.reported = floats(t, net.message_reads.width) if net.message_reads is not None else None
        self.env = self.own = self.mask = None
        if s.is_motor:
            kind = torch.int64 if net.actions.discrete else torch.float32
            shape = (t, r, b, k) if net.actions.discrete else (t, r, b, k, net.env_outputs)
            self.env = torch.zeros(shape, dtype=kind, device=device)
            if masked:
                self.mask = torch.zeros(t, r, b, k, net.card.action_size, dtype=torch.bool, device=device)
        if net.own_outputs:
            discrete = s.vertex.sends.kind == "discrete"
            width = s.heads if discrete else net.own_outputs
            self.own = torch.zeros(t, r, b, k, width, dtype=torch.int64 if discrete else torch.float32, device=device)
        self.noise = floats(t, net.own_outputs) if s.blurs else None
        acts = s.learns and s.acts
        self.env_said = floats(t, net.card.action_size) if acts and s.is_motor else None
        self.own_said = floats(t, net.own_outputs) if acts and net.own_outputs else None
        self.log_p = torch.zeros(t, r, b, k, device=device)  # of what was chosen, where a policy loss needs it
        self.due = torch.ones(t + 1, r, b, dtype=torch.bool, device=device)

    def write(self, t: int, taken: Taken) -> None:
        """Keep what the stack did at step t (row T: what it would read next)."""
        if taken.due is not None:
            self.due[t] = taken.due
        for name in ("features", "critic"):
            value, buffer = getattr(taken, name), getattr(self, name)
            if value is not None and buffer is not None:
                buffer[t] = value
        for name in ("reported", "env", "own", "noise", "mask", "env_said", "own_said"):
            value, buffer = getattr(taken, name), getattr(self, name)
            if value is not None and buffer is not None and t < len(buffer):
                buffer[t] = value

    def write_final(self, t: int, taken: Taken) -> None:
        """Keep what critics read of final observations."""
        value = taken.features if self.critic is None else taken.critic
        if self.final is not None and value is not None:
            self.final[t] = value

    def judge(self) -> None:
        """How likely everything was that was chosen."""
        if self.env_said is not None or self.own_said is not None:
            self.log_p = self.net.stats((self.env_said, self.own_said), self.env, self.own, self.mask)[0]

    @property
    def valued(self) -> Tensor:
        """What critics read, [T + 1, R, B, K, F]."""
        return self.features if self.critic is None else self.critic


class Rollout(Steps):
    """Buffers of all stacks, and the environments' side of T steps."""

    def __init__(self, env: VectorEnv, executor: Executor, steps: int, replicas: int) -> None:
        super().__init__(env, steps, replicas)
        t, r, b, _ = self.shape
        self.env, self.executor = env, executor
        self.stacks = [StackBuffer(net, t, r, b, env.card.masked) for net in executor.nets]
        self.tenants: dict[int, Tenant] = {}  # by stack, who are told of every step
        self.start: Memory = {}  # what was remembered before the first step
        self.ended: Memory = {}  # what was remembered after the last step, before any reset
        self.instructs = any(net.stack.instructs for net in executor.nets) or bool(executor.wiring.ways)

    @torch.no_grad()
    def collect(self, keys: Tensor, start: int, now: Any, memory: Memory) -> tuple[Any, Memory]:
        """T steps under the current policy.

        Args:
            keys: [R*B] noise keys.
            start: number of the first step since training began.
            now: what the environments show.
            memory: what the network remembers.

        Returns:
            (what the environments show next, memory).
        """
        t_max = self.shape[0]
        draws = self.draws(keys, start)
        for t in range(t_max):
            now, memory = self.step(t, now, memory, draws)
        self.end(now, memory, draws)
        return now, memory

    def draws(self, keys: Tensor, start: int) -> list[Draws]:
        """Noise of T + 1 steps; the last is for valuing what follows."""
        steps = torch.arange(start, start + self.shape[0], device=self.env.device)[:, None]
        draws = self.executor.draws(keys, steps)
        last = self.executor.draws(keys, steps[-1:] + 1)[0] if self.instructs else Draws(None, {})
        return [*draws, last]

    @torch.no_grad()
    def step(
        self, t: int, now: Any, memory: Memory, draws: Sequence[Draws], begun: Step | None = None
    ) -> tuple[Any, Memory]:
        """Step t of the rollout: (what the environments show next, memory).

        ``begun``: the same step, if part of it is already decided.
        """
        self.see(t, now)
        if begun is None:
            begun = self.executor.begin(now.observation, now.state, memory, draws[t], now.action_mask, record=True)
        if t == 0:
            self.start = begun.memory
        actions, memory, taken = self.executor.finish(begun)
        self.ended = memory
        assert actions is not None
        for buffer, note in zip(self.stacks, taken):
            buffer.write(t, note)
        for number, tenant in self.tenants.items():
            tenant.begin(taken[number], now)
        now = self.env.step(actions)
        self.write(t, now)
        seen: list[Taken] = []
        # An environment that ended nothing hands back the same tensor: nothing to keep then.
        if now.final_observation is not now.observation and bool(now.truncated.any()):
            # The network still remembers the episode that has ended.
            seen = self._look(now.final_observation, now.final_state, memory, draws[t + 1], now.final_action_mask)
            for buffer, note in zip(self.stacks, seen):
                buffer.write_final(t, note)
        for number, tenant in self.tenants.items():
            tenant.end(taken[number], now, seen[number] if seen else None)
        if memory:
            memory = self.executor.restarted(memory, now.terminated | now.truncated)
        return now, memory

    @torch.no_grad()
    def end(self, now: Any, memory: Memory, draws: Sequence[Draws]) -> None:
        """Write down what every stack would read next, to value it, and how likely its choices were."""
        for buffer, note in zip(
            self.stacks, self._look(now.observation, now.state, memory, draws[-1], now.action_mask)
        ):
            buffer.write(self.shape[0], note)
            buffer.judge()

    def _look(
        self, observation: Tensor, state: Tensor, memory: Memory, draws: Draws, mask: Tensor | None
    ) -> list[Taken]:
        """What every stack would read, as the network remembers; slow vertices hold, or decide where it is time."""
        return self.executor.step(observation, state, memory, draws, mask, look=True)[2]
