"""The networks of one stack of vertices: policy, critic, messages, edge weights; and sampling from them.

Axes: **R** replicas, **n** rows (environments, or environments x time), **K** vertices of the stack, **F**
features, **A** actions, **H** instructions chosen at once, **D** numbers of one instruction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.layout import Layout
from rlnet_bench.learning.actions import Actions
from rlnet_bench.learning.actor import LOG_STD
from rlnet_bench.learning.agents import ACTOR, CRITIC, AgentNetwork, Memory
from rlnet_bench.learning.distributions import categorical_sample, categorical_stats, gaussian_stats, mask_logits
from rlnet_bench.learning.inputs import Normalise
from rlnet_bench.learning.policy import Policy
from rlnet_bench.learning.stacked import load_tensors
from rlnet_bench.networks.recipe import Settled
from rlnet_bench.networks.stacks import Reading, Stack

Outputs = tuple[Tensor | None, Tensor | None]  # of the environment action, of the own instruction

# Network numbers for initialisation keys. Motors use those of baselines, so that `flat` equals IPPO.
POLICY, VALUE, MOTOR_MESSAGE, MESSAGE, MOTOR_READOUT, READOUT = 16, 17, 18, 19, 20, 21
HARD_FROM = 0.8  # share of the budget after which sparse edges are 0 or 1
COLDEST = 0.1  # temperature of sparse edges just before
BLUR = 2.0  # standard deviation of the noise on bits while they are trained


class Gather:
    """A :class:`~rlnet_bench.networks.wiring.Reading` as index tensors; ids are appended where asked for."""

    def __init__(self, reading: Reading, ids: Tensor | None, device: str | torch.device) -> None:
        k, f = len(reading.slots), reading.width
        self.shape, self.ids = (k, f), ids
        flat = [i for row in reading.slots for i in row]
        self.start = flat[0] if flat == list(range(flat[0], flat[0] + k * f)) else None
        self.index = torch.tensor(flat, device=device)
        extra = 0 if ids is None else ids.shape[1]
        self.width = f + extra
        lossy, bits = torch.tensor(reading.lossy, device=device), torch.tensor(reading.bits, device=device)
        self.lossy = lossy if bool((lossy >= 0).any()) else None
        self.levels = 2.0**bits if bool((bits > 0).any()) else None
        self.coarse = bits > 0
        factor = torch.tensor(reading.factor, device=device)
        self.factor = None if bool((factor == 1).all()) else factor
        again = torch.tensor(reading.again, device=device)
        again = torch.cat((again, again.new_full((k, extra), -1)), dim=1)
        self.fresh = None if bool((again < 0).all()) else (again >= 0)
        self.again = again.clamp(min=0).flatten()
        weight = torch.tensor(reading.weight, device=device)
        self.weight = torch.cat((weight, weight.new_full((k, extra), -1)), dim=1)

    def __call__(self, bus: Tensor, kept: Tensor | None = None) -> Tensor:
        """[R, n, W] -> [R, n, K, F]; ``kept`` [R, n, ways + 1] is 0 where a way loses what goes over it, the last 1."""
        k, f = self.shape
        if self.start is not None:
            x = bus[..., self.start : self.start + k * f].unflatten(-1, (k, f))
        else:
            x = bus.index_select(-1, self.index).unflatten(-1, (k, f))
        if self.levels is not None:  # numbers of -1..1 as the middle of one of so many steps
            steps = ((x + 1) / 2 * self.levels).floor().clamp(min=0.0).minimum(self.levels - 1)
            x = torch.where(self.coarse, (steps + 0.5) * 2 / self.levels - 1, x)
        if self.lossy is not None and kept is not None:
            x = x * kept[..., self.lossy]
        if self.factor is not None:
            x = x * self.factor
        return x if self.ids is None else torch.cat((x, self.ids.expand(*x.shape[:-1], -1)), dim=-1)

    def renew(self, x: Tensor, again: Sequence[Tensor]) -> Tensor:
        """Features as acted, with what training computed again in its place."""
        if self.fresh is None:
            return x
        z = torch.cat(tuple(again), dim=-1)
        new = z.index_select(-1, self.again.clamp(max=z.shape[-1] - 1)).unflatten(-1, self.fresh.shape)
        if self.factor is not None:
            k, f = self.shape
            new = torch.cat((new[..., :f] * self.factor, new[..., f:]), dim=-1)
        return torch.where(self.fresh, new, x)


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
        normalise: Normalise,
        recipe: Settled,
        device: str | torch.device = "cpu",
        with_critic: bool = False,
    ) -> None:
        self.recipe, self.stack, self.card, self.replicas = recipe, stack, card, len(seeds)
        s, k = stack, stack.size_k
        free = recipe.encoder == "entities"  # of the number of agents
        ids = (
            torch.eye(k, device=device) if s.shared and not s.is_tenant and not free else None
        )  # methods add their own
        self.reads = Gather(s.reads, ids, device)
        self.critic_reads = None if s.critic is None else Gather(s.critic, ids, device)
        self.message_reads = None if s.message is None else Gather(s.message, ids, device)
        self.agents = torch.tensor(s.agents, dtype=torch.int64, device=device)
        self.actions = Actions(card, s.agents, device)
        self.env_outputs = self.actions.outputs if s.is_motor else 0
        self.own_outputs = s.heads * s.size if s.own_instruction and s.acts else 0
        self.is_recurrent = s.vertex.memory == "gru" and s.learns

        def network(
            sizes: Sequence[int],
            motor: int,
            other: int,
            gain: float = 1.0,
            memory: Memory = "none",
            layout: Layout | None = None,
        ) -> AgentNetwork:
            number = motor if s.is_motor else other
            keys = [rng.fold_int(seed, int(rng.Stream.WEIGHTS), number, c) for seed in seeds for c in s.copies]
            return AgentNetwork(
                sizes, keys, len(seeds), k, memory=memory, activation=activation, output_gain=gain, device=device,
                normalise="none" if other == READOUT else normalise,  # messages are in (-1, 1)
                layout=layout if free else None,
            )  # fmt: skip

        memory: Memory = "gru" if self.is_recurrent else "none"
        self.policy: AgentNetwork | None = None
        if s.acts:
            sizes = (self.reads.width, *hidden, self.env_outputs + self.own_outputs)
            loud = (s.through and not s.is_motor) or s.vertex.kind.is_exact
            self.policy = network(sizes, ACTOR, POLICY, 1.0 if loud else 0.01, memory, s.layout)
        self.critic: AgentNetwork | None = None
        if s.has_critic and with_critic:
            width = (self.critic_reads or self.reads).width
            layout = s.layout if s.critic is None else None
            self.critic = network((width, *critic_hidden, 1), CRITIC, VALUE, memory=memory, layout=layout)
        self.message: AgentNetwork | None = None
        self.readout: AgentNetwork | None = None
        if self.message_reads is not None:
            m = s.vertex.message.width
            self.message = network(
                (self.message_reads.width, *hidden, m), MOTOR_MESSAGE, MESSAGE, layout=s.message_layout
            )
            if with_critic and s.has_critic and s.vertex.gradient == "stop":
                self.readout = network((m, 1), MOTOR_READOUT, READOUT)
        self.tenant: Policy | None = None  # another method's, which decides here
        self._quieten()
        copies = self.replicas * len(s.copies)
        self.first_log_std = spread = LOG_STD if recipe.log_std is None else recipe.log_std
        self.log_std = self.own_log_std = self.edges = None
        if s.is_motor and not self.actions.discrete:
            self.log_std = torch.full((copies, self.env_outputs), spread, device=device).requires_grad_()
        if self.own_outputs and s.vertex.sends.kind == "continuous" and not s.through and not s.vertex.kind.is_exact:
            self.own_log_std = torch.full((copies, self.own_outputs), spread, device=device).requires_grad_()
        if s.weights:
            start = 0.0 if s.sparse else 1.0
            self.edges = torch.full((copies, s.weights), start, device=device).requires_grad_()
        # With `delivers: constant`: what its members have said on average so far.
        width = k * s.heads * s.size if s.vertex.delivers == "constant" else 0
        self.usual = torch.zeros(self.replicas, 1, width, device=device)
        self.progress = torch.zeros(self.replicas, 1, device=device)  # of the budget; anneals sparse edges

    @torch.no_grad()
    def _quieten(self) -> None:
        """Scale the first weights that read instructions.

        Shared ones: of the features that are instructions to every member (agents that observe less read theirs
        earlier, where others still observe).
        """
        gain, rows = self.recipe.instruction_gain, self.stack.instructed
        if gain == 1.0:
            return
        if self.stack.shared:
            rows = (tuple(sorted(set(rows[0]).intersection(*rows))),)
        local = self.critic_reads is None  # another critic reads instructions elsewhere, behind the state
        for net in (self.policy, self.critic if local else None):
            if net is not None:
                for weights, features in net.first_weights():  # [R * copies, F, hidden] each
                    first = weights.unflatten(0, (self.replicas, -1))
                    for copy, columns in enumerate(rows):
                        first[:, copy, [i for i, f in enumerate(features) if f in columns]] *= gain

    # -- networks ----------------------------------------------------------------------------------------

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
        assert self.policy is not None
        return self._parted(self.policy(self.weighted(x)))

    def outputs_along(self, x: Tensor, h: Tensor, begins: Tensor | None = None) -> tuple[Outputs, Tensor]:
        """The same of a recurrent policy, rows [R, T * n, K, ...] step by step, and what it then remembers."""
        assert self.policy is not None
        out, after = self.policy.along(self.weighted(x.flatten(1, 2)).view(x.shape), h, begins)
        return self._parted(out.flatten(1, 2)), after

    def _parted(self, out: Tensor) -> Outputs:
        own = out[..., self.env_outputs :] if self.own_outputs else None
        if not self.env_outputs:
            return None, own
        return self.actions.distribution(out[..., : self.env_outputs] if self.own_outputs else out), own

    def values(self, x: Tensor) -> Tensor:
        """[R, n, K, F] -> normalised values [R, n, K]."""
        assert self.critic is not None
        return self.critic(self.valued(x)).squeeze(-1)

    def values_along(self, x: Tensor, h: Tensor, begins: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(normalised values [R, T, n, K], what is remembered after every step) of a recurrent critic."""
        assert self.critic is not None
        out, after = self.critic.along(self.valued(x.flatten(1, 2)).view(x.shape), h, begins)
        return out.squeeze(-1), after

    def valued(self, x: Tensor) -> Tensor:
        """What the critic is given of what it reads, [R, n, K, F]."""
        return self.weighted(x, with_gradient=False) if self.critic_reads is None else x

    def messages(self, x: Tensor) -> Tensor:
        """[R, n, K, F] -> messages [R, n, K, m] in (-1, 1)."""
        assert self.message is not None
        return torch.tanh(self.message(x))

    # -- distributions -----------------------------------------------------------------------------------

    def spread(self, log_std: Tensor) -> Tensor:
        """Log standard deviations [R, 1, K or 1, A]."""
        return log_std.view(self.replicas, 1, len(self.stack.copies), -1)

    def sample_env(self, env: Tensor, noise: Tensor | None) -> Tensor:
        """Raw environment actions; the most likely ones without noise."""
        if noise is None:
            return self.actions.mode(env)
        return self.actions.sample(env, noise, None if self.log_std is None else self.spread(self.log_std))

    def sample_own(self, own: Tensor, noise: Tensor | None) -> Tensor:
        """Raw instructions: int64 [..., H] or float [..., H * D]."""
        if self.stack.vertex.sends.kind == "discrete":
            logits = own.unflatten(-1, (self.stack.heads, self.stack.size))
            return logits.argmax(dim=-1) if noise is None else categorical_sample(logits, noise)
        if noise is None or self.own_log_std is None:
            return own
        return own + torch.exp(self.spread(self.own_log_std)) * noise

    def jitter(self, noise: Tensor | None, rows: Sequence[int]) -> Tensor:
        """Noise [rows, K, H * D] as loud as that of a policy before training; nothing where play is deterministic."""
        if noise is None:
            return self.progress.new_zeros(*rows, self.stack.size_k, self.stack.heads * self.stack.size)
        return noise * math.exp(self.first_log_std)

    def instruction(self, raw: Tensor, noise: Tensor | None = None) -> Tensor:
        """What subordinates read, [..., H * D]: numbers in (-1, 1), one-hot options, or bits.

        Bits are 0 or 1; with noise (while they are trained) shades between, through which a gradient passes and which
        tell little unless ``raw`` is far from 0: the discretise / regularise unit of DIAL (arXiv 1605.06676).
        """
        if self.stack.vertex.sends.kind == "discrete":
            return torch.nn.functional.one_hot(raw, self.stack.size).flatten(-2).to(torch.float32)
        if self.stack.blurs:
            return (raw > 0).to(raw.dtype) if noise is None else torch.sigmoid(raw + BLUR * noise)
        return torch.tanh(raw)

    def stats(
        self, outputs: Outputs, env: Tensor | None, own: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """(log probability, entropy) of what was chosen, [R, n, K] each."""
        parts = []
        mean, logits = outputs
        if mean is not None and env is not None:
            spread = None if self.log_std is None else self.spread(self.log_std)
            legal = mask_logits(mean, mask) if self.actions.discrete else mean
            parts.append(self.actions.stats(legal, env, spread))
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
            yield from self.policy.named_parameters()
        if self.message is not None:
            for name, p in self.message.named_parameters():
                yield f"message.{name}", p
        for name in ("log_std", "own_log_std", "edges"):
            tensor = getattr(self, name)
            if tensor is not None:
                yield name, tensor

    def actor_parameters(self) -> list[Tensor]:
        """What is trained of the acting part, each [R * copies, ...]; nothing of a frozen vertex."""
        if not self.stack.vertex.kind.trains:
            return []
        return [p for _, p in self._acting()]

    def critic_parameters(self) -> list[Tensor]:
        """What helps training only: the critic, and the readout of messages."""
        nets = [n for n in (self.critic, self.readout) if n is not None]
        return [p for n in nets for p in n.parameters()]

    @property
    def is_trained(self) -> bool:
        """Some of it is."""
        return bool(self.actor_parameters() or self.critic_parameters())

    def state_dict(self) -> dict[str, Tensor]:
        """Weights of the acting part."""
        if self.tenant is not None:
            return self.tenant.state_dict()
        return {name: p.detach() for name, p in self._acting()} | self._held()

    def _held(self) -> dict[str, Tensor]:
        """What belongs to the weights and no gradient reaches."""
        held = {"progress": self.progress} if self.stack.sparse else {}
        held |= {} if self.policy is None else self.policy.statistics()
        if self.message is not None:
            held |= {f"message.{name}": x for name, x in self.message.statistics().items()}
        return held | ({"usual": self.usual} if self.usual.shape[-1] else {})

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy values in place; raises ValueError naming a tensor that does not fit."""
        own = dict(self._acting()) | self._held()
        load_tensors(own, state, f"{self.stack.name}: ")
