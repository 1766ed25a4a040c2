"""Success metrics of the VMAS scenarios, by metric name.

VMAS has none; these read what a scenario knows at the end of a step. ``AT_END`` metrics are computed on steps
on which some episode ends, ``PER_STEP`` ones are averaged over the steps of the episode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Metric = Callable[[Any], Tensor]  # scenario -> [B], bool or float in [0, 1]


def _distance(a: Any, b: Any) -> Tensor:
    return (a.state.pos - b.state.pos).square().sum(dim=-1).sqrt()


def _package_on_goal(scenario: Any) -> Tensor:
    if hasattr(scenario, "packages"):  # transport
        return torch.stack([p.on_goal for p in scenario.packages]).to(torch.float32).mean(dim=0)
    package = scenario.package
    if hasattr(package, "on_goal"):  # reverse_transport
        return package.on_goal
    return scenario.world.is_overlapping(package, package.goal) & ~scenario.on_the_ground  # balance


def _agents_on_goal(scenario: Any) -> Tensor:
    agents = scenario.world.agents
    there = torch.stack([_distance(a, a.goal) < a.shape.radius for a in agents])
    return there.to(torch.float32).mean(dim=0)


def _density_collected(scenario: Any) -> Tensor:
    """Share of the mixture's density in visited cells, on the grid of cell centres."""
    step, sampled = scenario.grid_spacing, scenario.sampled
    axes = []
    for half, cells in ((scenario.xdim, sampled.shape[1]), (scenario.ydim, sampled.shape[2])):
        axes.append(-half + step * (torch.arange(cells, device=sampled.device) + 0.5))
    total = torch.zeros(sampled.shape, device=sampled.device)
    for centre, variance in zip(scenario.locs, scenario.covs):
        x, y = (torch.exp(-(axis - centre[:, k : k + 1]).square() / (2 * variance)) for k, axis in enumerate(axes))
        total += x[:, :, None] * y[:, None, :] / variance
    return (total * sampled).sum(dim=(1, 2)) / total.sum(dim=(1, 2))


AT_END: dict[str, Metric] = {
    "package_on_goal": _package_on_goal,
    "food_share": lambda s: torch.stack([f.eaten for f in s.world.landmarks]).to(torch.float32).mean(dim=0),
    "both_on_goal": lambda s: s.goal_reached,
    "agents_on_goal": _agents_on_goal,
    "density_collected": _density_collected,
    "goal_reached": lambda s: s.done(),
    "ball_on_goal": lambda s: _distance(s.ball, s.goal) <= 0.01,
    "goal_pose": lambda s: s.done(),
    "done": lambda s: s.done(),
}
PER_STEP: dict[str, Metric] = {
    "at_desired_speed": lambda s: s.rew.flatten() <= 0.1 * s.desired_velocity,
    "steps_with_discovery": lambda s: s.covered_targets.any(dim=-1),
}
