"""A network whose vertices outside of the agents are another run's: who leads, and who acts."""

from __future__ import annotations

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.learning.policy import Policy
from rlnet_bench.learning.stacked import load_tensors
from rlnet_bench.networks.policy import NetworkPolicy


def external(policy: Policy) -> tuple[str, ...]:
    """Names of a network's vertices that compute at no agent; empty for every other policy."""
    if not isinstance(policy, NetworkPolicy):
        return ()
    return tuple(n.name for n in policy.graph.nodes if not n.place.startswith("agent "))


def led_by(leader: Policy, team: Policy, card: TaskCard) -> NetworkPolicy | None:
    """``team`` with the external vertices of ``leader``, one replica each; None unless both are runs of one network.

    Also None where a set of parameters serves vertices of both kinds, or nothing is outside of the agents.
    """
    if not (isinstance(leader, NetworkPolicy) and isinstance(team, NetworkPolicy)) or leader.spec() != team.spec():
        return None
    outside = [{not team.graph.nodes[i].place.startswith("agent ") for i in n.stack.members} for n in team.nets]
    if any(len(kinds) > 1 for kinds in outside) or not any(True in kinds for kinds in outside):
        return None
    made = NetworkPolicy.rebuild(team.spec(), card, (0,))
    for own, theirs, follows, kinds in zip(made.nets, leader.nets, team.nets, outside):
        load_tensors(own.state_dict(), (theirs if True in kinds else follows).state_dict())
    return made
