"""Another method's learner, or its policy, at the vertices of a stack: *tenants* of a network.

While the network trains, the method's own learner lives there (:class:`Tenant`): the vertices are the agents of its
task (:func:`rlnet_bench.networks.tenancy.level_card`), and the network tells it step by step what they read, what came
of what they did, and when they decide. Nothing of the method is written again: it explores, fills its replay and learns
as it does alone. In a policy that was trained, or is loaded, the method's policy sits there (:class:`Seated`).

A transition is one *decision interval* of d <= period steps: what was read when it was decided (instructions from above
among it), the sum of gamma^j r_j over j < d, gamma^d and what was read at the next decision; what would have been read
of the final observation where a time limit cut the episode; nothing after a termination.

Axes: **R** replicas, **B** environments per replica, **N** agents of the task, **K** vertices of the stack, **F**
features, **A** actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset, Scene, Transition, VectorEnv
from rlnet_bench.learning.off_policy import OffPolicyLearner
from rlnet_bench.learning.policy import Policy, PolicyState
from rlnet_bench.networks.stacks import Stack
from rlnet_bench.networks.step import Draws, Memory, Taken
from rlnet_bench.networks.tenancy import Tenancy


class Decides(Protocol):
    """Whatever chooses for a stack in the place of a policy of ours."""

    def initial_memory(self, num_envs: int) -> Memory:
        """What it remembers in the network's memory before the first step, each [R*B, ...]."""
        ...

    def decide(self, seen: Reset, memory: Memory, draws: Draws, look: bool) -> tuple[Tensor, Memory]:
        """(actions int64 [R*B, K] or float32 [R*B, K, A] in units of its task, what it remembers then).

        Args:
            seen: what the vertices read, [R*B, K, F], and which options they have.
            memory: the network's; only what is its own is read.
            draws: of this step.
            look: only to value a situation; nothing may be kept of it.
        """
        ...


class Seated:
    """A method's policy in the policy of a network."""

    def __init__(self, stack: Stack, policy: Policy) -> None:
        self.stack, self.policy, self.prefix = stack, policy, f"tenant.{stack.number}."

    def initial_memory(self, num_envs: int) -> Memory:
        """The policy's."""
        return {self.prefix + name: x for name, x in self.policy.initial_state(num_envs).memory.items()}

    def decide(self, seen: Reset, memory: Memory, draws: Draws, look: bool) -> tuple[Tensor, Memory]:
        """See :class:`Decides`."""
        assert draws.keys is not None and draws.step is not None
        own = {k.removeprefix(self.prefix): v for k, v in memory.items() if k.startswith(self.prefix)}
        state = PolicyState(own_keys(self.stack, draws.keys), draws.step, own)
        action, after = self.policy.act(seen.observation, state, seen.action_mask, None, not draws.sampled)
        return action, {self.prefix + name: x for name, x in after.memory.items()}


def own_keys(stack: Stack, keys: Tensor) -> Tensor:
    """Noise keys [R*B]: stacks draw apart, and the first agent's motors as that agent does without a network."""
    return rng.fold(rng.fold(keys, int(rng.Stream.VERTEX)), stack.rank) if stack.rank else keys


class Around(VectorEnv):
    """What a tenant takes for its environments: it is shown their beginning, and told of their steps."""

    def __init__(self, card: TaskCard, now: Reset, device: torch.device) -> None:
        self.card, self.now, self.device, self.num_envs = card, now, device, len(now.observation)

    def reset(self, seeds: Tensor) -> Reset:
        """The beginning."""
        return self.now

    def current(self) -> Reset:
        """The beginning."""
        return self.now

    def step(self, actions: Tensor) -> Transition:
        """The network steps."""
        raise NotImplementedError("a tenant does not step its environments")

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the network keeps the environments."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""

    def scene(self, index: int) -> Scene:
        """The network's environments have one."""
        raise NotImplementedError("a tenant has no picture")


