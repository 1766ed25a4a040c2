"""An off-policy method from outside: hysteretic independent Q-learning (Matignon, Laurent and Le Fort-Piat 2007).

Every agent learns from its own observation with a network of its own, and takes bad news less seriously than good,
because it may be another agent's exploration. A suite runs it like any other method:

    rlnet-bench run quick --method examples/independent_q_learning.py:HystereticQ
"""

import torch

from rlnet_bench.learning.agents import AgentNetwork
from rlnet_bench.learning.config import Fraction, OffPolicyConfig
from rlnet_bench.learning.distributions import mask_logits
from rlnet_bench.learning.off_policy import OffPolicyLearner
from rlnet_bench.learning.optimise import Optimiser
from rlnet_bench.learning.policy import Policy
from rlnet_bench.learning.q_learning import epsilon_greedy
from rlnet_bench.learning.stacked import copy_keys
from rlnet_bench.learning.targets import chosen
from rlnet_bench.methods import Capabilities, Method, register


class Config(OffPolicyConfig):
    """Settings of the replay and of the networks are inherited; a suite may change every one."""

    epsilon: Fraction = 0.1
    caution: Fraction = 0.4  # weight of errors that say: worse than thought


class Agents(Policy):
    """My own network: what acts, rebuilt from ``spec`` and weights by ``load_policy``. R replicas, N agents."""

    def __init__(self, card, spec, seeds, device="cpu"):
        n, self.replicas, self.kind = card.num_agents, len(seeds), spec
        sizes = (card.observation_size, *spec["hidden"], card.action_size)
        keys = copy_keys(seeds, n, 0)  # a network for every agent of every replica, started from its own seed
        self.network = AgentNetwork(sizes, keys, len(seeds), n, activation="relu", device=device)
        options = torch.tensor(card.action_sizes, device=device)
        self.used = torch.arange(card.action_size, device=device) < options[:, None]  # [N, A]

    def explore(self, observation, mask, keys, step, epsilon):
        """Actions [R*B, N] of observations [R*B, N, O]."""
        q = self.network(observation.unflatten(0, (self.replicas, -1))).flatten(0, 1)
        return epsilon_greedy(q, self.used if mask is None else mask & self.used, keys, step, epsilon)

    @torch.no_grad()
    def act(self, observation, state, mask=None, reset=None, deterministic=True):
        epsilon = 0.0 if deterministic else self.kind["epsilon"]
        return self.explore(observation, mask, state.keys, state.step, epsilon), state._replace(step=state.step + 1)

    def state_dict(self):
        return self.network.state_dict()

    def spec(self):
        return self.kind


class HystereticLearner(OffPolicyLearner[Config]):
    """My own update rule; the replay, the loop, checkpoints and freezing are inherited."""

    def build(self):
        spec = {"kind": "hysteretic", "hidden": list(self.config.hidden), "epsilon": self.config.epsilon}
        self.agents, self.target = (Agents(self.card, spec, self.seeds, self.device) for _ in range(2))
        self.follow(self.target.network, self.agents.network)
        self.parts |= {"agents": self.agents, "target": self.target}  # what a checkpoint keeps
        groups = {"q": self.agents.network.parameters()}
        rate, norm = self.config.learning_rate, self.config.max_grad_norm
        self.train(Optimiser(groups, self.replicas, learning_rate=rate, max_grad_norm=norm))

    def behave(self, now, step):
        action = self.agents.explore(now.observation, now.action_mask, self.explore_keys, step, self.config.epsilon)
        return action, action

    def learn_from(self, batch):
        self.optimiser.zero()
        value = chosen(self.agents.network(batch.observation), batch.action)  # [R, M, N]
        with torch.no_grad():
            after = mask_logits(self.target.network(batch.next_observation), self.agents.used)
            target = batch.reward + batch.discount * mask_logits(after, batch.next_mask).amax(dim=-1)
        error = target - value
        loss = (torch.where(error < 0, self.config.caution, 1.0) * error.square()).mean(dim=(1, 2))
        loss.sum().backward()  # replicas are independent: each gets its own gradient
        return {"loss": loss.detach(), "gradient_norm": self.step()["q"]}

    def policy(self):
        return self.agents


@register("hysteretic-q", version=1, summary="independent Q-learning that trusts good news", Config=Config,
          training="independent", capabilities=Capabilities(continuous=False))  # fmt: skip
class HystereticQ(Method):
    @classmethod
    def learner_class(cls):
        return HystereticLearner

    @classmethod
    def rebuild(cls, spec, card, seeds, device="cpu"):
        return Agents(card, spec, seeds, device)
