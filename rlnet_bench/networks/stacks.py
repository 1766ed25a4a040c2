"""What execution and training know of a graph: stacks of vertices and where every number lies. Torch-free.

:func:`rlnet_bench.networks.wiring.wire` makes these. Axes: **K** vertices of a stack, **F** features, **W** width of
the bus, **N** agents.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rlnet_bench.envs.layout import Layout
from rlnet_bench.networks.graph import Graph
from rlnet_bench.networks.spec import Vertex

Rows = tuple[tuple[int, ...], ...]  # [K][F] positions on the bus


@dataclass(frozen=True)
class Reading:
    """How a stack reads the bus: positions, constant factors, learned weights, recomputed values.

    ``slots[k][f]`` is a position; ``factor`` a constant; ``weight`` the number of the vertex's learned edge weight
    (-1: none); ``again`` the position among values that training computes again with a gradient (-1: as acted).
    ``lossy`` is the number of the way (see :class:`Wiring`) over which it arrives (-1: nothing is lost), ``bits`` how
    many it arrives in (0: as it is).
    """

    slots: Rows
    factor: tuple[tuple[float, ...], ...]
    weight: Rows
    again: Rows
    lossy: Rows
    bits: Rows

    @property
    def width(self) -> int:
        """F."""
        return len(self.slots[0])

    @property
    def is_recomputed(self) -> bool:
        """Training puts fresh values into some positions."""
        return any(i >= 0 for row in self.again for i in row)


@dataclass(frozen=True)
class Stack:
    """Vertices of one generation that one stacked product evaluates.

    ``acts``: it samples from a policy of its own; ``learns``: by a policy loss; ``through``: its instruction is a
    deterministic output that subordinates' losses train. ``start`` is the bus position of its instructions, each
    member's ``heads * size`` numbers after the other's; ``message_start`` that of its learned messages.
    """

    number: int
    name: str
    members: tuple[int, ...]
    agents: tuple[int, ...]  # of motors; empty for others
    vertex: Vertex
    generation: int
    shared: bool
    copies: tuple[int, ...]  # counters of initialisation keys, one per set of parameters
    ranks: tuple[int, ...]  # counters of noise, one per member
    reads: Reading
    layout: Layout | None  # of what it reads, in entities; None where the task declares none
    message_layout: Layout | None  # of what its message is made of
    instructed: Rows  # positions among the features that instructions take, of every member
    critic: Reading | None  # None: the critic, where there is one, reads what the policy reads
    has_critic: bool
    acts: bool
    learns: bool
    through: bool
    noise: bool
    heads: int
    size: int
    start: int
    message: Reading | None
    message_start: int
    weights: int  # learned edge weights per member, padded to the most
    sparse: bool
    reward: tuple[tuple[float, ...], ...]  # [K][N]
    superiors: tuple[tuple[int, ...], ...]  # of every member

    @property
    def is_motor(self) -> bool:
        """Its members act on the environment."""
        return bool(self.agents)

    @property
    def size_k(self) -> int:
        """K."""
        return len(self.members)

    @property
    def period(self) -> int:
        """Steps between decisions."""
        return self.vertex.period

    @property
    def is_tenant(self) -> bool:
        """Another method decides and learns for it."""
        return self.vertex.method is not None

    @property
    def decides(self) -> bool:
        """Something is chosen here, by a policy, by chance, or by another method."""
        return self.acts or self.noise or self.is_tenant

    @property
    def rank(self) -> int:
        """A number of its own, by which what it draws differs from what others draw: 0 for the first agent's motors."""
        return self.ranks[0] + (0 if self.is_motor else len(self.reward[0]))

    @property
    def own_instruction(self) -> bool:
        """It chooses an instruction (not a motor that passes its action on)."""
        return self.heads > 0 and self.vertex.sends.is_chosen

    @property
    def blurs(self) -> bool:
        """It sends bits, and shades of them while it trains."""
        return self.heads > 0 and self.vertex.sends.kind == "bits"

    @property
    def instructs(self) -> bool:
        """Somebody reads what it decides."""
        return self.heads > 0


@dataclass(frozen=True)
class Mean:
    """`mean` messages of one generation with equal shapes: positions of [K][items * width], where the means go."""

    slots: Rows
    items: int
    start: int
    generation: int


@dataclass(frozen=True)
class Wiring:
    """Everything laid out.

    ``past`` lists (delay, position) of the delayed copies at the end of the bus; ``ways`` the sets of links that may
    lose what goes over them, each with its probability in ``drops``.
    """

    graph: Graph
    stacks: tuple[Stack, ...]  # superiors first
    means: tuple[Mean, ...]
    zero: int
    state: int  # start of the state, or -1
    now: int  # positions of this step
    past: tuple[tuple[int, int], ...]
    again: int  # numbers that training computes again
    ways: tuple[tuple[int, ...], ...]
    drops: dict[int, float]

    @property
    def width(self) -> int:
        """W."""
        return self.now + len(self.past)

    @property
    def max_delay(self) -> int:
        """The longest delay."""
        return max((d for d, _ in self.past), default=0)

    @property
    def slow(self) -> tuple[Stack, ...]:
        """Stacks whose instructions are held."""
        return tuple(s for s in self.stacks if s.period > 1 and s.instructs)

    @cached_property
    def upward(self) -> tuple[Stack | Mean, ...]:
        """Learned messages and means, in the order in which they go up."""
        steps: list[tuple[int, int, Stack | Mean]] = [
            (-s.generation, 0, s) for s in self.stacks if s.message is not None
        ]
        steps += [(-m.generation, 1, m) for m in self.means]
        return tuple(x for *_, x in sorted(steps, key=lambda x: x[:2]))
