"""Everything below a vertex, or a level, of a network as an environment: whoever steps it sits there.

The concept is that of TAG (arXiv 2502.15425): actions go down, messages and rewards come up. The vertices are the
agents of a :class:`~rlnet_bench.envs.contract.VectorEnv`: each observes what its subordinates report and its superiors
instruct, its actions are its instructions, its reward is the one that its vertex is due. The rest of the network, above
and below, acts and, by default, learns by PPO: after every T steps it makes its updates.

    >>> from rlnet_bench.envs.registry import task_card
    >>> from rlnet_bench.networks.build import Network, continuous
    >>> spec = (Network("two").vertex("boss", action=continuous(4), learner="method:mine")
    ...         .motors("motor").edge("boss", "motor").build())
    >>> env = LevelEnv(spec, "boss", task_card("mpe/simple_spread-discrete-v1"), num_envs=8)
    >>> env.card.agents, env.card.action_sizes
    (('boss',), (4,))

Axes: **B** environments of the flat batch (R replicas one after the other), **K** vertices of the level.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.contract import Reset, Scene, Transition, VectorEnv
from rlnet_bench.errors import BadInput
from rlnet_bench.networks.graph import Graph, expand
from rlnet_bench.networks.learner import NetworkLearner
from rlnet_bench.networks.method import NetworkConfig
from rlnet_bench.networks.refuse import is_through, unsupported
from rlnet_bench.networks.spec import NetworkSpec, Settings
from rlnet_bench.networks.tenancy import level_card
from rlnet_bench.vocabulary import TrainingReward


class LevelEnv(VectorEnv):
    """What surrounds the vertices of one declaration, or one of them, for any learner of this contract."""

    def __init__(
        self,
        spec: NetworkSpec,
        level: str,
        task: TaskCard,
        num_envs: int,
        seeds: tuple[int, ...] = (0,),
        *,
        config: NetworkConfig | None = None,
        learns: bool = True,
        training_reward: TrainingReward = "team_mean",
        total_frames: int = 1_000_000,
        device: str = "cpu",
    ) -> None:
        """Build the environments of the task and the rest of the network.

        Args:
            spec: a network in which the level's ``learner`` is ``method:NAME`` (any name), unless ``level`` is one
                vertex of several.
            level: the declaration whose vertices the caller decides for, or one vertex such as ``manager[1]``, while
                the others of its declaration go on with their own ``learner``. Its period is 1.
            task: what the motors act on.
            num_envs: size R * B of the flat batch.
            seeds: one per replica, for the weights, noise and environments of the rest.
            config: settings of PPO in the rest; ``num_envs`` of it is replaced.
            learns: False leaves the rest as it is.
            training_reward: as in suites.
            total_frames: the budget of the rest, for annealing.
            device: torch device.

        Raises:
            BadInput: naming the vertex that does not fit.
        """
        from rlnet_bench.envs.registry import make_env

        graph = expand(spec, task)
        self.members = _members(graph, level)
        self._check(graph, level)
        graph = _handed_over(graph, self.members)
        reason = unsupported(graph, outside=self.members)
        if reason:
            raise BadInput(reason)
        config = (config or NetworkConfig()).model_copy(update={"num_envs": num_envs // len(seeds)})
        self.base = make_env(task, num_envs, device)
        self.below = NetworkLearner(
            self.base, seeds, graph, config, training_reward=training_reward, total_frames=total_frames
        )
        self.learns, self.num_envs, self.device = learns, num_envs, self.base.device
        self.stack = next(n.stack for n in self.below.nets if n.stack.members == self.members)
        self.net = self.below.nets[self.stack.number]
        above = _above(graph, self.members)
        self.first = {n.stack.number for n in self.below.nets if above & set(n.stack.members)}
        self.card = level_card(graph, self.members)
        self.t = 0
        self._begin_rollout()

    def _check(self, graph: Graph, level: str) -> None:
        first = graph.nodes[self.members[0]]
        where = f"{graph.spec.where(first.vertex.line)}level {level!r}: "
        is_whole = len(self.members) == sum(n.vertex.name == first.vertex.name for n in graph.nodes)
        if is_whole and first.vertex.method is None:
            raise BadInput(f"{where}expected `learner: method:NAME`, found {first.vertex.learner!r}.")
        for other in graph.nodes:
            if other.vertex.method is not None and other.index not in self.members:
                raise BadInput(f"{where}{other.name!r} beside it has `learner: {other.vertex.learner}`; "
                               "expected one level that learns otherwise than by ppo.")  # fmt: skip
        if first.vertex.period != 1 or first.heads != 1:
            raise BadInput(f"{where}expected period 1 and one instruction for all subordinates.")
        for weight in (k.edge.weight for k in graph.links if k.subordinate in self.members):
            if isinstance(weight, str):
                raise BadInput(f"{where}expected fixed weights of the edges from above, found `weight: {weight}`.")
        for i in sorted(_above(graph, self.members)):
            other = graph.nodes[i]
            if other.is_motor or is_through(other):
                what = "a motor" if other.is_motor else "trained by its subordinates' losses (`gradient: through`)"
                raise BadInput(f"{where}{other.name!r} above it is {what}; expected vertices that learn by themselves "
                               "and are no motors.")  # fmt: skip

    def _begin_rollout(self) -> None:
        below = self.below
        self.draws = below.rollout.draws(below.action_keys, below.frames // below.config.num_envs)

    @torch.no_grad()
    def _begin(self) -> Reset:
        """Messages go up, and what is above the level decides; the level's own decision is awaited."""
        now, executor = self.below.now, self.below.executor
        self.begun = executor.begin(
            now.observation, now.state, self.below.memory.now, self.draws[self.t], now.action_mask,
            record=True, first=self.first,
        )  # fmt: skip
        self.seen = executor.look_at(self.stack.number, self.begun).flatten(0, 1)
        return self.current()

    # -- the contract ------------------------------------------------------------------------------------

    def reset(self, seeds: Tensor) -> Reset:
        """Start episode 0 of every environment; what was learned below stays."""
        self.below.now = self.base.reset(seeds)
        self.below.memory.now = self.below.executor.initial_memory(self.num_envs)
        self.below.estimator.restart()
        self.t = 0
        return self._begin()

    def current(self) -> Reset:
        """What the level sees now."""
        return Reset(self.seen, self.below.now.state, None, None)

    def step(self, actions: Tensor) -> Transition:
        """Instruct everything below for one step of the task.

        Args:
            actions: int64 [B, K] options, or float32 [B, K, d] in -1..1.
        """
        self._give(actions)
        self._learn_if_full()
        self.base.at_end = self.at_end
        below = self.below
        now, below.memory.now = below.rollout.step(self.t, below.now, below.memory.now, self.draws, self.begun)
        below.now = now
        reward = below.estimator.reward(self.net)[self.t]
        reward = reward.expand(*reward.shape[:2], self.stack.size_k).flatten(0, 1)
        self.t += 1
        same = now.final_observation is now.observation
        final = None if same else self._final()
        observation = self._begin().observation
        ended = now.terminated[:, None].expand(-1, self.stack.size_k)
        return Transition(
            observation, now.state, reward, now.terminated, now.truncated, ended, None, None,
            observation if final is None else final, now.final_state, None, None, now.success,
        )  # fmt: skip

    @torch.no_grad()
    def _final(self) -> Tensor:
        """What the level would have seen next, had no episode ended."""
        now: Any = self.below.now
        taken = self.below.executor.step(
            now.final_observation, now.final_state, self.below.rollout.ended, self.draws[self.t],
            now.final_action_mask, look=True,
        )[2]  # fmt: skip
        features = taken[self.stack.number].features
        assert features is not None
        return features.flatten(0, 1)

    def _give(self, actions: Tensor) -> None:
        if self.card.action_kind == "discrete":
            actions = torch.nn.functional.one_hot(actions, self.stack.size).to(torch.float32)
        shape = (len(self.below.seeds), -1, self.stack.size_k * self.stack.size)
        self.below.executor.given = {self.stack.number: actions.clamp(-1.0, 1.0).reshape(shape)}

    def _learn_if_full(self) -> None:
        """A full rollout is learned from when the next instruction is known, which values what follows.

        What is above has decided by then, under the weights that it had; what is below decides under the new ones.
        """
        below = self.below
        if self.t < below.config.rollout_steps:
            return
        below.rollout.end(below.now, below.memory.now, self.draws)
        if self.learns:
            with torch.enable_grad():  # learners step their environments without
                below.learn()
        else:
            below.frames += below.frames_per_iteration
        self.t = 0
        self._begin_rollout()

    def state_dict(self) -> dict[str, Any]:
        """The rest of the network, at the end of a rollout.

        Raises:
            RuntimeError: in the middle of a rollout of the rest (choose T so that both end together).
        """
        if self.t not in (0, self.below.config.rollout_steps):
            raise RuntimeError(f"{self.t} steps into a rollout of {self.below.config.rollout_steps} below.")
        rollout = {"t": self.t, **{name: getattr(self.below.rollout, name) for name in _ROLLOUT}}
        rollout["start"] = dict(self.below.rollout.start)
        stacks = {
            str(i): {k: v for k, v in vars(b).items() if isinstance(v, Tensor)}
            for i, b in enumerate(self.below.rollout.stacks)
        }
        return {"below": self.below.state_dict(), "rollout": rollout, "stacks": stacks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.below.load_state_dict(state["below"])
        self.t = int(state["rollout"]["t"])
        for name in _ROLLOUT:
            getattr(self.below.rollout, name).copy_(state["rollout"][name])
        self.below.rollout.start = dict(state["rollout"]["start"])
        for i, buffer in enumerate(self.below.rollout.stacks):
            for name, value in state["stacks"][str(i)].items():
                getattr(buffer, name).copy_(value)
        self._begin_rollout()
        self._begin()

    def scene(self, index: int) -> Scene:
        """The task's picture."""
        return self.base.scene(index)

    @staticmethod
    def keys(seeds: tuple[int, ...], per_seed: int, device: str = "cpu") -> Tensor:
        """Environment seeds for :meth:`reset`."""
        return rng.env_keys(seeds, rng.Stream.TRAINING_ENV, per_seed, device)


_ROLLOUT = ("rewards", "terminated", "truncated")


def _members(graph: Graph, level: str) -> tuple[int, ...]:
    """The vertices of a declaration, or one by its own name."""
    found = [n for n in graph.nodes if level in (n.vertex.name, n.name)]
    if not found or found[0].is_motor:
        names = sorted({n.vertex.name for n in graph.nodes if not n.is_motor})
        raise BadInput(f"network {graph.spec.name}: expected a level above the motors ({', '.join(names)}), "
                       f"found {level!r}.")  # fmt: skip
    members = tuple(n.index for n in found)
    if len(members) > 1 and members not in graph.stacks(padded=True):
        raise BadInput(f"network {graph.spec.name}: the vertices of {level!r} differ in what they read; give each "
                       "a declaration of its own, or take one of them.")  # fmt: skip
    return members


def _handed_over(graph: Graph, members: tuple[int, ...]) -> Graph:
    """The graph with these vertices in other hands: they leave their learner, their group and their memory."""
    handed = replace(graph.nodes[members[0]].vertex, learner="outside", settings=Settings(), group=None, memory="none")
    return replace(graph, nodes=tuple(replace(n, vertex=handed) if n.index in members else n for n in graph.nodes))


def _above(graph: Graph, members: tuple[int, ...]) -> set[int]:
    """Everything whose instructions of the same step may reach these vertices."""
    found: set[int] = set()
    todo = list(members)
    while todo:
        i = todo.pop()
        more = {k.superior for k in graph.links if k.subordinate == i and k.edge.delay == 0} - found
        found |= more
        todo += more
    return found
