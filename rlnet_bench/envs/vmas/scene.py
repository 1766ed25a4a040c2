"""Pictures of VMAS worlds from their entities, without the package's renderer (which needs OpenGL)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from rlnet_bench.envs.contract import Scene, Shape

_EDGE = (64, 64, 64)


def draw(env: Any, index: int) -> Scene:
    """Landmarks, agents and walls of environment ``index``, back to front."""
    scenario, world = env.scenario, env.world
    shapes: list[Shape] = list(_ranges(scenario, index))
    for entity in world.entities:
        if bool(entity.is_rendering[index]):
            shapes.append(_shape(entity, index))
    bounds = _bounds(scenario, world, index)
    if scenario.visualize_semidims:
        shapes += _walls(world, bounds)
    return Scene(bounds, tuple(shapes), f"step {int(env.steps[index])}")


def _shape(entity: Any, index: int) -> Shape:
    x, y = (float(v) for v in entity.state.pos[index, :2])
    angle = float(entity.state.rot[index, 0])
    alpha = getattr(entity, "_alpha", 1.0)
    colour = _colour(entity.color, index, alpha)
    shape = entity.shape
    if hasattr(shape, "radius"):
        return Shape("circle", x, y, float(shape.radius), angle, colour)
    if type(shape).__name__ == "Line":
        return Shape("line", x, y, float(shape.length), angle, colour)
    return Shape("rectangle", x, y, float(shape.length), angle, colour, float(shape.width))


def _colour(colour: Any, index: int, alpha: float = 1.0) -> tuple[int, int, int]:
    """An (r, g, b) in 0..255 from VMAS's floats, mixed with the white of the page."""
    if isinstance(colour, Tensor):
        colour = (colour[index] if colour.dim() > 1 else colour).tolist()
    red, green, blue = (round(255 * (1 - alpha + alpha * min(max(float(c), 0.0), 1.0))) for c in colour[:3])
    return red, green, blue


def _bounds(scenario: Any, world: Any, index: int) -> tuple[float, float, float, float]:
    """The scenario's view, widened until all agents are in it."""
    width, height = scenario.viewer_size
    zoom, (centre_x, centre_y) = float(scenario.viewer_zoom), map(float, scenario.render_origin)
    half_x, half_y = (zoom, zoom * height / width) if height > width else (zoom * width / height, zoom)
    scale = zoom
    margin = 2 * max(float(agent.shape.circumscribed_radius()) for agent in world.agents)
    for agent in world.agents:
        x, y = (float(v) for v in agent.state.pos[index, :2])
        scale = max(scale, (abs(x - centre_x) + margin) / half_x, (abs(y - centre_y) + margin) / half_y)
    return (
        centre_x - scale * half_x, centre_y - scale * half_y, centre_x + scale * half_x, centre_y + scale * half_y
    )  # fmt: skip


def _walls(world: Any, bounds: tuple[float, float, float, float]) -> Iterator[Shape]:
    """The edges of a limited world."""
    x, y = world.x_semidim, world.y_semidim
    width = 2 * float(x) if x is not None else 2 * max(abs(bounds[0]), abs(bounds[2]))
    height = 2 * float(y) if y is not None else 2 * max(abs(bounds[1]), abs(bounds[3]))
    if y is not None:
        yield Shape("line", 0.0, float(y), width, 0.0, _EDGE)
        yield Shape("line", 0.0, -float(y), width, 0.0, _EDGE)
    if x is not None:
        yield Shape("line", float(x), 0.0, height, 1.5707963267948966, _EDGE)
        yield Shape("line", -float(x), 0.0, height, 1.5707963267948966, _EDGE)


def _ranges(scenario: Any, index: int) -> Iterator[Shape]:
    """Circles around targets that agents must come within (discovery)."""
    radius = getattr(scenario, "_covering_range", None)
    if isinstance(radius, float):
        for target in getattr(scenario, "_targets", ()):
            x, y = (float(v) for v in target.state.pos[index, :2])
            yield Shape("ring", x, y, radius, 0.0, _colour(target.color, index))
