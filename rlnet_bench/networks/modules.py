"""The networks of one stack of vertices: policy, critic, messages, edge weights; and sampling from them.

Axes: **R** replicas, **n** rows (environments, or environments x time), **K** vertices of the stack, **F**
features, **A** actions, **H** instructions chosen at once, **D** numbers of one instruction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.actor import ACTOR, CRITIC, ActorSpec, _bounds, joint_logits
from rlnet_bench.learning.distributions import (
    categorical_sample,
    categorical_stats,
    gaussian_stats,
    mask_logits,
    squash,
)
from rlnet_bench.learning.stacked import StackedMLP
from rlnet_bench.networks.gather import Gather
from rlnet_bench.networks.recurrent import Recurrent, along, named
from rlnet_bench.networks.stacks import Stack

Outputs = tuple[Tensor | None, Tensor | None]  # of the environment action, of the own instruction

# Network numbers for initialisation keys. Motors use those of baselines, so that `flat` equals IPPO.
POLICY, VALUE, MOTOR_MESSAGE, MESSAGE, MOTOR_READOUT, READOUT = 16, 17, 18, 19, 20, 21
LOG_STD = -0.5
HARD_FROM = 0.8  # share of the budget after which sparse edges are 0 or 1
COLDEST = 0.1  # temperature of sparse edges just before


class StackNet:
    """Everything with parameters at the vertices of one stack."""

    def __init__(
        self,
        stack: Stack,
        card: TaskCard,
        seeds: Sequence[int],
        *,
        hidden: Sequence[int],
        critic_hidden: Sequence[int],
        activation: str,
        device: str | torch.device = "cpu",
        with_critic: bool = False,
    ) -> None:
        self.stack, self.card, self.replicas = stack, card, len(seeds)
        s, k = stack, stack.size_k
        ids = torch.eye(k, device=device) if s.shared else None
        self.reads = Gather(s.reads, ids, device)
        self.critic_reads = None if s.critic is None else Gather(s.critic, ids, device)
        self.message_reads = None if s.message is None else Gather(s.message, ids, device)
        self.discrete = card.action_kind == "discrete"
        actions = sum(card.action_factors) if card.action_factors else card.action_size
        self.env_outputs = actions if s.is_motor else 0
        self.own_outputs = s.heads * s.size if s.own_instruction and s.acts else 0
        options = {"activation": activation, "device": device}

        def keys(motor: int, other: int) -> list[int]:
            network = motor if s.is_motor else other
            return [rng.fold_int(seed, int(rng.Stream.WEIGHTS), network, c) for seed in seeds for c in s.copies]

        def mlp(sizes: Sequence[int], motor: int, other: int, gain: float = 1.0) -> StackedMLP:
            return StackedMLP(sizes, keys(motor, other), output_gain=gain, **options)  # type: ignore[arg-type]

        def gru(sizes: Sequence[int], motor: int, other: int, gain: float = 1.0) -> Recurrent:
            return Recurrent(sizes, keys(motor, other), output_gain=gain, **options)  # type: ignore[arg-type]

        self.is_recurrent = s.vertex.memory == "gru" and s.learns
        made = gru if self.is_recurrent else mlp

        outputs = self.env_outputs + self.own_outputs
        self.policy: StackedMLP | Recurrent | None = None
        if s.acts:
            sizes = (self.reads.width, *hidden, outputs)
            self.policy = made(sizes, ACTOR, POLICY, 1.0 if s.through and not s.is_motor else 0.01)
        self.critic: StackedMLP | Recurrent | None = None
        if s.has_critic and with_critic:
            width = (self.critic_reads or self.reads).width
            self.critic = made((width, *critic_hidden, 1), CRITIC, VALUE)
        self.message: StackedMLP | None = None
        self.readout: StackedMLP | None = None
        if self.message_reads is not None:
            m = s.vertex.message.width
            self.message = mlp((self.message_reads.width, *hidden, m), MOTOR_MESSAGE, MESSAGE)
            if with_critic and s.has_critic and s.vertex.gradient == "stop":
                self.readout = mlp((m, 1), MOTOR_READOUT, READOUT)
        copies = self.replicas * len(s.copies)
        self.log_std = self.own_log_std = self.edges = None
        if s.is_motor and not self.discrete:
            self.log_std = torch.full((copies, actions), LOG_STD, device=device).requires_grad_()
        if self.own_outputs and s.vertex.sends.kind == "continuous" and not s.through:
            self.own_log_std = torch.full((copies, self.own_outputs), LOG_STD, device=device).requires_grad_()
        if s.weights:
            start = 0.0 if s.sparse else 1.0
            self.edges = torch.full((copies, s.weights), start, device=device).requires_grad_()
        self.progress = torch.zeros(self.replicas, 1, device=device)  # of the budget; anneals sparse edges
        self._task_units(card, device)
        self._laid: tuple[Tensor, Tensor] | None = None

    def _task_units(self, card: TaskCard, device: str | torch.device) -> None:
        agents = torch.tensor(self.stack.agents, dtype=torch.int64, device=device)
        self.agents = agents
        sizes = torch.tensor(card.action_sizes, device=device)
        used = torch.arange(card.action_size, device=device)[None] < sizes[:, None]  # [N, A]
        self.legal = None if bool(used.all()) else used[agents]
        low, high = _bounds(ActorSpec.for_task(card, (), "tanh", False), device)
        self.low = low[agents] if isinstance(low, Tensor) else low
        self.high = high[agents] if isinstance(high, Tensor) else high

    # -- networks ----------------------------------------------------------------------------------------

    def apply(self, mlp: StackedMLP, x: Tensor) -> Tensor:
        """[R, n, K, F] -> [R, n, K, out]."""
        r, n, k, width = x.shape
        if self.stack.shared:
            return mlp(x.reshape(r, n * k, width)).view(r, n, k, -1)
        if self._laid is None or self._laid[0] is not x:  # policy and critic often read the same tensor
            self._laid = (x, x.transpose(1, 2).reshape(r * k, n, width))
        out = mlp(self._laid[1])
        return out.view(r, k, n, -1).transpose(1, 2)

    def weighted(self, x: Tensor, with_gradient: bool = True) -> Tensor:
        """Features times the learned weights of their edges."""
        if self.edges is None:
            return x
        edges = self.edge_weights() if with_gradient else self.edge_weights().detach()
        full = torch.cat((edges, edges.new_ones(*edges.shape[:2], 1)), dim=-1)  # number -1 is the last: one
        index = (self.reads.weight % full.shape[-1]).expand(len(full), -1, -1)
        return x * full.gather(-1, index)[:, None]

    def edge_weights(self) -> Tensor:
        """Learned weights of edges from above, [R, K, L]; sparse ones are a gate that ends at 0 or 1."""
        assert self.edges is not None
        edges = self.edges.view(self.replicas, -1, self.stack.weights).expand(-1, self.stack.size_k, -1)
        if not self.stack.sparse:
            return edges
        progress = self.progress[:, :, None]
        temperature = 1.0 - (1.0 - COLDEST) * (progress / HARD_FROM).clamp(max=1.0)
        return torch.where(progress >= HARD_FROM, (edges > 0).to(edges.dtype), torch.sigmoid(edges / temperature))

    @property
    def is_hard(self) -> bool:
        """Sparse edges are 0 or 1 by now."""
        return bool((self.progress >= HARD_FROM).all())

    def outputs(self, x: Tensor) -> Outputs:
        """(logits or means of the environment action, those of the own instruction) of features."""
        assert isinstance(self.policy, StackedMLP)
        return self._parted(self.apply(self.policy, self.weighted(x)))

    def outputs_along(self, x: Tensor, h: Tensor, begins: Tensor | None = None) -> tuple[Outputs, Tensor]:
        """The same of a recurrent policy, rows [R, T * n, K, ...] step by step, and what it then remembers."""
        assert isinstance(self.policy, Recurrent)
        weighted = self.weighted(x.flatten(1, 2)).view(x.shape)
        out, after = along(self.policy, weighted, h, begins, self.stack.shared)
        return self._parted(out.flatten(1, 2)), after

    def _parted(self, out: Tensor) -> Outputs:
        own = out[..., self.env_outputs :] if self.own_outputs else None
        if not self.env_outputs:
            return None, own
        env = out[..., : self.env_outputs] if self.own_outputs else out
        if self.card.action_factors:
            env = joint_logits(env, self.card.action_factors)
        return (mask_logits(env, self.legal) if self.discrete else env), own

    def values(self, x: Tensor) -> Tensor:
        """[R, n, K, F] -> normalised values [R, n, K]."""
        assert isinstance(self.critic, StackedMLP)
        if self.critic_reads is None:
            x = self.weighted(x, with_gradient=False)
        return self.apply(self.critic, x).squeeze(-1)

    def values_along(self, x: Tensor, h: Tensor, begins: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(normalised values [R, T, n, K], what is remembered after every step) of a recurrent critic."""
        assert isinstance(self.critic, Recurrent)
        if self.critic_reads is None:
            x = self.weighted(x.flatten(1, 2), with_gradient=False).view(x.shape)
        out, after = along(self.critic, x, h, begins, self.stack.shared)
        return out.squeeze(-1), after

    def messages(self, x: Tensor) -> Tensor:
        """[R, n, K, F] -> messages [R, n, K, m] in (-1, 1)."""
        assert self.message is not None
        return torch.tanh(self.apply(self.message, x))

    # -- distributions -----------------------------------------------------------------------------------

    def spread(self, log_std: Tensor) -> Tensor:
        """Log standard deviations [R, 1, K or 1, A]."""
        return log_std.view(self.replicas, 1, len(self.stack.copies), -1)

    def sample_env(self, env: Tensor, noise: Tensor | None) -> Tensor:
        """Raw environment actions; the most likely ones without noise."""
        if noise is None:
            return env.argmax(dim=-1) if self.discrete else env
        if self.discrete:
            return categorical_sample(env, noise)
        assert self.log_std is not None
        return env + torch.exp(self.spread(self.log_std)) * noise

    def sample_own(self, own: Tensor, noise: Tensor | None) -> Tensor:
        """Raw instructions: int64 [..., H] or float [..., H * D]."""
        if self.stack.vertex.sends.kind == "discrete":
            logits = own.unflatten(-1, (self.stack.heads, self.stack.size))
            return logits.argmax(dim=-1) if noise is None else categorical_sample(logits, noise)
        if noise is None or self.own_log_std is None:
            return own
        return own + torch.exp(self.spread(self.own_log_std)) * noise

    def instruction(self, raw: Tensor) -> Tensor:
        """What subordinates read, [..., H * D]: numbers in (-1, 1), or one-hot options."""
        if self.stack.vertex.sends.kind == "discrete":
            return torch.nn.functional.one_hot(raw, self.stack.size).flatten(-2).to(torch.float32)
        return torch.tanh(raw)

    def to_task(self, raw: Tensor) -> Tensor:
        """Raw environment actions in the task's own units (unused dimensions are zero)."""
        if self.discrete:
            return raw
        # A replica that is no number any more does something legal, until it is frozen: tasks may refuse a NaN.
        action = squash(torch.nan_to_num(raw), self.low, self.high)
        return action if self.legal is None else action * self.legal

    def stats(
        self, outputs: Outputs, env: Tensor | None, own: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """(log probability, entropy) of what was chosen, [R, n, K] each."""
        parts = []
        mean, logits = outputs
        if mean is not None and env is not None:
            if self.discrete:
                parts.append(categorical_stats(mask_logits(mean, mask), env))
            else:
                assert self.log_std is not None
                used = None if self.legal is None else self.legal.to(mean.dtype)
                parts.append(gaussian_stats(mean, self.spread(self.log_std), env, used))
        if logits is not None and own is not None and not self.stack.through:
            if self.stack.vertex.sends.kind == "discrete":
                log_p, entropy = categorical_stats(logits.unflatten(-1, (self.stack.heads, self.stack.size)), own)
                parts.append((log_p.sum(dim=-1), entropy.sum(dim=-1)))
            else:
                assert self.own_log_std is not None
                parts.append(gaussian_stats(logits, self.spread(self.own_log_std), own, None))
        if len(parts) == 1:
            return parts[0]
        return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]

    # -- parameters --------------------------------------------------------------------------------------

    def _acting(self) -> Iterator[tuple[str, Tensor]]:
        if self.policy is not None:
            yield from named(self.policy)
        if self.message is not None:
            for name, p in named(self.message):
                yield f"message.{name}", p
        for name in ("log_std", "own_log_std", "edges"):
            tensor = getattr(self, name)
            if tensor is not None:
                yield name, tensor

    def actor_parameters(self) -> list[Tensor]:
        """What is trained of the acting part, each [R * copies, ...]; nothing of a frozen vertex."""
        if self.stack.vertex.learner != "ppo":
            return []
        return [p for _, p in self._acting()]

    def critic_parameters(self) -> list[Tensor]:
        """What helps training only: the critic, and the readout of messages."""
        nets = [n for n in (self.critic, self.readout) if n is not None]
        return [p for n in nets for p in n.parameters()]

    def state_dict(self) -> dict[str, Tensor]:
        """Weights of the acting part."""
        state = {name: p.detach() for name, p in self._acting()}
        return {**state, "progress": self.progress} if self.stack.sparse else state

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Copy values in place; raises ValueError naming a tensor that does not fit."""
        own = dict(self._acting()) | ({"progress": self.progress} if self.stack.sparse else {})
        if own.keys() != state.keys():
            raise ValueError(f"{self.stack.name}: expected tensors {sorted(own)}, found {sorted(state)}")
        for name, tensor in own.items():
            if tensor.shape != state[name].shape:
                raise ValueError(
                    f"{self.stack.name}, {name}: expected shape {tuple(tensor.shape)}, found {tuple(state[name].shape)}"
                )
            tensor.copy_(state[name])
