"""One step of a network: what it draws, what is decided so far, what it leaves behind.

Noise is counter-based: a draw is a function of (key, step, vertex, dimension). Motors draw as the agents of ordinary
methods do, so that a network of motors alone acts like them.

Axes: **T** steps, **R** replicas, **B** environments per replica, **N** agents, **K** vertices of a stack, **F**
features, **A** actions, **H** instructions chosen at once, **D** numbers of one instruction.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.networks.modules import StackNet
from rlnet_bench.networks.stacks import Wiring

_OWN_DRAWS = 1 << 16  # a motor's own instruction draws beside its action
_LINK_DRAWS = 1 << 20  # so do edges that lose what goes over them


Memory = dict[str, Tensor]  # each [R * B, ...]


@dataclass(frozen=True)
class Draws:
    """Counter-based noise of one step; None for the most likely choice."""

    env: Tensor | None  # [R, B, N] uniforms or [R, B, N, A] normals
    own: dict[int, Tensor]  # per stack [R, B, K, H] uniforms or [R, B, K, H * D] normals
    kept: Tensor | None = None  # [R, B, ways + 1], 0 where a way loses what goes over it; the last is 1
    keys: Tensor | None = None  # [R * B], with ``step`` [R * B], from which another method at a vertex draws
    step: Tensor | None = None
    sampled: bool = True  # False: the most likely choices


@dataclass
class Taken:
    """What one stack read and chose in one step; None where it had nothing to do.

    ``features`` [R, B, K, F]; ``critic`` likewise, where critics read something else; ``reported`` what messages
    were made of; ``env`` and ``own`` raw choices; ``noise`` [R, B, K, H * D] what blurred bits; ``mask`` [R, B, K, A];
    ``env_said`` and ``own_said`` the logits or means that they were chosen from, where a policy loss needs them;
    ``due`` [R, B] where a slow vertex decided.
    """

    features: Tensor | None = None
    critic: Tensor | None = None
    reported: Tensor | None = None
    env: Tensor | None = None
    own: Tensor | None = None
    noise: Tensor | None = None
    mask: Tensor | None = None
    env_said: Tensor | None = None
    own_said: Tensor | None = None
    due: Tensor | None = None


@dataclass
class Step:
    """A step in the making: what is on the bus, what is remembered before and after it, what was chosen so far."""

    bus: Tensor
    memory: Memory
    held: Memory
    draws: Draws
    mask: Tensor | None
    look: bool
    record: bool
    taken: list[Taken]
    actions: list[tuple[StackNet, Tensor]] = field(default_factory=list)
    decided: set[int] = field(default_factory=set)


def hidden_key(stack: int) -> str:
    """Under which name the memory holds what a recurrent stack remembers, [R * B, K, H]."""
    return f"hidden.{stack}"


def network_noise(
    wiring: Wiring, keys: Tensor, steps: Tensor, replicas: int, sampled: bool = True, evaluates: bool = False
) -> list[Draws]:
    """Noise for T steps.

    Args:
        wiring: whose vertices draw.
        keys: int64 [R*B].
        steps: int64 [T, R*B] or [T, 1].
        replicas: R.
        sampled: False for the most likely choices; vertices that are noise draw nevertheless.
        evaluates: bits are sent as they are.
    """
    card, device = wiring.graph.card, keys.device
    agents = torch.arange(card.num_agents, device=device)
    base = rng.fold(keys[None], steps)
    env: Tensor | None = None
    if sampled:
        key = rng.fold(base[..., None], agents)  # [T, R*B, N]
        if card.action_kind == "continuous":
            env = rng.normal(rng.fold(key[..., None], torch.arange(card.action_size, device=device)))
        else:
            env = rng.uniform32(key)
        env = env.unflatten(1, (replicas, -1))
    own = {}
    for s in wiring.stacks:
        always = s.vertex.kind.noise == "always"  # in deterministic play, too
        exact = s.vertex.kind.is_exact or (s.through and (evaluates or not s.blurs))
        if s.own_instruction and not exact and (sampled or always):
            first = 0 if s.is_motor else card.num_agents
            ranks = torch.tensor([first + i for i in s.ranks], device=device)
            key = rng.fold(base[..., None], ranks)[..., None]
            discrete = s.vertex.sends.kind == "discrete"
            count = s.heads if discrete else s.heads * s.size
            key = rng.fold(key, _OWN_DRAWS + torch.arange(count, device=device))
            noise = rng.uniform32(key) if discrete else rng.normal(key)
            own[s.number] = noise.unflatten(1, (replicas, -1))
    kept = _kept(wiring, base).unflatten(1, (replicas, -1)) if wiring.ways else None
    found = [
        Draws(None if env is None else env[t], {n: x[t] for n, x in own.items()}, None if kept is None else kept[t])
        for t in range(base.shape[0])
    ]
    if not any(s.is_tenant for s in wiring.stacks):
        return found
    return [
        replace(draws, keys=keys, step=steps[t].expand(len(keys)), sampled=sampled) for t, draws in enumerate(found)
    ]


def _kept(wiring: Wiring, base: Tensor) -> Tensor:
    """[T, R*B, ways + 1]: 1 where every link of a way delivers in this step; in evaluation as in training."""
    links = torch.tensor(list(wiring.drops), device=base.device)
    shares = torch.tensor(list(wiring.drops.values()), device=base.device)
    arrives = (rng.uniform32(rng.fold(base[..., None], _LINK_DRAWS + links)) >= shares).float()
    place = {link: k for k, link in enumerate(wiring.drops)}
    ways = [arrives[..., [place[i] for i in way]].prod(dim=-1) for way in wiring.ways]
    return torch.stack([*ways, torch.ones_like(ways[0])], dim=-1)
