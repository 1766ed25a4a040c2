"""Advantages and value targets of every stack, from the buffers of a rollout.

A vertex's reward is a weighted sum of the agents' (:func:`rlnet_bench.networks.cost.rewards`). Slow vertices get
returns over intervals; an interval that is still open when a rollout ends is carried into the next one, where its
decision takes the place of the first step (at which, the interval being open, nothing was decided).

Axes: **T** steps of a rollout, **R** replicas, **B** environments, **N** agents, **K** vertices of a stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlnet_bench.learning.config import PpoConfig
from rlnet_bench.learning.ppo import normalised
from rlnet_bench.learning.returns import gae, intervals, next_values
from rlnet_bench.learning.rollout import CriticMemory, at_cuts, flat, over_time
from rlnet_bench.learning.value_norm import ValueNorm
from rlnet_bench.networks.losses import is_coupled
from rlnet_bench.networks.modules import StackNet
from rlnet_bench.networks.rollout import Rollout, StackBuffer
from rlnet_bench.networks.stacks import Stack
from rlnet_bench.networks.tenant import vertex_reward

Rows = dict[str, Tensor]  # flat rows [T * R * B, K, ...] of one stack
_CARRIED = ("features", "critic", "reported", "own")


@dataclass
class _Found:
    """What a rollout says of one stack; ``weight`` [T, R, B] is None where every step is a decision."""

    advantage: Tensor
    returns: Tensor
    weight: Tensor | None = None


class Estimator:
    """Turns a filled :class:`~rlnet_bench.networks.rollout.Rollout` into rows to learn from."""

    def __init__(self, rollout: Rollout, config: PpoConfig, team_reward: bool) -> None:
        self.rollout, self.config, self.team_reward = rollout, config, team_reward
        card, device = rollout.env.card, rollout.env.device
        self.lockstep = not card.can_terminate  # all episodes begin together for ever
        self.norms: dict[int, ValueNorm] = {}
        self.memories: dict[int, CriticMemory] = {}
        self.rewards: dict[int, Tensor] = {}
        for buffer in rollout.stacks:
            s, critic = buffer.net.stack, buffer.net.critic
            if critic is not None:
                self.norms[s.number] = ValueNorm(rollout.shape[1], device, config.normalise_value)
                if critic.is_recurrent:
                    self.memories[s.number] = CriticMemory(critic, rollout)
            self.rewards[s.number] = torch.tensor(s.reward, dtype=torch.float64, device=device)  # [K, N]
        self.raw: dict[int, Tensor] = {}  # advantages of this rollout [T, R, B, K], in units of the reward
        self.carried: dict[int, dict[str, Tensor]] = {}
        self._next: dict[int, dict[str, Tensor]] = {}
        self._open: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def restart(self) -> None:
        """All episodes begin anew: no interval is open, nothing is remembered."""
        self.carried = {}
        for memory in self.memories.values():
            memory.restart()

    # -- rows --------------------------------------------------------------------------------------------

    def estimate(self) -> dict[int, Rows]:
        """Flat rows [T * R * B, K, ...] of every stack that learns, by stack number."""
        found: dict[int, _Found] = {}
        for buffer in self.rollout.stacks:  # superiors first: their advantages may be rewards
            s = buffer.net.stack
            if buffer.net.critic is not None:
                found[s.number] = self._stack(buffer)
                self.raw[s.number] = found[s.number].advantage
        for buffer in self.rollout.stacks:
            s = buffer.net.stack
            if s.vertex.advantage == "superiors":
                found[s.number].advantage = self._mean(s, with_own=True)
            if s.period == 1 and s.number in found:
                found[s.number].advantage = normalised(found[s.number].advantage, self.config.normalise_advantage)
        data: dict[int, Rows] = {}
        for buffer in self.rollout.stacks:
            net = buffer.net
            if net.stack.number in found or is_coupled(net):
                data[net.stack.number] = self._rows(buffer, found.get(net.stack.number))
        return data

    @torch.no_grad()
    def _rows(self, buffer: StackBuffer, found: _Found | None) -> Rows:
        t, s = self.rollout.shape[0], buffer.net.stack
        names = ("features", "critic", "reported", "env", "own", "noise", "mask")
        read = {name: getattr(buffer, name) for name in names}
        data = {name: flat(value[:t]) for name, value in read.items() if value is not None}
        if found is not None:
            if s.learns:
                if s.number in self.carried:
                    old = self.carried[s.number]
                    buffer.log_p[0] = torch.where(old["open"][..., None], old["log_p"], buffer.log_p[0])
                data["log_p"], data["advantage"] = flat(buffer.log_p), flat(found.advantage)
            data["returns"] = flat(found.returns)
            if found.weight is not None:
                data["weight"] = flat(found.weight)[:, None]
                self._keep_open(buffer, data)
        if self.rollout.alive is not None and s.is_motor:
            data["alive"] = flat(self.rollout.alive[..., list(s.agents)])
        return data

    # -- advantages --------------------------------------------------------------------------------------

    def reward(self, net: StackNet) -> Tensor:
        """[T, R, B, K], or [T, R, B, 1] where every vertex of the stack gets the team's reward."""
        if net.stack.vertex.reward == "superior_advantage":
            return self._mean(net.stack, with_own=False)
        return vertex_reward(self.rollout.rewards, self.rewards[net.stack.number], self.team_reward)

    @torch.no_grad()
    def _stack(self, buffer: StackBuffer) -> _Found:
        """Advantages [T, R, B, K] and value targets of one stack."""
        if buffer.net.stack.period > 1:
            return self._slow(buffer)
        config, (t, r, b, _) = self.config, self.rollout.shape
        net, rollout, s = buffer.net, self.rollout, buffer.net.stack
        if s.number in self.memories:
            assert buffer.final is not None
            value, final = self.memories[s.number].values(net.values_along, buffer.valued, buffer.final)
            value, final = (self.norms[s.number].to_reward(x) for x in (value, final))
        else:
            value, final = self._value(net, buffer.valued), self._final_values(buffer)
        truncated = rollout.truncated[..., None]
        terminated = rollout.endings(self.team_reward, list(s.agents)) if s.is_motor else rollout.terminated[..., None]
        following = next_values(value[:t], value[t], final, truncated)
        advantage = gae(self.reward(net), value[:t], following, terminated, truncated, config.gamma, config.gae_lambda)
        returns = advantage + value[:t]
        self.norms[s.number].update(returns)
        return _Found(advantage.expand(t, r, b, s.size_k), self.norms[s.number].to_target(returns))

    def _mean(self, s: Stack, *, with_own: bool) -> Tensor:
        """The mean advantage of each vertex's superiors, with or without its own among them, [T, R, B, K]."""
        at = {i: (o.net.stack.number, k) for o in self.rollout.stacks for k, i in enumerate(o.net.stack.members)}
        rows = []
        for member, superiors in zip(s.members, s.superiors):
            teachers = (member, *superiors) if with_own else superiors
            parts = [self.raw[n][..., k] for n, k in (at[i] for i in teachers)]
            rows.append(torch.stack(parts).mean(dim=0))
        return torch.stack(rows, dim=-1)

    # -- slow vertices -----------------------------------------------------------------------------------

    def _slow(self, buffer: StackBuffer) -> _Found:
        config, (t, r, b, _) = self.config, self.rollout.shape
        net, rollout = buffer.net, self.rollout
        s = net.stack
        carried = self.carried.get(s.number)
        decided = buffer.due[:t].clone()
        if carried is not None:
            is_open = carried["open"]
            decided[0] |= is_open
            for name in _CARRIED:
                value = getattr(buffer, name)
                if value is not None:
                    value[0] = torch.where(is_open.view(r, b, *[1] * (value.ndim - 3)), carried[name], value[0])
        value = self._values_where(net, buffer.valued, decided, buffer.due[t])
        reward = self.reward(net).expand(t, r, b, s.size_k)
        open_before = None if carried is None else (carried["open"], carried["reward"], carried["discount"])
        got = intervals(
            reward, value, self._final_values(buffer), buffer.due, rollout.terminated, rollout.truncated,
            config.gamma, config.gae_lambda, open_before,
        )  # fmt: skip
        weight = (decided & got.closed).float()
        self._open[s.number] = (decided & ~got.closed, got.reward, got.discount)
        returns, advantage = got.advantage + value[:t], got.advantage
        w = weight[..., None]
        self.norms[s.number].update(returns, w)
        returns = torch.where(w > 0, self.norms[s.number].to_target(returns), 0.0)
        return _Found(normalised(advantage, config.normalise_advantage, w), returns, weight)

    def _keep_open(self, buffer: StackBuffer, data: Rows) -> None:
        """Remember the decisions whose intervals are still open, one per environment at most."""
        t, r, b, _ = self.rollout.shape
        s = buffer.net.stack
        is_open, reward, discount = self._open[s.number]
        last = is_open.int().argmax(dim=0)  # [R, B]

        def pick(value: Tensor) -> Tensor:
            index = last.view(1, r, b, *[1] * (value.ndim - 3)).expand(1, *value.shape[1:])
            return value[:t].gather(0, index)[0]

        keep = {"open": is_open.any(dim=0), "reward": pick(reward), "discount": pick(discount)}
        for name in _CARRIED:
            value = getattr(buffer, name)
            if value is not None:
                keep[name] = pick(value)
        if "log_p" in data:
            keep["log_p"] = pick(data["log_p"].view(t, r, b, s.size_k))
        self._next[s.number] = keep

    def carry_on(self) -> None:
        """The next rollout begins: what is open now was open before."""
        self.carried, self._next = self._next, {}

    # -- values ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _value(self, net: StackNet, inputs: Tensor) -> Tensor:
        """Values [T', R, B, K] of what critics read [T', R, B, K, F], in units of the reward."""
        return self.norms[net.stack.number].to_reward(over_time(net.values, inputs, net.stack.size_k))

    def _values_where(self, net: StackNet, inputs: Tensor, decided: Tensor, last: Tensor) -> Tensor:
        """Values [T + 1, R, B, K] at the steps with a decision; zero at the others in lockstep."""
        if not self.lockstep:
            return self._value(net, inputs)
        rows = torch.cat((decided, last[None])).flatten(1).any(dim=1).nonzero().flatten()
        value = torch.zeros(inputs.shape[:4], device=inputs.device)
        if len(rows):
            value[rows] = self._value(net, inputs[rows])
        return value

    def _final_values(self, buffer: StackBuffer) -> Tensor:
        """V of final observations where an episode was truncated (elsewhere anything), [T, R, B, K]."""
        assert buffer.final is not None
        final = at_cuts(buffer.net.values, buffer.final, self.rollout, buffer.net.stack.size_k)
        return self.norms[buffer.net.stack.number].to_reward(final)

    # -- checkpoint --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Value normalisation, open intervals, what critics remember."""
        return {
            "norms": {str(n): norm.state_dict() for n, norm in self.norms.items()},
            "carried": {str(n): dict(c) for n, c in self.carried.items()},
            "memories": {str(n): memory.state_dict() for n, memory in self.memories.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue to the bit."""
        for n, norm in self.norms.items():
            norm.load_state_dict(state["norms"][str(n)])
        device = self.rollout.env.device
        self.carried = {int(n): {k: v.to(device) for k, v in c.items()} for n, c in state["carried"].items()}
        for n, memory in self.memories.items():
            memory.load_state_dict(state["memories"][str(n)])
