"""One step of a network: observations enter at the motors, messages go up, instructions and actions down.

The executor keeps no state: what a network remembers between steps (held instructions, the age of the episode,
delayed values) is a dictionary of tensors that goes in and comes out.

Axes: **R** replicas, **B** environments per replica, **K** vertices of a stack, **N** agents, **W** width of the
bus (see :mod:`rlnet_bench.networks.wiring`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from rlnet_bench.envs.contract import Reset
from rlnet_bench.learning.distributions import mask_logits
from rlnet_bench.networks.modules import Outputs, StackNet
from rlnet_bench.networks.stacks import Mean, Stack, Wiring
from rlnet_bench.networks.step import Draws, Memory, Step, Taken, hidden_key, network_noise
from rlnet_bench.networks.tenant import Decides, Seated

Edit = Callable[[Tensor, Tensor | None], Tensor]  # (features, features one step ago) -> features


class Executor:
    """Runs R replicas of a network for flat batches of R * B environments."""

    def __init__(self, wiring: Wiring, nets: Sequence[StackNet], replicas: int, device: str | torch.device) -> None:
        self.wiring, self.nets, self.replicas, self.device = wiring, tuple(nets), replicas, torch.device(device)
        self.card = wiring.graph.card
        self.edits: dict[tuple[int, str], Edit] = {}  # of what is read, by (stack, "reads" or "message")
        self.tenants: dict[int, Decides] = {
            n.stack.number: Seated(n.stack, n.tenant) for n in nets if n.tenant is not None
        }
        self.given: dict[int, Tensor] = {}  # instructions [R, B, K * H * D] of somebody else's, per stack
        self.looks_back = 0  # edits see what would have been read that many steps ago
        self.evaluates = False  # instructions are exchanged where a vertex asks for it, bits are 0 or 1
        self.slow = wiring.slow
        starts, self.held_width = {}, 0
        for s in self.slow:
            starts[s.number] = self.held_width
            self.held_width += s.size_k * s.heads * s.size
        self.held_start = starts
        slots = sorted({p for _, p in wiring.past})
        self.past_slots = torch.tensor(slots, dtype=torch.int64, device=device)
        order = [(d - 1) * len(slots) + slots.index(p) for d, p in wiring.past]
        self.past_index = torch.tensor(order, dtype=torch.int64, device=device)
        self.mean_index = {m: torch.tensor(m.slots, device=self.device) for m in wiring.means}
        self.one_stack = len([s for s in wiring.stacks if s.is_motor]) == 1

    # -- memory ------------------------------------------------------------------------------------------

    def initial_memory(self, num_envs: int) -> Memory:
        """The memory of ``num_envs`` = R * B environments before their first step."""
        out: Memory = {}
        if self.slow:
            out["age"] = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
            out["held"] = torch.zeros(num_envs, self.held_width, device=self.device)
        for net in self.nets:
            if net.policy is not None and net.policy.is_recurrent:
                out[hidden_key(net.stack.number)] = net.policy.initial_memory(num_envs)
        for tenant in self.tenants.values():
            out |= tenant.initial_memory(num_envs)
        if self.wiring.past:
            shape = (num_envs, self.wiring.max_delay, len(self.past_slots))
            out["past"] = torch.zeros(shape, device=self.device)
        if self.looks_back:
            out["bus"] = torch.zeros(num_envs, self.looks_back, self.wiring.width, device=self.device)
        return out

    @staticmethod
    def restarted(memory: Memory, reset: Tensor) -> Memory:
        """The memory with zeros where a new episode has begun ([R * B] bool)."""
        return {k: v.masked_fill(reset.view(-1, *[1] * (v.ndim - 1)), 0) for k, v in memory.items()}

    def draws(self, keys: Tensor, steps: Tensor, sampled: bool = True) -> list[Draws]:
        """Noise for T steps; see :func:`rlnet_bench.networks.step.network_noise`."""
        return network_noise(self.wiring, keys, steps, self.replicas, sampled, self.evaluates)

    # -- one step ----------------------------------------------------------------------------------------

    def step(
        self,
        observation: Tensor,
        state: Tensor | None,
        memory: Memory,
        draws: Draws,
        mask: Tensor | None = None,
        *,
        look: bool = False,
        record: bool = False,
    ) -> tuple[Tensor | None, Memory, list[Taken]]:
        """Messages up, decisions down.

        Args:
            observation: [R*B, N, O].
            state: [R*B, S], read by ``global`` critics only; None where no critic is needed.
            memory: what is remembered, already restarted where episodes have begun.
            draws: noise.
            mask: [R*B, N, A] of legal actions.
            look: only what somebody reads is decided (to value a situation); no actions come out.
            record: write down what was read and chosen.

        Returns:
            (actions in the task's units or None, memory after the step, one :class:`Taken` per stack).
        """
        return self.finish(self.begin(observation, state, memory, draws, mask, look=look, record=record))

    def begin(
        self,
        observation: Tensor,
        state: Tensor | None,
        memory: Memory,
        draws: Draws,
        mask: Tensor | None = None,
        *,
        look: bool = False,
        record: bool = False,
        first: Collection[int] = (),
    ) -> Step:
        """Messages up, and the decisions of the stacks ``first``; :meth:`finish` makes the others."""
        bus = self._fill(observation, state, memory)
        taken = [Taken() for _ in self.wiring.stacks]
        self._messages(bus, memory, taken, record, draws.kept)
        step = Step(bus, memory, dict(memory), draws, mask, look, record, taken)
        for net in self.nets:
            if net.stack.number in first:
                self._decide(net, step)
        return step

    def finish(self, step: Step) -> tuple[Tensor | None, Memory, list[Taken]]:
        """What is left of a step; returns what :meth:`step` does."""
        for net in self.nets:
            if net.stack.number not in step.decided:
                self._decide(net, step)
        memory = self._remember(step.bus, step.held)
        return (None if step.look else self._actions(step.actions)), memory, step.taken

    def _decide(self, net: StackNet, step: Step) -> None:
        """What one stack reads and chooses."""
        s, note = net.stack, step.taken[net.stack.number]
        bus, memory, look, record = step.bus, step.memory, step.look, step.record
        step.decided.add(s.number)
        due: Tensor | None = None
        if s.period > 1:
            due = (memory["age"] % s.period == 0).view(self.replicas, -1) if "age" in memory else None
            if due is not None and not bool(due.any()):
                note.due = due
                if look or s.is_tenant:  # an interval that a time limit closes is valued where nothing is due
                    self._observe(net, note, bus, memory, step.draws.kept)
                if s.instructs:
                    self._write(bus, s, self._held(s, memory))
                return
        note.due = due
        wanted = s.instructs or not look
        if not (record or look or s.decides or s.number in self.given):
            return  # a critic alone has nothing to do when nobody learns
        features = self._observe(net, note, bus, memory, step.draws.kept)
        if not wanted or not (s.decides or s.number in self.given):
            return
        env, own = self._outputs(net, features, step) if s.acts else (None, None)
        if env is not None:
            self._act(net, step, env)
        told = self._ask(net, step, features) if s.number in self.tenants else None
        if s.instructs:
            instruction = told
            if instruction is None:
                instruction = self._instruction(net, note, own, step.draws, bus.shape[:2])
            if s.vertex.delivers == "shuffled" or (s.vertex.evaluation == "shuffled" and self.evaluates):
                instruction = instruction.roll(1, dims=1)
            elif s.vertex.delivers == "constant":
                instruction = net.usual.expand_as(instruction)
            if due is not None:
                instruction = torch.where(due[..., None], instruction, self._held(s, memory))
                step.held = self._hold(s, step.held, instruction)
            self._write(bus, s, instruction)
        if record and s.learns:
            note.env_said, note.own_said = env, own

    def _outputs(self, net: StackNet, features: Tensor, step: Step) -> Outputs:
        """What a policy says, with what it remembers."""
        if not net.is_recurrent:
            return net.outputs(features)
        key = hidden_key(net.stack.number)
        outputs, after = net.outputs_along(features[:, None], step.memory[key].unflatten(0, (self.replicas, -1)))
        step.held = {**step.held, key: after[:, 0].flatten(0, 1)}
        return outputs

    def _act(self, net: StackNet, step: Step, env: Tensor) -> None:
        """Motors choose from logits or means [R, B, K, A]."""
        s, note, noise = net.stack, step.taken[net.stack.number], step.draws.env
        some = len(s.agents) != self.card.num_agents
        if step.mask is not None and net.actions.discrete:
            note.mask = step.mask.view(self.replicas, -1, *step.mask.shape[1:])
            if some:
                note.mask = note.mask[:, :, net.agents]
            env = mask_logits(env, note.mask)
        if noise is not None and some:
            noise = noise[:, :, net.agents]
        note.env = net.sample_env(env, noise)
        step.actions.append((net, net.actions.to_task(note.env)))

    def _ask(self, net: StackNet, step: Step, features: Tensor) -> Tensor:
        """What another method decides: motors act by it; returns what subordinates read, [R, B, K * H * D]."""
        s, mask = net.stack, step.mask
        if mask is not None and s.is_motor:
            mask = mask[:, net.agents, : max(self.card.action_sizes[a] for a in s.agents)]
        rows = features.flatten(0, 1)
        seen = Reset(rows, rows[:, 0, :0], mask if s.is_motor else None, None)  # the state is for learning only
        action, after = self.tenants[s.number].decide(seen, step.memory, step.draws, step.look)
        step.held = {**step.held, **after}
        action = action.unflatten(0, (self.replicas, -1))
        discrete = net.actions.discrete if s.is_motor else s.vertex.sends.kind == "discrete"
        if s.is_motor:
            if not discrete:  # narrow agents are padded to the widest of the task
                action = torch.nn.functional.pad(action, (0, self.card.action_size - action.shape[-1]))
            step.taken[s.number].env = action
            step.actions.append((net, action))
        if discrete and s.instructs:
            action = torch.nn.functional.one_hot(action, s.size).to(torch.float32)
        return action.flatten(2)

    def look_at(self, number: int, step: Step) -> Tensor:
        """What one stack reads of a step in the making, [R, B, K, F]."""
        return self._read(self.nets[number], step.bus, step.memory, "reads", step.draws.kept)

    def _observe(self, net: StackNet, note: Taken, bus: Tensor, memory: Memory, kept: Tensor | None) -> Tensor:
        note.features = features = self._read(net, bus, memory, "reads", kept)
        if net.critic_reads is not None and net.critic is not None:
            note.critic = net.critic_reads(bus, kept)
        return features

    def _read(self, net: StackNet, bus: Tensor, memory: Memory, kind: str, kept: Tensor | None) -> Tensor:
        gather = net.reads if kind == "reads" else net.message_reads
        assert gather is not None
        x = gather(bus, kept)
        edit = self.edits.get((net.stack.number, kind))
        if edit is None:
            return x
        before = memory.get("bus")
        return edit(x, None if before is None else gather(before[:, -1].view(self.replicas, -1, self.wiring.width)))

    def _fill(self, observation: Tensor, state: Tensor | None, memory: Memory) -> Tensor:
        """A bus [R, B, W] with observations, state and delayed values; the rest is written later."""
        r, w = self.replicas, self.wiring
        rows = observation.reshape(r, -1, w.zero)
        if w.width == w.zero + 1:
            return torch.nn.functional.pad(rows, (0, 1))
        bus = torch.zeros(r, rows.shape[1], w.width, device=rows.device)
        bus[..., : w.zero] = rows
        if w.state >= 0 and state is not None:
            bus[..., w.state : w.state + self.card.state_size] = state.view(r, -1, self.card.state_size)
        if w.past:
            past = memory["past"]
            bus[..., w.now :] = past.flatten(1).index_select(1, self.past_index).view(r, -1, len(w.past))
        return bus

    def _messages(self, bus: Tensor, memory: Memory, taken: list[Taken], record: bool, kept: Tensor | None) -> None:
        for step in self.wiring.upward:
            if isinstance(step, Mean):
                k = len(step.slots)
                x = bus.index_select(-1, self.mean_index[step].flatten()).unflatten(-1, (k, step.items, -1))
                bus[..., step.start : step.start + k * x.shape[-1]] = x.mean(dim=-2).flatten(-2)
                continue
            net = self.nets[step.number]
            x = self._read(net, bus, memory, "message", kept)
            if record:
                taken[step.number].reported = x
            m = net.messages(x).flatten(-2)
            bus[..., step.message_start : step.message_start + m.shape[-1]] = m

    def _instruction(
        self, net: StackNet, note: Taken, own: Tensor | None, draws: Draws, shape: Sequence[int]
    ) -> Tensor:
        """What subordinates read, [R, B, K * H * D]."""
        s = net.stack
        if s.number in self.given:
            return self.given[s.number]
        if not s.own_instruction:  # a motor passes on the action that it has just chosen
            assert note.env is not None
            if net.actions.discrete:
                return torch.nn.functional.one_hot(note.env, s.size).to(torch.float32).flatten(-2)
            return net.actions.to_task(note.env).flatten(-2)
        noise = draws.own.get(s.number)
        if s.vertex.kind.noise == "with samples":
            raw = net.jitter(noise, shape)
        elif s.noise:
            assert noise is not None
            raw = (noise * s.size).long().clamp(max=s.size - 1) if s.vertex.sends.kind == "discrete" else noise
        else:
            assert own is not None
            raw = note.own = net.sample_own(own, noise)
            note.noise = noise if s.blurs else None
        return net.instruction(raw, note.noise).flatten(-2)

    def _write(self, bus: Tensor, s: Stack, instruction: Tensor) -> None:
        bus[..., s.start : s.start + instruction.shape[-1]] = instruction

    def _held(self, s: Stack, memory: Memory) -> Tensor:
        start = self.held_start[s.number]
        held = memory["held"][:, start : start + s.size_k * s.heads * s.size]
        return held.view(self.replicas, -1, held.shape[-1])

    def _hold(self, s: Stack, memory: Memory, instruction: Tensor) -> Memory:
        held = memory["held"].clone()
        start = self.held_start[s.number]
        held[:, start : start + instruction.shape[-1]] = instruction.flatten(0, 1)
        return {**memory, "held": held}

    def _remember(self, bus: Tensor, memory: Memory) -> Memory:
        out = dict(memory)
        if "age" in out:
            out["age"] = out["age"] + 1
        if "past" in out:
            now = bus.flatten(0, 1).index_select(1, self.past_slots)
            out["past"] = torch.cat((now[:, None], out["past"][:, :-1]), dim=1)
        if "bus" in out:
            out["bus"] = torch.cat((bus.flatten(0, 1)[:, None], out["bus"][:, :-1]), dim=1)
        return out

    def _actions(self, parts: list[tuple[StackNet, Tensor]]) -> Tensor:
        """[R*B, N] or [R*B, N, A]."""
        if self.one_stack:
            return parts[0][1].flatten(0, 1)
        first: Any = parts[0][1]
        out = first.new_empty(*first.shape[:2], self.card.num_agents, *first.shape[3:])
        for net, action in parts:
            out[:, :, net.agents] = action
        return out.flatten(0, 1)
