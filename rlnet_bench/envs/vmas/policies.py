"""Scripted VMAS policies: reference points between random play and the best known.

Every script is a pure batched function ``(observation [B, N, O] float32, card) -> actions`` (float32
[B, N, 2] or int64 [B, N]); none keeps a state. In the uncoordinated ones, one for each scenario, agent i's
action is a function of agent i's observation alone, and agents have no roles; where an observation leaves
out which goal is the agent's own, its index says it. The last two are coordinated: roles by index, or by
everyone's observations.

The control law they share. Per axis, an entity of mass 1 keeps the share 0.75 of its velocity in each step
and a full action adds ``gain`` to it; it then moves by 0.1 of its velocity. :func:`_drive` is the share of a
full action that is missing to a wanted velocity. A wanted velocity of ``_CLOSING`` times the way left does
not overshoot: coasting alone stops within 0.3 of the velocity.

Discrete agents push each axis fully, or not at all when less than half a push is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rlnet_bench.envs.card import TaskCard

Script = Callable[[Tensor, TaskCard], Tensor]

_CLOSING = 2.5


def lift(observation: Tensor, card: TaskCard) -> Tensor:
    """Balance: hold the nearest place under the bar, level it, lean it towards the goal and lift.

    Bar and ball feel forces along the bar's normal only, so what leans right is carried to the right.
    """
    o = observation
    to_bar, goal = -o[..., 6:8], -o[..., 8:10]  # from the agent to the bar; from the ball to the goal
    ball = -to_bar[..., 0] - o[..., 4]  # how far right of the bar's middle the ball is
    angle = torch.remainder(o[..., 15] + math.pi / 2, math.pi) - math.pi / 2
    places = torch.linspace(-0.385, 0.385, card.num_agents, dtype=o.dtype, device=o.device)
    place = places[(-to_bar[..., :1] - places).abs().argmin(dim=-1)]

    lean = torch.atan2(-goal[..., 0], goal[..., 1].clamp(min=0.3)).clamp(-0.3, 0.3)
    turn = 3.0 * (lean - angle) - 1.5 * o[..., 14]
    skew = ball / (places.square().sum() * 2.0 / card.num_agents)  # the middle of the load, per place
    lift = (0.25 + 8.0 * goal[..., 1]).clamp(0.0, 1.0) / (1.0 + 0.15 * skew.abs())
    up = lift * (1.0 + skew * place) + turn * place / 0.385
    along = _drive(o[..., 12] + _CLOSING * (to_bar[..., 0] + place), o[..., 2], 0.07)
    return _act(torch.stack((along, up), dim=-1), card)


def push(observation: Tensor, card: TaskCard) -> Tensor:
    """Transport: walk round to a face of the package that looks away from the goal, and press.

    Of the two faces, the one that counts more for the way left and is nearer.
    """
    o, face = observation, 0.075
    goal, own = -o[..., 4:6], -o[..., 6:8]  # both from the package
    ahead = torch.where(goal >= 0, 1.0, -1.0)
    worth = goal.abs() / goal.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    behind = -ahead * own  # per axis: how far behind the middle of the package
    score = worth - 0.5 * ((face + 0.03 - behind).clamp(min=0.0) + (own.flip(-1).abs() - face).clamp(min=0.0))
    axis = score.argmax(dim=-1, keepdim=True)
    forward, depth, side = (x.gather(-1, axis) for x in (ahead, behind, own.flip(-1)))

    is_behind = depth > face + 0.01
    presses = is_behind & (side.abs() < face)
    clear = torch.where(side >= 0, 1.0, -1.0) * (face + 0.05)
    sideways = torch.where(is_behind, side.clamp(-0.05, 0.05), clear) - side
    backwards = torch.where(side.abs() > face + 0.03, face + 0.06 - depth, 0.0) * ~is_behind
    wanted_forward = torch.where(presses, 1.0, -_CLOSING * backwards) * forward
    wanted = torch.where(torch.arange(2, device=o.device) == axis, wanted_forward, 2 * _CLOSING * sideways)  # [B, N, 2]
    return _act(_drive(wanted, o[..., 2:4], 0.06), card)


def push_from_inside(observation: Tensor, card: TaskCard) -> Tensor:
    """Reverse transport: full force towards the goal, on both walls unless one axis is nearly done."""
    goal = -observation[..., 8:10]
    return _act(5.0 * goal / goal.abs().amax(dim=-1, keepdim=True).clamp(min=1e-6), card)


def turn(observation: Tensor, card: TaskCard) -> Tensor:
    """Wheel: to the nearer side of the bar, at the arm that turns it counterclockwise from there, and press.

    A third of the full force of four agents keeps the bar at the wanted speed; the rest corrects, and damps
    the springy contact.
    """
    o, half = observation, float(card.constructor["line_length"]) / 2
    arm = (o[..., 6:8] - o[..., 8:10]) / (2 * half)
    normal = torch.stack((-arm[..., 1], arm[..., 0]), dim=-1)
    own, velocity = -o[..., 4:6], o[..., 2:4]
    along, across = (own * arm).sum(-1), (own * normal).sum(-1)
    end = torch.where(across > 0, -1.0, 1.0)  # the arm whose pushing side is the agent's
    place = end * (end * along).clamp(0.5 * half, 0.95 * half)
    touches = (across.abs() < 0.06) & (end * along > 0.0)
    speed, own_speed = float(card.constructor["desired_velocity"]), (velocity * normal).sum(-1) * end
    press = 0.33 + 15.0 * (speed - o[..., 11]) + _drive(speed * place.abs(), own_speed, 0.06)
    walk = _drive(_CLOSING * (across.abs() - 0.02), own_speed, 0.06)
    forwards = torch.where(touches, press.clamp(min=0.0), walk) * end
    sideways = _drive(_CLOSING * (place - along), (velocity * arm).sum(-1), 0.06)
    return _act(forwards[..., None] * normal + sideways[..., None] * arm, card)


def nearest_food(observation: Tensor, card: TaskCard) -> Tensor:
    """Dispersion: everyone to the food nearest to itself, which is the same for all who start together."""
    o = observation
    food = o[..., 4:].unflatten(-1, (int(card.constructor["n_food"]), 3))
    nearest = (food[..., :2].norm(dim=-1) + 1e3 * food[..., 2]).argmin(dim=-1)
    way = food[..., :2].gather(-2, nearest[..., None, None].expand(*nearest.shape, 1, 2))[..., 0, :]
    return _act(_drive(2 * _CLOSING * way, o[..., 2:4], 0.1), card)


def wander(observation: Tensor, card: TaskCard) -> Tensor:
    """Discovery: fly straight on, back at the walls; slow down at a target in sight, where two are needed."""
    o = observation
    position, velocity, ray = o[..., 0:2], o[..., 2:4], o[..., 4:]
    nearest = ray.argmin(dim=-1)
    distance = ray.gather(-1, nearest[..., None])
    sees = distance < float(card.constructor["lidar_range"]) - 1e-4
    angle = nearest * (2 * math.pi / ray.shape[-1])
    target = torch.stack((angle.cos(), angle.sin()), dim=-1)
    heading = _heading(position, velocity, 0.85)
    wanted = torch.where(sees, target * 2 * (distance - 0.12), heading)
    return _act(_drive(wanted, velocity, 0.1), card)


def straight(observation: Tensor, card: TaskCard) -> Tensor:
    """Give way: straight to the own goal, as if nobody came the other way."""
    own_goal = observation.new_tensor([[2.29, 0.0], [-2.29, 0.0]])  # agent 0 goes right, agent 1 left
    return _act(4.0 * (own_goal - observation[..., 0:2]), card)


def go_home(observation: Tensor, card: TaskCard) -> Tensor:
    """Navigation: to the own goal, away from whoever comes near, passing everyone on the same side."""
    o = observation
    angle = torch.arange(o.shape[-1] - 6, device=o.device) * (2 * math.pi / (o.shape[-1] - 6))
    ray = torch.stack((angle.cos(), angle.sin()), dim=-1)  # [K, 2]
    near = (o[..., 6:] - 0.1).clamp(min=0.0)  # of 0.35; 0.25 is contact
    away = -(near[..., None] * ray).sum(-2)
    aside = torch.stack((away[..., 1], -away[..., 0]), dim=-1)
    goal = -_CLOSING * o[..., 4:6]
    goal = goal / goal.norm(dim=-1, keepdim=True).div(0.4).clamp(min=1.0)
    return _act(_drive(goal + 4.0 * away + 2.0 * aside, o[..., 2:4], 0.1), card)


def climb(observation: Tensor, card: TaskCard) -> Tensor:
    """Sampling: to the densest unvisited cell around, preferring those ahead; straight on where there is none."""
    o = observation
    position, velocity, density = o[..., 0:2], o[..., 2:4], o[..., 16:24]
    cell = o.new_tensor([[1, 0], [-1, 0], [0, 1], [0, -1], [-1, -1], [1, -1], [-1, 1], [1, 1]])
    ahead = velocity @ cell.t() / cell.norm(dim=-1)
    score = density * (1.0 + ahead)
    best, index = score.max(dim=-1, keepdim=True)
    heading = _heading(position, velocity, 0.9)
    wanted = torch.where(best > 1e-3, cell[index[..., 0]], heading)
    return _act(_drive(0.4 * wanted, velocity, 0.1), card)


def approach(observation: Tensor, card: TaskCard) -> Tensor:
    """Dropout: to the goal, the more slowly the farther it is, as one arrival is enough and all effort costs."""
    o = observation
    way = o[..., 4:6]
    distance = way.norm(dim=-1, keepdim=True)
    speed = 0.4 * torch.exp(-2.3 * distance)
    return _act(_drive(way / distance.clamp(min=1e-6) * speed, o[..., 2:4], 0.1), card)


def dribble(observation: Tensor, card: TaskCard) -> Tensor:
    """Ball passage: get behind the ball and push it gently to a place below the gap.

    Through the gap the ball needs an aim that one agent cannot keep; every touch of the wall costs.
    """
    o, touching = observation, 0.0667
    velocity, own = o[..., 2:4], o[..., 6:8]  # own: from the ball
    way = own - o[..., 8:10] - o.new_tensor([0.0, 0.2])
    distance = way.norm(dim=-1, keepdim=True)
    ahead = way / distance.clamp(min=1e-6)
    left = torch.stack((-ahead[..., 1], ahead[..., 0]), dim=-1)
    side = torch.where((own * left).sum(-1, keepdim=True) >= 0, 1.0, -1.0)
    depth = -(own * ahead).sum(-1, keepdim=True)
    place = touching * (-0.85 * ahead + 0.53 * side * left)
    detour = torch.where(depth > 0.02, place, 0.13 * side * left - 0.08 * ahead)
    is_there = (own - place).norm(dim=-1, keepdim=True) < 0.03
    wanted = _CLOSING * (detour - own) + is_there * ahead * (0.2 * distance).clamp(max=0.06)
    wanted = wanted * (distance > 0.03)
    highest = _CLOSING * (-0.15 - o[..., 9:10])  # keeps off the wall
    wanted = torch.cat((wanted[..., :1], torch.minimum(wanted[..., 1:], highest)), dim=-1)
    return _act(_drive(wanted, velocity, 0.035), card)


def thread(observation: Tensor, card: TaskCard) -> Tensor:
    """Joint passage: through the gap, then to the nearer end of the goal pose."""
    o = observation
    gap, goal, along = -o[..., 6:8], -o[..., 4:6], 0.25 * o[..., 8:10]
    has_passed = gap[..., 1:] < -0.15
    lined_up = gap[..., :1].abs() < 0.03
    entry = gap + torch.where(lined_up, o.new_tensor([0.0, 0.3]), o.new_tensor([0.0, -0.2]))
    one, two = goal + along, goal - along
    end = torch.where(one.norm(dim=-1, keepdim=True) < two.norm(dim=-1, keepdim=True), one, two)
    return _act(_drive(_CLOSING * torch.where(has_passed, end, entry), o[..., 2:4], 0.08, keep=0.85), card)


def share_out(observation: Tensor, card: TaskCard) -> Tensor:
    """Dispersion, coordinated: agent i to food i, those beyond the last to the first ones again."""
    foods = int(card.constructor["n_food"])
    food = observation[..., 4:].unflatten(-1, (foods, 3))
    index = torch.arange(card.num_agents, device=food.device) % foods
    way = food[:, torch.arange(card.num_agents, device=food.device), index, :2]
    return _act(_drive(_CLOSING * way, observation[..., 2:4], 0.1), card)


def nearest_goes(observation: Tensor, card: TaskCard) -> Tensor:
    """Dropout, coordinated: the agent nearest to the goal goes, the others save their energy."""
    way = observation[..., 4:6]
    distance = way.norm(dim=-1, keepdim=True)
    index = torch.arange(card.num_agents, device=way.device)[:, None]
    goes = distance.argmin(dim=1, keepdim=True) == index
    force = _drive(0.4 * way / distance.clamp(min=1e-6), observation[..., 2:4], 0.1)
    return _act(force * goes, card)


SCRIPTS: dict[str, Script] = {
    f.__name__: f
    for f in (
        lift, push, push_from_inside, turn, nearest_food, wander, straight, go_home, climb, approach, dribble,
        thread, share_out, nearest_goes,
    )
}  # fmt: skip


# -- pieces ------------------------------------------------------------------------------------------------


def _drive(wanted: Tensor, velocity: Tensor, gain: float, keep: float = 0.75) -> Tensor:
    """The share of a full action, per axis, that makes the velocity what is wanted."""
    return (wanted - keep * velocity) / gain


def _act(share: Tensor, card: TaskCard) -> Tensor:
    """Shares of a full action per axis [B, N, 2] as actions of the task.

    VMAS numbers the discrete options 3 x + y, with 0, 1, 2 for none, minus and plus on an axis.
    """
    if card.action_kind == "continuous":
        return share.clamp(-1.0, 1.0) * card.action_high
    option = (share < -0.5) * 1 + (share > 0.5) * 2
    return 3 * option[..., 0] + option[..., 1]


def _heading(position: Tensor, velocity: Tensor, wall: float) -> Tensor:
    """Unit vector straight on [B, N, 2]; inwards at the walls; from rest, somewhere that the place decides."""
    angle = 20.0 * (position[..., 0] + 2.0 * position[..., 1])
    somewhere = torch.stack((angle.cos(), angle.sin()), dim=-1)
    speed = velocity.norm(dim=-1, keepdim=True)
    heading = torch.where(speed > 0.02, velocity / speed.clamp(min=1e-6), somewhere)
    return torch.where(position.abs() > wall, -torch.sign(position) * heading.abs().clamp(min=0.3), heading)
