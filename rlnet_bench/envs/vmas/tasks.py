"""The published VMAS tasks as data: arguments, sizes, rewards, success. Imports without torch and vmas.

Arguments, numbers of agents and horizons are BenchMARL's (its task files of July 2025).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """What a published task is, whatever its action kind."""

    scenario: str
    description: str
    arguments: Mapping[str, Any]
    agents: int
    observation: int
    reward: str
    success: str
    success_description: str
    horizon: int = 100
    force: float = 1.0  # bound of each of the two force components
    shared: bool = True
    terminates: bool = False
    once_per_batch: str = ""  # what a full reset draws once for all environments


TASKS: dict[str, Task] = {
    "balance": Task(
        "balance",
        "four agents lift a bar from below with a ball on it, and bring the ball to a goal",
        {"n_agents": 4, "random_package_pos_on_line": True, "package_mass": 5},
        4,
        16,
        "shared: 100 * (decrease of the ball's distance to the goal), -10 while ball or bar touch the ground",
        "package_on_goal",
        "1 if the ball is on the goal and nothing on the ground when the episode ends, else 0",
        terminates=True,
    ),
    "transport": Task(
        "transport",
        "four agents push a package that is too heavy for one to a goal",
        {"n_agents": 4, "n_packages": 1, "package_width": 0.15, "package_length": 0.15, "package_mass": 50},
        4,
        11,
        "shared: 100 * (decrease of the package's distance to the goal) while it is not there",
        "package_on_goal",
        "share of packages on the goal when the episode ends",
        terminates=True,
    ),
    "reverse_transport": Task(
        "reverse_transport",
        "four agents inside a heavy box push it to a goal",
        {"n_agents": 4, "package_width": 0.6, "package_length": 0.6, "package_mass": 50},
        4,
        10,
        "shared: 100 * (decrease of the box's distance to the goal) while it is not there",
        "package_on_goal",
        "1 if the box is on the goal when the episode ends, else 0",
        terminates=True,
    ),
    "wheel": Task(
        "wheel",
        "four agents turn a heavy bar at a given angular velocity",
        {"n_agents": 4, "line_length": 1, "line_mass": 30, "desired_velocity": 0.05},
        4,
        13,
        "shared: minus the distance of the bar's angular speed to the desired 0.05",
        "at_desired_speed",
        "share of the episode's steps with an angular speed within 10 % of the desired one",
    ),
    "dispersion": Task(
        "dispersion",
        "four agents that start together disperse to eat four pieces of food",
        {"n_agents": 4, "n_food": 4, "share_reward": True, "food_radius": 0.02, "penalise_by_time": False},
        4,
        16,
        "shared: 1 for each piece of food eaten on this step",
        "food_share",
        "share of the food that is eaten when the episode ends",
        terminates=True,
    ),
    "discovery": Task(
        "discovery",
        "five agents look for targets, each of which needs two of them at once",
        {
            "n_agents": 5,
            "n_targets": 7,
            "lidar_range": 0.35,
            "covering_range": 0.25,
            "agents_per_target": 2,
            "targets_respawn": True,
            "shared_reward": True,
        },
        5,
        19,
        "shared: half the number of (agent, target) pairs in range, over targets with two agents in range",
        "steps_with_discovery",
        "share of the episode's steps on which a target is covered by two agents",
    ),
    "give_way": Task(
        "give_way",
        "two agents swap sides through a corridor that only one can pass at a time",
        {"mirror_passage": False, "observe_rel_pos": False, "done_on_completion": False, "final_reward": 0.01},
        2,
        4,
        "shared: decrease of both agents' distances to their goals, 0.01 while both are there",
        "both_on_goal",
        "1 if both agents are on their goals when the episode ends, else 0",
        force=0.5,
        once_per_batch="the noise on the agents' positions",
    ),
    "navigation-shared": Task(
        "navigation",
        "three agents that sense each other go to goals of their own, as one team",
        {
            "n_agents": 3,
            "collisions": True,
            "agents_with_same_goal": 1,
            "split_goals": False,
            "observe_all_goals": False,
            "shared_rew": True,
            "agent_collision_penalty": 0,
            "lidar_range": 0.35,
            "agent_radius": 0.1,
        },
        3,
        18,
        "shared: decrease of all agents' distances to their goals, 0.01 when all are there",
        "agents_on_goal",
        "share of agents on their goals when the episode ends",
        terminates=True,
    ),
    "navigation-individual": Task(
        "navigation",
        "three agents that sense each other go to goals of their own (BenchMARL's version)",
        {
            "n_agents": 3,
            "collisions": True,
            "agents_with_same_goal": 1,
            "split_goals": False,
            "observe_all_goals": False,
            "shared_rew": False,
            "lidar_range": 0.35,
            "agent_radius": 0.1,
        },
        3,
        18,
        "per agent: decrease of its distance to its goal, -1 per agent in contact, 0.01 when all are there",
        "agents_on_goal",
        "share of agents on their goals when the episode ends",
        shared=False,
        terminates=True,
    ),
    "sampling": Task(
        "sampling",
        "three agents collect the density of an unknown field, each cell once, as one team",
        {
            "n_agents": 3,
            "shared_rew": True,
            "n_gaussians": 3,
            "lidar_range": 0.2,
            "cov": 0.05,
            "collisions": True,
            "spawn_same_pos": False,
        },
        3,
        24,
        "shared: sum over agents of the density, relative to its maximum, of cells entered for the first time",
        "density_collected",
        "share of the field's density in the cells visited when the episode ends",
    ),
    "sampling-individual": Task(
        "sampling",
        "three agents collect the density of an unknown field, each cell once (BenchMARL's version)",
        {
            "n_agents": 3,
            "shared_rew": False,
            "n_gaussians": 3,
            "lidar_range": 0.2,
            "cov": 0.05,
            "collisions": True,
            "spawn_same_pos": False,
        },
        3,
        24,
        "per agent: the density, relative to its maximum, of cells that it enters before the others",
        "density_collected",
        "share of the field's density in the cells visited when the episode ends",
        shared=False,
    ),
    "dropout": Task(
        "dropout",
        "four agents, each action of which costs the team energy: one of them should reach the goal",
        {"n_agents": 4, "energy_coeff": 0.02, "start_same_point": False},
        4,
        7,
        "shared: 1 when an agent reaches the goal, minus 0.02 * (the agents' relative forces)",
        "goal_reached",
        "1 if an agent has reached the goal when the episode ends, else 0",
        terminates=True,
    ),
    "ball_passage": Task(
        "ball_passage",
        "two agents push a ball through a gap in a wall to a goal",
        {"n_passages": 1, "fixed_passage": False, "random_start_angle": True},
        2,
        10,
        "shared: decrease of the ball's distance to the gap, then to the goal; -0.06 per contact with the wall",
        "ball_on_goal",
        "1 if the ball is within 0.01 of the goal when the episode ends, else 0",
        horizon=500,
        terminates=True,
        once_per_batch="the place of the gap",
    ),
    "joint_passage": Task(
        "joint_passage",
        "two agents joined by a rod with a weight on it pass a gap and take a given pose",
        {
            "n_passages": 1,
            "fixed_passage": True,
            "joint_length": 0.5,
            "random_start_angle": True,
            "random_goal_angle": True,
            "observe_joint_angle": False,
            "asym_package": True,
            "mass_ratio": 5,
            "mass_position": 0.75,
        },
        2,
        10,
        "shared: decrease of the rod's distance to the gap, then to the goal, and of its angle likewise",
        "goal_pose",
        "1 if the rod is in the goal pose (within 0.01 in place and angle) when the episode ends, else 0",
        horizon=500,
        terminates=True,
        once_per_batch="which agent is on which side",
    ),
}

# The script of each scenario in policies.py: what an agent can do for itself.
UNCOORDINATED = {
    "balance": "lift",
    "transport": "push",
    "reverse_transport": "push_from_inside",
    "wheel": "turn",
    "dispersion": "nearest_food",
    "discovery": "wander",
    "give_way": "straight",
    "navigation": "go_home",
    "sampling": "climb",
    "dropout": "approach",
    "ball_passage": "dribble",
    "joint_passage": "thread",
}
# And where there is one, the script in which they work together.
COORDINATED = {"dispersion": "share_out", "dropout": "nearest_goes"}
# Scenarios that are wrong in vmas 1.5.2, and why.
KNOWN_WRONG = {
    "passage": "its collision penalties pile up in one tensor, so that agent k also pays for agents 0 to k-1, "
    "and the rewards depend on the order of the agents",
    "ball_trajectory": "every agent's reward call advances the shaping, so that agent 0 alone is paid",
    "simple_reference": "it draws one goal per agent for the whole batch, and never again on a reset by index; "
    "use mpe/simple_reference-discrete-v1",
    "simple_speaker_listener": "it draws one goal for the whole batch, and never again on a reset by index; "
    "use mpe/simple_speaker_listener-discrete-v1",
}
# Lowest team return of the random episodes that cards/vmas.yaml is about, rounded down.
FLOORS: dict[str, float] = {
    "vmas/balance-continuous-v1": -68.7,
    "vmas/balance-discrete-v1": -68.1,
    "vmas/transport-continuous-v1": -1.2,
    "vmas/transport-discrete-v1": -2.1,
    "vmas/reverse_transport-continuous-v1": -4.7,
    "vmas/reverse_transport-discrete-v1": -4.7,
    "vmas/wheel-continuous-v1": -20.1,
    "vmas/wheel-discrete-v1": -20.1,
    "vmas/dispersion-continuous-v1": 0.0,
    "vmas/dispersion-discrete-v1": 0.0,
    "vmas/discovery-continuous-v1": 0.0,
    "vmas/discovery-discrete-v1": 0.0,
    "vmas/give_way-continuous-v1": -0.9,
    "vmas/give_way-discrete-v1": -1.3,
    "vmas/navigation-shared-continuous-v1": -3.6,
    "vmas/navigation-shared-discrete-v1": -5.7,
    "vmas/navigation-individual-continuous-v1": -43.8,
    "vmas/navigation-individual-discrete-v1": -41.2,
    "vmas/sampling-continuous-v1": 0.0,
    "vmas/sampling-discrete-v1": 0.0,
    "vmas/sampling-individual-continuous-v1": 0.0,
    "vmas/sampling-individual-discrete-v1": 0.0,
    "vmas/dropout-continuous-v1": -18.5,
    "vmas/dropout-discrete-v1": -26.0,
    "vmas/ball_passage-continuous-v1": -15.3,
    "vmas/ball_passage-discrete-v1": -22.0,
    "vmas/joint_passage-continuous-v1": -3.4,
    "vmas/joint_passage-discrete-v1": -3.9,
}
