"""A graph that is drawn anew at every step: who acts before whom, and who hears whom (`zoo/learned-graph`).

Inspired by GCS (Ruan et al. 2022, arXiv:2201.06257). One vertex, the generator, sees all observations and draws

    an order of the agents      one after the other without replacement, P(next = i) ~ exp(s_i)
    gates between them          g_ij ~ Bernoulli(sigmoid(w . relu(L h_i + R h_j))) for i before j

so that the graph has no cycle at any step, while it learns too. Agents act in that order; each reads its own
observation and the sampled actions of its parents, one-hot (or in the task's units), zeros elsewhere. The generator's
choice has a log probability like any other, and learns by PPO from the team's advantage. Depth is penalised, by

    d = mean over k = 2..N-1 of  E[paths of k edges] / C(N, k + 1),    E[..] = 1' (P o M)^k 1,  M_ij = [i before j]

0 when nobody waits for one who waits, 1 when every chain of agents is sure to exist. (The chance that the graph is k
edges deep is at most the expected number of such paths.)

Axes: **R** replicas, **B** environments, **n** joint steps, **N** agents, **F** features, **D** numbers of a token,
**A** actions, **H** numbers of a hidden layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import torch
from torch import Tensor

from rlnet_bench import rng
from rlnet_bench.learning.actions import Actions
from rlnet_bench.learning.actor import Actor, ActorSpec
from rlnet_bench.learning.agents import AgentNetwork
from rlnet_bench.learning.attention import Block, Norm, Tokens
from rlnet_bench.learning.information import situations
from rlnet_bench.learning.policy import Chooser, action_noise
from rlnet_bench.learning.ppo import Batch, Loss, clipped_surrogate, half_squared_error, is_clipped
from rlnet_bench.learning.rollout import TeamRollout, flat
from rlnet_bench.learning.stacked import ACTIVATIONS, copy_keys
from rlnet_bench.networks.cost import instruction_bits
from rlnet_bench.networks.graph import Graph
from rlnet_bench.networks.models import settled, tokens
from rlnet_bench.networks.whole import WholeLearner, WholePolicy

GENERATOR, OWN, CHOICE = 41, 42, 43  # network numbers for initialisation keys
_GRAPH_DRAWS = 1 << 18  # the generator draws beside the agents' actions


@dataclass(frozen=True)
class Drawn:
    """Graphs: ``place`` int64 [..., N] in the order, ``hears`` bool [..., N, N], entry (i, j) where j hears i."""

    place: Tensor
    hears: Tensor

    @property
    def depth(self) -> Tensor:
        """Edges of the longest path, int64 [...]."""
        level = torch.zeros_like(self.place)
        for _ in range(self.place.shape[-1] - 1):
            level = torch.where(self.hears, level[..., :, None] + 1, 0).amax(dim=-2)
        return level.amax(dim=-1)


def draw(score: Tensor, gate: Tensor, noise: Tensor | None) -> Drawn:
    """A graph from scores [..., N] and logits of gates [..., N, N].

    Args:
        score: who acts early.
        gate: i tells j, if it acts before.
        noise: uniforms [..., N, 1 + N]; None for the most likely order, and gates that are more likely open than not.
    """
    if noise is None:
        order, is_open = score.argsort(dim=-1, descending=True, stable=True), gate > 0
    else:
        u = noise[..., 0].clamp(min=1e-12)
        order = (score - (-u.log()).log()).argsort(dim=-1, descending=True, stable=True)
        is_open = noise[..., 1:] < torch.sigmoid(gate)
    place = order.argsort(dim=-1)
    return Drawn(place, is_open & before(place))


def before(place: Tensor) -> Tensor:
    """[..., N] -> bool [..., N, N]: i acts before j."""
    return place[..., :, None] < place[..., None, :]


def graph_stats(score: Tensor, gate: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
    """(log probability, entropy) of graphs, [...] each; the entropy of the order is that of the choices along it."""
    s = score.gather(-1, drawn.place.argsort(dim=-1))
    n = s.shape[-1]
    left = torch.ones(n, n, dtype=torch.bool, device=s.device).triu()  # [step, who is left]
    choice = s[..., None, :].masked_fill(~left, float("-inf")).log_softmax(dim=-1)
    p = choice.exp()
    entropy = -(p * choice.masked_fill(~left, 0.0)).sum(dim=(-1, -2))
    log_p = choice.diagonal(dim1=-1, dim2=-2).sum(dim=-1)
    possible = before(drawn.place)
    yes, no = torch.nn.functional.logsigmoid(gate), torch.nn.functional.logsigmoid(-gate)
    log_p = log_p + torch.where(possible, torch.where(drawn.hears, yes, no), 0.0).sum(dim=(-1, -2))
    spread = -(yes.exp() * yes + no.exp() * no)
    return log_p, entropy + torch.where(possible, spread, 0.0).sum(dim=(-1, -2))


def chains(gate: Tensor, place: Tensor) -> Tensor:
    """d [...], see above, of logits [..., N, N] and orders [..., N]; 0 for fewer than three agents."""
    n = place.shape[-1]
    p = torch.sigmoid(gate) * before(place)
    paths, shares = p.sum(dim=-1, keepdim=True), []
    for k in range(2, n):
        paths = p @ paths
        shares.append(paths.sum(dim=(-1, -2)) / comb(n, k + 1))
    return torch.stack(shares).mean(dim=0) if shares else p.sum(dim=(-1, -2)) * 0.0


class Team(AgentNetwork):
    """The generator, and what motors say of what they see and are told."""

    def __init__(self, graph: Graph, config: Any, spec: ActorSpec, seeds: Sequence[int], device: Any) -> None:
        """Freshly initialised; motors share parameters or have their own as the settings say."""
        card, n, features = graph.card, graph.card.num_agents, spec.features(graph.card)
        layers = tokens(graph.spec, config)
        d = layers[-1]
        self.replicas, self.agents, self.copies = len(seeds), n, 1 if spec.share_parameters else n
        self.activation, self.blocks = ACTIVATIONS[config.activation], range(config.blocks)
        keys, more = copy_keys(seeds, 1, GENERATOR), {"activation": config.activation, "device": device}
        own, choice = (copy_keys(seeds, self.copies, number) for number in (OWN, CHOICE))
        told = spec.hidden[-1] + n * (card.action_size + 1)
        self.parts: dict[str, Any] = {
            "observed": Tokens((features, *layers), keys, 0, **more),
            "observed_norm": Norm(d, len(seeds), device),
            **{f"block.{k}": Block(d, config.attention_heads, keys, 1, k, **more) for k in self.blocks},
            "score": Tokens((d, 1), keys, 2, gain=0.01, device=device),
            "from": Tokens((d, d), keys, 3, device=device),
            "to": Tokens((d, d), keys, 4, device=device),
            "gate": Tokens((d, 1), keys, 5, gain=0.01, device=device),
            "own": AgentNetwork((features, *spec.hidden), own, len(seeds), n, output_gain=2**0.5, **more),
            "choice": AgentNetwork((told, Actions(card).outputs), choice, len(seeds), n, output_gain=0.01, **more),
        }

    def look(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(scores [R, n, N], logits of gates [R, n, N, N]) of features [R, n, N, F]."""
        h = self.parts["observed_norm"](self.activation(self.parts["observed"](features)))
        for k in self.blocks:
            h = self.parts[f"block.{k}"](h)
        pairs = torch.relu(self.parts["from"](h)[:, :, :, None] + self.parts["to"](h)[:, :, None])
        return self.parts["score"](h).squeeze(-1), self.parts["gate"](pairs).squeeze(-1)

    def own(self, features: Tensor) -> Tensor:
        """What agents make of their observations, [R, n, N, H]."""
        return self.activation(self.parts["own"](features))

    def choice(self, own: Tensor, told: Tensor) -> Tensor:
        """Logits or means [R, n, N, outputs]."""
        return self.parts["choice"](torch.cat((own, told), dim=-1))


