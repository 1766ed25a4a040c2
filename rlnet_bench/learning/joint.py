"""A team as one agent: it observes what everybody observes, and chooses for everybody at once.

Axes: **R** replicas, **B** environments (the flat batch), **N** agents, **O** observation width, **A** actions, **J**
joint actions, **K** agents of a network's output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset, Scene, Transition, VectorEnv
from rlnet_bench.learning.actor import Actor
from rlnet_bench.learning.agents import AgentNetwork
from rlnet_bench.learning.policy import ActorPolicy, PolicyState


def joint_card(card: TaskCard) -> TaskCard:
    """The task as that of one agent whose options are the J joint actions; discrete tasks only."""
    return replace(
        card, agents=("team",), action_sizes=(prod(card.action_sizes),), action_factors=None,
        observation_sizes=(card.num_agents * card.observation_size,),
    )  # fmt: skip


def joint_observation(observation: Tensor) -> Tensor:
    """[B, N, O] -> [B, 1, N * O]."""
    return observation.flatten(1)[:, None]


def joint_mask(mask: Tensor | None, sizes: Sequence[int]) -> Tensor | None:
    """Who may do what [B, N, A] -> what all may do together [B, 1, J], the last agent's action fastest."""
    if mask is None:
        return None
    joint = mask[:, 0, : sizes[0]]
    for i, size in enumerate(sizes[1:], 1):
        joint = (joint[:, :, None] & mask[:, i, None, :size]).flatten(1)
    return joint[:, None]


def separate(joint: Tensor, sizes: Sequence[int]) -> Tensor:
    """A joint action int64 [B] -> the agents' [B, N]."""
    actions = []
    for size in reversed(sizes):
        actions.append(joint % size)
        joint = joint // size
    return torch.stack(actions[::-1], dim=-1)


class JointEnv(VectorEnv):
    """A discrete task's environments as those of one agent, the team; its reward is the agents' mean."""

    def __init__(self, env: VectorEnv) -> None:
        """``env``: is stepped from here on."""
        self.env, self.card, self.num_envs, self.device = env, joint_card(env.card), env.num_envs, env.device
        self.sizes = env.card.action_sizes

    def _seen(self, now: Reset) -> Reset:
        return Reset(joint_observation(now.observation), now.state, joint_mask(now.action_mask, self.sizes), None)

    def reset(self, seeds: Tensor) -> Reset:
        """See :class:`~rlnet_bench.envs.contract.VectorEnv`."""
        return self._seen(self.env.reset(seeds))

    def current(self) -> Reset:
        """See :class:`~rlnet_bench.envs.contract.VectorEnv`."""
        return self._seen(self.env.current())

    def step(self, actions: Tensor) -> Transition:
        """Joint actions int64 [B, 1]."""
        self.env.at_end = self.at_end
        after = self.env.step(separate(actions[:, 0], self.sizes))
        observation, final = joint_observation(after.observation), after.final_observation
        same = final is after.observation  # nothing ended: nothing to keep
        return after._replace(
            observation=observation,
            reward=after.reward.mean(dim=1, keepdim=True),
            agent_terminated=after.terminated[:, None],
            action_mask=joint_mask(after.action_mask, self.sizes),
            alive_mask=None,
            final_observation=observation if same else joint_observation(final),
            final_action_mask=joint_mask(after.final_action_mask, self.sizes),
            final_alive_mask=None,
        )

    def state_dict(self) -> dict[str, Any]:
        """The environments'."""
        return self.env.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The environments'."""
        self.env.load_state_dict(state)

    def scene(self, index: int) -> Scene:
        """The task's."""
        return self.env.scene(index)

    def close(self) -> None:
        """The environments."""
        self.env.close()


class JointPolicy(ActorPolicy):
    """An actor of the :func:`joint_card`, acting for the agents of the task."""

    def __init__(self, actor: Actor, card: TaskCard, spec: Mapping[str, Any]) -> None:
        super().__init__(actor, spec)
        self.sizes = card.action_sizes

    def act(
        self,
        observation: Tensor,
        state: PolicyState,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, PolicyState]:
        """See :class:`~rlnet_bench.learning.policy.Policy`."""
        seen, legal = joint_observation(observation), joint_mask(mask, self.sizes)
        joint, after = super().act(seen, state, legal, reset, deterministic)
        return separate(joint[:, 0], self.sizes), after


class TeamNetwork(AgentNetwork):
    """One network for a whole team: [R, n, N, F] -> [R, n, K, out], every output a function of all that is read."""

    def __init__(
        self, sizes: Sequence[int], keys: Sequence[int], replicas: int, agents: int, outputs: int, **options: Any
    ) -> None:
        """``sizes``: F, hidden widths, out; ``agents``: N; ``outputs``: K; else see
        :class:`~rlnet_bench.learning.agents.AgentNetwork`."""
        whole = (sizes[0] * agents, *sizes[1:-1], sizes[-1] * outputs)
        super().__init__(whole, keys, replicas, 1, **options)
        self.copies = outputs  # what else a policy learns per agent (a Gaussian's deviations)

    def __call__(self, x: Tensor) -> Tensor:
        """[R, n, N, F] -> [R, n, K, out]."""
        return super().__call__(x.flatten(2)[:, :, None]).unflatten(-1, (self.copies, -1))[:, :, 0]

    def see(self, x: Tensor) -> None:
        """What was learned from, [R, n, N, F]."""
        super().see(x.flatten(2)[:, :, None])

    def along(self, x: Tensor, h: Tensor, begins: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """T steps with memory, x [R, T, n, N, F]; what is remembered is the team's, [R, n, 1, H]."""
        out, after = super().along(x.flatten(3)[:, :, :, None], h, begins)
        return out.unflatten(-1, (self.copies, -1))[:, :, :, 0], after
