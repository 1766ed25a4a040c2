"""The words that records, policies, suites and tables share, each spelled once. Imports nothing of the package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

# -- what is scored -----------------------------------------------------------------------------------------

ChannelKind = Literal["decentralised", "delay-1", "1-bit", "2-bit", "4-bit", "8-bit"]
"""What becomes of the numbers that cross between agents: cut, late or coarse."""
EndKind = Literal["final", "absolute"]
"""The scores that comparisons use: the last weights, and the best point's weights on fresh episodes."""
Kind = Literal["curve", EndKind, "reference", ChannelKind]
"""Which evaluation a line of a record is."""
Mode = Literal["deterministic", "sampled"]
"""How actions are chosen while evaluating."""
Referee = Literal["batched", "reference"]
"""On whose environment a policy is scored: ours, or the original package."""
Weights = Literal["best", "final"]
"""Which weights of a run: those of the best point of its curve, or the last ones."""

CHANNEL_KINDS: tuple[ChannelKind, ...] = get_args(ChannelKind)
KINDS: tuple[Kind, ...] = get_args(Kind)
MODES: tuple[Mode, ...] = get_args(Mode)

# -- what became of it --------------------------------------------------------------------------------------

ScoredStatus = Literal["ok", "diverged"]
"""A run that has a score; that of a diverged one is the task's floor."""
Status = Literal["running", ScoredStatus, "failed", "incomplete", "missing"]
"""``incomplete``: a run from elsewhere that ended before its budget; it is shown and counted, never scored."""

# -- who knows what -----------------------------------------------------------------------------------------

ExecutionClass = Literal["D0", "D1", "D2", "C"]
"""What an acting agent's action depends on within one step."""
EXECUTION_CLASSES: Mapping[str, str] = {  # weakest first
    "D0": "decentralised: each agent acts on its own observations and history",
    "D1": "decentralised, but agents also see others' sampled actions in the same step",
    "D2": "agents see part of others' observations in the same step",
    "C": "centralised: some source sees all agents when acting",
}
TrainingClass = Literal["none", "independent", "centralised critic", "gradients across agents"]
"""Whose knowledge flows where while learning."""
TrainingReward = Literal["team_mean", "individual"]
"""What learners maximise: every agent the team's mean reward, or each its own."""
ActionKind = Literal["discrete", "continuous"]


def class_rank(name: str) -> int:
    """Place of an execution class in their order, weakest first; a class that is not known counts as strongest."""
    order: list[str] = list(EXECUTION_CLASSES)
    return order.index(name) if name in order else len(order)
