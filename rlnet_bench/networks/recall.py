"""What recurrent critics remember over a rollout, and rollouts as sequences to learn from.

Axes: **T** steps of a rollout, **R** replicas, **B** environments, **K** vertices of a stack, **H** numbers remembered.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlnet_bench.networks.losses import Part
from rlnet_bench.networks.modules import StackNet
from rlnet_bench.networks.recurrent import Recurrent
from rlnet_bench.networks.rollout import Rollout, StackBuffer
from rlnet_bench.networks.step import hidden_key


class Recall:
    """Recurrent critics read along; policies remember in the executor's memory."""

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.now: dict[int, Tensor] = {}  # what critics remember, [R, B, K, H] by stack
        self.before: dict[int, Tensor] = {}  # the same before the first step of the rollout
        self.restart()

    def restart(self) -> None:
        """Nothing is remembered."""
        _, r, b, _ = self.rollout.shape
        for buffer in self.rollout.stacks:
            critic, s = buffer.net.critic, buffer.net.stack
            if isinstance(critic, Recurrent):
                self.now[s.number] = torch.zeros(r, b, s.size_k, critic.width, device=buffer.log_p.device)

    def forget(self, replicas: Tensor) -> None:
        """Nothing is remembered in these replicas ([R] bool), whatever it was (NaN included)."""
        self.now = {n: h.masked_fill(replicas.view(-1, 1, 1, 1), 0) for n, h in self.now.items()}

    def values(self, buffer: StackBuffer) -> tuple[Tensor, Tensor]:
        """Normalised values of one stack; what its critics remember moves on to the next rollout.

        Returns:
            ([T + 1, R, B, K], those of final observations [T, R, B, K], meaningful where truncated).
        """
        (t, r, b, _), net, number = self.rollout.shape, buffer.net, buffer.net.stack.number
        begins = self.rollout.begins()
        self.before[number] = self.now[number]
        value, after = net.values_along(buffer.valued.transpose(0, 1), self.now[number], begins.transpose(0, 1))
        self.now[number] = torch.where(begins[t][..., None, None], 0.0, after[:, t - 1])
        final = torch.zeros(t, r, b, net.stack.size_k, device=value.device)
        cut = self.rollout.truncated.any(dim=2).any(dim=1).nonzero().flatten()
        if len(cut):
            assert buffer.final is not None
            x = buffer.final[cut].transpose(0, 1).flatten(1, 2)[:, None]  # [R, 1, C * B, K, F]
            there, _ = net.values_along(x, after[:, cut].flatten(1, 2))
            final[cut] = there[:, 0].unflatten(1, (-1, b)).transpose(0, 1)
        return value.transpose(0, 1), final

    def sequences(self, net: StackNet, envs: Tensor) -> tuple[Tensor, Part]:
        """Whole rollouts of some environments.

        Args:
            net: a recurrent stack.
            envs: [R, e] numbers of environments.

        Returns:
            (rows [R, T * e] of flat buffers, step by step; what was remembered before, and where episodes begin).
        """
        t, r, b, _ = self.rollout.shape
        replica = torch.arange(r, device=envs.device)[:, None]
        steps = torch.arange(t, device=envs.device)[:, None] * (r * b)
        rows = (steps + (replica * b + envs)[:, None]).flatten(1)
        number = net.stack.number
        part = {
            "hidden": self.rollout.start[hidden_key(number)].unflatten(0, (r, b))[replica, envs],
            "begins": self.rollout.begins()[:t].permute(1, 2, 0)[replica, envs].transpose(1, 2),
        }
        if number in self.before:
            part["recalled"] = self.before[number][replica, envs]
        return rows, part

    def state_dict(self) -> dict[str, Tensor]:
        """What critics remember."""
        return {str(n): h for n, h in self.now.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.now = {int(n): h.to(self.rollout.rewards.device) for n, h in state.items()}
