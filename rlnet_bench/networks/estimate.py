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
from rlnet_bench.learning.ppo import CHUNK_ROWS
from rlnet_bench.learning.returns import gae, next_values
from rlnet_bench.learning.value_norm import ValueNorm
from rlnet_bench.networks.credit import intervals, normalised, update_where
from rlnet_bench.networks.losses import Part, is_coupled
from rlnet_bench.networks.modules import StackNet
from rlnet_bench.networks.recall import Recall
from rlnet_bench.networks.rollout import Rollout, StackBuffer

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
        self.replicas = rollout.shape[1]
        self.norms: dict[int, ValueNorm] = {}
        self.rewards: dict[int, Tensor] = {}
        for buffer in rollout.stacks:
            s = buffer.net.stack
            if buffer.net.critic is not None and config.normalise_value:
                self.norms[s.number] = ValueNorm(self.replicas, device)
            self.rewards[s.number] = torch.tensor(s.reward, dtype=torch.float64, device=device)  # [K, N]
        self.carried: dict[int, dict[str, Tensor]] = {}
        self._next: dict[int, dict[str, Tensor]] = {}
        self._open: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self.recall = Recall(rollout)

    def restart(self) -> None:
        """All episodes begin anew: no interval is open, nothing is remembered."""
        self.carried = {}
        self.recall.restart()

    # -- rows --------------------------------------------------------------------------------------------

    def estimate(self) -> dict[int, Part]:
        """Flat rows [T * R * B, K, ...] of every stack that learns, by stack number."""
        found = {b.net.stack.number: self._stack(b) for b in self.rollout.stacks if b.net.critic is not None}
        raw = {number: x.advantage for number, x in found.items()}
        for buffer in self.rollout.stacks:
            s = buffer.net.stack
            if s.taught_by:
                found[s.number].advantage = self._taught(buffer, raw)
            if s.period == 1 and s.number in found:
                found[s.number].advantage = normalised(found[s.number].advantage, self.config)
        data: dict[int, Part] = {}
        for buffer in self.rollout.stacks:
            net = buffer.net
            if net.stack.number in found or is_coupled(net):
                data[net.stack.number] = self._rows(buffer, found.get(net.stack.number))
        return data

    @torch.no_grad()
    def _rows(self, buffer: StackBuffer, found: _Found | None) -> Part:
        t, r, b, _ = self.rollout.shape
        s = buffer.net.stack
        rows = t * r * b
        data = {"features": buffer.features[:t].view(rows, s.size_k, -1)}
        for name in ("critic", "reported", "env", "own", "mask"):
            value = getattr(buffer, name)
            if value is not None:
                data[name] = value[:t].view(rows, *value.shape[3:])
        if found is not None:
            if s.learns:
                log_p = self._old_log_probabilities(buffer)
                if s.number in self.carried:
                    old = self.carried[s.number]
                    log_p[0] = torch.where(old["open"][..., None], old["log_p"], log_p[0])
                data["log_p"] = log_p.view(rows, s.size_k)
                data["advantage"] = found.advantage.reshape(rows, s.size_k)
            data["returns"] = found.returns.reshape(rows, -1)
            if found.weight is not None:
                data["weight"] = found.weight.reshape(rows, 1)
                self._keep_open(buffer, data)
        alive = self.rollout.alive
        if alive is not None and s.is_motor:
            data["alive"] = alive[..., list(s.agents)].reshape(rows, s.size_k)
        return data

    # -- advantages --------------------------------------------------------------------------------------

    def reward(self, net: StackNet) -> Tensor:
        """[T, R, B, K], or [T, R, B, 1] where every vertex of the stack gets the team's reward."""
        share, rewards = self.rewards[net.stack.number], self.rollout.rewards
        if self.team_reward:
            reward = rewards.mean(dim=3, keepdim=True)
            scale = share.sum(dim=1).float()
            return reward if bool((scale == 1).all()) else reward * scale
        return rewards @ share.T.float()

    @torch.no_grad()
    def _stack(self, buffer: StackBuffer) -> _Found:
        """Advantages [T, R, B, K] and value targets of one stack."""
        if buffer.net.stack.period > 1:
            return self._slow(buffer)
        config, (t, r, b, _) = self.config, self.rollout.shape
        net, rollout, s = buffer.net, self.rollout, buffer.net.stack
        value, final = self._recalled(buffer) if net.is_recurrent else (
            self._value(net, buffer.valued), self._final_values(buffer)
        )  # fmt: skip
        terminated, truncated = rollout.terminated[..., None], rollout.truncated[..., None]
        following = next_values(value[:t], value[t], final, truncated)
        advantage = gae(self.reward(net), value[:t], following, terminated, truncated, config.gamma, config.gae_lambda)
        returns = advantage + value[:t]
        return _Found(advantage.expand(t, r, b, s.size_k), self._targets(s.number, returns))

    def _targets(self, number: int, returns: Tensor) -> Tensor:
        norm = self.norms.get(number)
        if norm is None:
            return returns
        norm.update(returns.transpose(0, 1).flatten(1))
        mean, std = (x[None, :, None, None] for x in norm.moments())
        return (returns - mean) / std

    def _taught(self, buffer: StackBuffer, raw: dict[int, Tensor]) -> Tensor:
        """The mean of each vertex's own advantage and its superiors', [T, R, B, K]."""
        s = buffer.net.stack
        at = {i: (o.net.stack.number, k) for o in self.rollout.stacks for k, i in enumerate(o.net.stack.members)}
        rows = []
        for member, superiors in zip(s.members, s.taught_by):
            parts = [raw[n][..., k] for n, k in (at[i] for i in (member, *superiors))]
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
        if config.normalise_advantage != "none":
            over = (0, 2) if config.normalise_advantage == "agent" else (0, 2, 3)
            each = w.expand_as(advantage)
            count = each.sum(dim=over, keepdim=True).clamp(min=1.0)
            mean = (advantage * w).sum(dim=over, keepdim=True) / count
            std = (((advantage - mean) * w).square().sum(dim=over, keepdim=True) / count).sqrt()
            advantage = (advantage - mean) / (std + 1e-8)
        norm = self.norms.get(s.number)
        if norm is not None:
            update_where(norm, returns, w)
            mean, std = (x[None, :, None, None] for x in norm.moments())
            returns = (returns - mean) / std
        return _Found(advantage, torch.where(w > 0, returns, 0.0), weight)

    def _keep_open(self, buffer: StackBuffer, data: Part) -> None:
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
        """Denormalised values [T', R, B, K] of what critics read [T', R, B, K, F]."""
        _, r, b, _ = self.rollout.shape
        rows = max(1, CHUNK_ROWS // (r * b * net.stack.size_k))
        value = torch.cat([net.values(chunk.transpose(0, 1).flatten(1, 2)).unflatten(1, (len(chunk), -1))
                           for chunk in inputs.split(rows)], dim=1).transpose(0, 1)  # fmt: skip
        return self._in_units(net, value)

    def _in_units(self, net: StackNet, value: Tensor) -> Tensor:
        """Values [T', R, B, K] in the units of the reward."""
        norm = self.norms.get(net.stack.number)
        if norm is not None:
            mean, std = (x[None, :, None, None] for x in norm.moments())
            value = value * std + mean
        return value

    def _recalled(self, buffer: StackBuffer) -> tuple[Tensor, Tensor]:
        """Values and final values of a recurrent critic."""
        value, final = self.recall.values(buffer)
        return self._in_units(buffer.net, value), self._in_units(buffer.net, final)

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
        """V of final observations where an episode was truncated (elsewhere 0), [T, R, B, K]."""
        t, r, b, _ = self.rollout.shape
        final = torch.zeros(t, r, b, buffer.net.stack.size_k, device=self.rollout.env.device)
        cut = self.rollout.truncated.any(dim=2).any(dim=1).nonzero().flatten()  # steps with a truncation
        if len(cut):
            assert buffer.final is not None
            final[cut] = self._value(buffer.net, buffer.final[cut])
        return final

    @torch.no_grad()
    def _old_log_probabilities(self, buffer: StackBuffer) -> Tensor:
        """Of what was chosen, under the policy that chose it, [T, R, B, K]."""
        t, r, b, _ = self.rollout.shape
        net = buffer.net
        if not net.stack.is_motor or net.is_recurrent:
            return buffer.log_p.clone()
        rows = max(1, CHUNK_ROWS // (r * b * net.stack.size_k))
        parts = []

        def cut(value: Tensor | None, s: int) -> Tensor | None:
            return None if value is None else value[s : min(s + rows, t)].transpose(0, 1).flatten(1, 2)

        for s in range(0, t, rows):
            features = cut(buffer.features, s)
            assert features is not None
            log_p, _ = net.stats(net.outputs(features), cut(buffer.env, s), cut(buffer.own, s), cut(buffer.mask, s))
            parts.append(log_p.unflatten(1, (-1, b)))
        return torch.cat(parts, dim=1).transpose(0, 1).contiguous()

    # -- checkpoint --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Value normalisation, open intervals, what critics remember."""
        return {
            "norms": {str(n): norm.state_dict() for n, norm in self.norms.items()},
            "carried": {str(n): dict(c) for n, c in self.carried.items()},
            "recalled": self.recall.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue to the bit."""
        for n, norm in self.norms.items():
            norm.load_state_dict(state["norms"][str(n)])
        device = self.rollout.env.device
        self.carried = {int(n): {k: v.to(device) for k, v in c.items()} for n, c in state["carried"].items()}
        self.recall.load_state_dict(state.get("recalled", {}))