class Tenant:
    """A method's learner at the vertices of a stack."""

    def __init__(
        self, tenancy: Tenancy, stack: Stack, env: VectorEnv, now: Reset, seeds: Sequence[int], *, team_reward: bool,
        total_frames: int,
    ) -> None:  # fmt: skip
        """Fresh, before the first step.

        Args:
            tenancy: who learns where, as what.
            stack: of the vertices.
            env: the network's environments.
            now: what they show.
            seeds: one per replica.
            team_reward: agents are rewarded with the team's mean.
            total_frames: the budget per replica.
        """
        self.stack, self.card, device = stack, tenancy.card, env.device
        self.agents = torch.tensor(stack.agents, dtype=torch.int64, device=device)
        self.share = torch.tensor(stack.reward, dtype=torch.float64, device=device)  # [K, N]
        self.team_reward = team_reward
        self.rates_alike = team_reward and bool((self.share.sum(dim=1) == 1).all())
        blank = torch.zeros(env.num_envs, stack.size_k, self.card.observation_size, device=device)
        self.learner: OffPolicyLearner[Any] = tenancy.method.learner_class()(
            Around(self.card, self._seen(blank, now), device), [_seed(stack, s) for s in seeds], tenancy.config,
            training_reward="team_mean" if self.rates_alike else "individual", total_frames=total_frames,
            period=stack.period,
        )  # fmt: skip
        self.step = 0  # of every environment, since training began
        self.metrics: list[dict[str, Tensor]] = []
        self.updates = 0  # since the last report
        self.raw: Tensor  # what was decided last

    # -- acting ------------------------------------------------------------------------------------------

    def initial_memory(self, num_envs: int) -> Memory:
        """Nothing: the learner carries what its vertices remember."""
        return {}

    def decide(self, seen: Reset, memory: Memory, draws: Draws, look: bool) -> tuple[Tensor, Memory]:
        """Explore; see :class:`Decides`."""
        raw, action = self.learner.glance(seen, self.step) if look else self.learner.behave(seen, self.step)
        if not look:
            self.raw = raw
        return action, {}

    # -- learning ----------------------------------------------------------------------------------------

    def begin(self, taken: Taken, now: Reset | Transition) -> None:
        """Write down what was read and decided; before the environments step."""
        assert taken.features is not None
        due = None
        if self.stack.period > 1:
            due = torch.ones_like(now.state[:, 0], dtype=torch.bool) if taken.due is None else taken.due.flatten()
        self.learner.replay.begin(self._seen(taken.features.flatten(0, 1), now), self.raw, due)
        self.step += 1

    def end(self, taken: Taken, now: Transition, final: Taken | None) -> None:
        """Write down what came of it, and learn when it is time.

        Args:
            taken: of :meth:`begin`.
            now: what the environments returned.
            final: what would have been read of final observations, where a time limit cut an episode.
        """
        assert taken.features is not None
        read = last = taken.features.flatten(0, 1)  # of the next step only what follows an end is needed
        if final is not None:
            assert final.features is not None
            last = final.features.flatten(0, 1)
        died = now.terminated[:, None].expand(-1, self.stack.size_k)
        if self.stack.is_motor:
            died = now.agent_terminated[:, self.agents]
        after = Transition(
            read, now.state, self._reward(now.reward), now.terminated, now.truncated, died,
            self._some(now.action_mask), self._some(now.alive_mask), last, now.final_state,
            self._some(now.final_action_mask), self._some(now.final_alive_mask), now.success,
        )  # fmt: skip
        self.learner.told(after)
        if self.step % self.learner.steps == 0:
            before = self.learner.updates
            with torch.enable_grad():  # the network collects without
                self.metrics.append(self.learner.update())
            self.updates += self.learner.updates - before
            self.learner.frames += self.learner.frames_per_iteration

    def report(self) -> tuple[int, dict[str, Tensor]]:
        """(updates, mean metrics [R]) since the last report; nothing before it learns."""
        found, made = [m for m in self.metrics if m], self.updates
        self.metrics, self.updates = [], 0
        return made, {name: torch.stack([m[name] for m in found]).mean(dim=0) for name in found[0]} if found else {}

    def _reward(self, reward: Tensor) -> Tensor:
        """[R*B, K], or [R*B, 1] where all members get the team's, of the agents' [R*B, N]."""
        return vertex_reward(reward, self.share, self.team_reward)

    def _seen(self, features: Tensor, now: Reset | Transition) -> Reset:
        return Reset(features, now.state, self._some(now.action_mask), self._some(now.alive_mask))

    def _some(self, mask: Tensor | None) -> Tensor | None:
        """A mask [R*B, N, ...] of the stack's motors; vertices above them may do anything and live for ever."""
        if mask is None or not self.stack.is_motor:
            return None
        mask = mask[:, self.agents]
        return mask if mask.ndim == 2 else mask[..., : self.card.action_size]

    # -- divergence and checkpoint -----------------------------------------------------------------------

    def held(self) -> list[Tensor]:
        """Everything [R * anything, ...] that a diverged replica loses."""
        learner = self.learner
        return [*learner.optimiser.parameters, *learner.held(), *learner.optimiser.slots()]

    def state_dict(self) -> dict[str, Any]:
        """The learner's, replay and all."""
        return self.learner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue to the bit."""
        self.learner.load_state_dict(state)
        self.step = self.learner.frames // self.learner.num_envs


def vertex_reward(rewards: Tensor, share: Tensor, team: bool) -> Tensor:
    """Rewards of vertices [..., K] as weighted sums of the agents' [..., N]; [..., 1] where all get the team's.

    Args:
        rewards: [..., N].
        share: weights [K, N] (:func:`rlnet_bench.networks.cost.rewards`).
        team: agents are rewarded with the team's mean.
    """
    if not team:
        return rewards @ share.T.float()
    reward, scale = rewards.mean(dim=-1, keepdim=True), share.sum(dim=1).float()
    return reward if bool((scale == 1).all()) else reward * scale


def _seed(stack: Stack, seed: int) -> int:
    """Of the learner: two tenants draw apart; at the first agent's motors it draws as it does without a network."""
    return rng.fold_int(seed, int(rng.Stream.VERTEX), stack.rank) if stack.rank else seed