class GraphActor(Actor):
    """Draws a graph, then chooses for one agent after the other."""

    network: Team
    drawn: Drawn  # of the last step [R, B, ...]
    drawn_log_p: Tensor  # [R, B]

    def __init__(self, graph: Graph, config: Any, seeds: Sequence[int], device: Any = "cpu") -> None:
        spec = ActorSpec.of(settled(graph.spec, config))
        super().__init__(graph.card, spec, seeds, device, Team(graph, config, spec, seeds, device))

    def told(self, raw: Tensor, hears: Tensor) -> Tensor:
        """What agents hear [R, n, N, N * (A + 1)]: by parent its action and a one, zeros for all others."""
        if raw.is_floating_point():
            action = self.actions.to_task(raw)
        else:
            action = torch.nn.functional.one_hot(raw, self.card.action_size).to(torch.float32)
        said = torch.cat((action, action.new_ones(*action.shape[:-1], 1)), dim=-1)
        return (hears.mT[..., None] * said[:, :, None]).flatten(3)

    def choose(
        self, features: Tensor, memory: Tensor, mask: Tensor | None, noise: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`~rlnet_bench.learning.actor.Actor`; ``noise`` is that of :func:`graph_noise`."""
        n = self.card.num_agents
        own_noise = None if noise is None else noise[..., : -1 - n]
        score, gate = self.network.look(features)
        self.drawn = drawn = draw(score, gate, None if noise is None else noise[..., -1 - n :])
        self.drawn_log_p = graph_stats(score, gate, drawn)[0]
        own = self.network.own(features)
        shape = features.shape[:3] if self.actions.discrete else (*features.shape[:3], self.actions.width)
        raw = torch.zeros(shape, dtype=torch.int64 if self.actions.discrete else torch.float32, device=own.device)
        for k in range(n):
            output = self.actions.distribution(self.network.choice(own, self.told(raw, drawn.hears)), mask)
            if own_noise is None:
                new = self.actions.mode(output)
            else:
                new = self.sample(output, own_noise.squeeze(-1) if self.actions.discrete else own_noise)
            turn = drawn.place == k
            raw = torch.where(turn if self.actions.discrete else turn[..., None], new, raw)
        return output, raw, memory

    def evaluate(self, rows: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(log probability, entropy) [R, c, N] of actions, given the graphs ``hears`` [R, c, N, N]."""
        said = self.network.choice(self.network.own(rows["features"]), self.told(rows["actions"], rows["hears"]))
        return self.stats(self.actions.distribution(said, rows.get("masks")), rows["actions"])


def graph_noise(keys: Tensor, step: Tensor, actor: Chooser) -> Tensor:
    """[T, R, B, N, 1 or A, then 1 + N]: what actions are sampled with, and uniforms for the order and for gates.

    Args:
        keys: [R*B] int64. step: [T, R*B] or [T, 1] int64.
        actor: see :func:`~rlnet_bench.learning.policy.action_noise`.
    """
    n, own = actor.card.num_agents, action_noise(keys, step, actor)
    numbers = torch.arange(n * (1 + n), device=keys.device)
    key = rng.fold(rng.fold(keys[None], step)[..., None], _GRAPH_DRAWS + numbers)
    uniform = rng.uniform32(key).unflatten(-1, (n, 1 + n)).unflatten(1, (actor.replicas, -1))
    return torch.cat((own[..., None] if actor.actions.discrete else own, uniform), dim=-1)


class GraphRollout(TeamRollout):
    """With the graphs that were drawn."""

    actor: GraphActor

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        t, r, b, n = self.shape
        device = self.rewards.device
        self.place = torch.zeros(t, r, b, n, dtype=torch.int64, device=device)
        self.hears = torch.zeros(t, r, b, n, n, dtype=torch.bool, device=device)
        self.graph_log_p = torch.zeros(t, r, b, 1, device=device)

    def note(self, t: int) -> None:
        """Keep the graphs of step t."""
        self.place[t], self.hears[t] = self.actor.drawn.place, self.actor.drawn.hears
        self.graph_log_p[t] = self.actor.drawn_log_p[..., None]

    def rows(self) -> dict[str, Tensor]:
        """With ``place``, ``hears`` and ``graph_log_p`` [.., 1]."""
        return super().rows() | {name: flat(getattr(self, name)) for name in ("place", "hears", "graph_log_p")}


@dataclass(frozen=True)
class Usual:
    """Means over situations: edges drawn, the longest path, bits per step down, hops per step."""

    edges: float
    depth: float
    bits_down: float
    hops: float


class GraphPolicy(WholePolicy):
    """Draws by counter."""

    actor: GraphActor

    def noise(self, keys: Tensor, step: Tensor) -> Tensor:
        """See :func:`graph_noise`."""
        return graph_noise(keys, step, self.actor)

    @torch.no_grad()
    def usual(self, *, sampled: bool = True, device: str = "cpu") -> Usual:
        """What its graphs need on average, over situations of a random walk; the file's graph is the bound."""
        card = self.graph.card
        observation, mask = situations(card, self.replicas, device)
        self.act(observation, self.initial_state(len(observation)), mask, None, not sampled)
        drawn, n = self.actor.drawn, card.num_agents
        size = instruction_bits("action", card.action_size, card.action_kind == "discrete")
        edges, depth = float(drawn.hears.sum(dim=(-1, -2)).float().mean()), float(drawn.depth.float().mean())
        return Usual(edges, depth, 2 * n * (n - 1) + edges * size, 2 + depth)


class Learner(WholeLearner):
    """PPO of motors, each for itself given its parents' actions, and of the generator for the team."""

    critic_reads = "states"
    actor_class, policy_class, rollout_class = GraphActor, GraphPolicy, GraphRollout

    def noise(self, steps: Tensor) -> Tensor:
        """See :func:`graph_noise`."""
        return graph_noise(self.action_keys, steps, self.actor)

    def loss(self, batch: Batch) -> Loss:
        """Both surrogates, value error, entropies, and d; the generator's gradients and the motors' never meet."""
        config, network = self.config, self.actor.network
        assert isinstance(network, Team)
        log_p, entropy = self.actor.evaluate(batch.rows)
        ratio = torch.exp(log_p - batch["log_p"])
        score, gate = network.look(batch["features"])
        graph_log_p, spread = graph_stats(score, gate, Drawn(batch["place"], batch["hears"]))
        graph_ratio = torch.exp(graph_log_p[..., None] - batch["graph_log_p"])
        team = batch["advantage"].mean(dim=-1, keepdim=True)
        policy = -batch.acting_mean(clipped_surrogate(ratio, batch["advantage"], config.clip))
        policy = policy - batch.mean(clipped_surrogate(graph_ratio, team, config.clip))
        bonus = batch.acting_mean(entropy) + batch.mean(spread[..., None]) / self.env.card.num_agents
        value = batch.mean(half_squared_error(self.value(batch), batch["returns"]))
        total = policy + config.value_weight * value - config.entropy_weight * bonus
        total = total + config.depth_weight * batch.mean(chains(gate, batch["place"])[..., None])
        return Loss(total, policy, value, bonus, batch.mean(is_clipped(ratio, config.clip)))
