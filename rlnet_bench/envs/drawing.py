"""Pictures of scenes: one small renderer for every family, without a display and without OpenGL.

Shapes are drawn four times larger than asked and averaged down (anti-aliasing by supersampling), with
integer arithmetic only, so that the same scene gives the same pixels everywhere.

    >>> from rlnet_bench.envs.contract import Scene, Shape
    >>> picture = draw(Scene((-1, -1, 1, 1), (Shape("circle", 0, 0, 0.5, colour=(200, 0, 0)),)), size=100)
    >>> picture.size, picture.getpixel((50, 50))
    ((100, 100), (200, 0, 0))
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from rlnet_bench.envs.contract import Scene, Shape

_SCALE = 4  # supersampling: each pixel is the mean of 4 x 4
_BACKGROUND, _FRAME, _INK = (255, 255, 255), (205, 205, 205), (60, 60, 60)
_MIN_SIZE = 16


class _View(NamedTuple):
    """World to supersampled pixels, y downwards."""

    left: float
    top: float
    zoom: float

    def point(self, x: float, y: float) -> tuple[float, float]:
        return (x - self.left) * self.zoom, (self.top - y) * self.zoom


def draw(scene: Scene, size: int = 480) -> Image.Image:
    """The picture of a scene, RGB.

    Args:
        scene: what to draw, back to front; what lies outside its bounds is cut off.
        size: pixels along the longer side of the world; a caption adds a strip below it.

    Raises:
        ValueError: size below 16, empty bounds, an unknown kind of shape, or a coordinate that is not finite.
    """
    return _render(scene, size, strip=bool(scene.caption))


def save_png(scene: Scene, path: str | Path, size: int = 480) -> Path:
    """Write :func:`draw`'s picture as PNG; the bytes depend on the scene alone."""
    path = Path(path)
    draw(scene, size).save(path, format="PNG")
    return path


def save_gif(scenes: Iterable[Scene], path: str | Path, fps: float = 10, size: int = 480) -> Path:
    """Write scenes as an endless GIF.

    Args:
        scenes: at least one; where their bounds differ, smaller pictures are padded with white.
        path: the file.
        fps: pictures per second, at most 50 (GIF counts in hundredths of a second).
        size: as in :func:`draw`.

    Raises:
        ValueError: no scenes, or fps outside (0, 50].
    """
    scenes, path = list(scenes), Path(path)
    if not scenes:
        raise ValueError("save_gif: expected at least one scene, found none")
    if not 0 < fps <= 50:
        raise ValueError(f"save_gif: expected fps in (0, 50], found {fps}")
    strip = any(scene.caption for scene in scenes)
    frames = [_render(scene, size, strip) for scene in scenes]
    width, height = (max(f.size[axis] for f in frames) for axis in (0, 1))
    # One palette for all frames: colours do not flicker and equal pixels stay equal.
    sheet = Image.new("RGB", (width, height * min(len(frames), 16)), _BACKGROUND)
    chosen = range(0, len(frames), max(1, len(frames) // 16))
    for row, k in enumerate(list(chosen)[:16]):
        sheet.paste(frames[k], (0, row * height))
    palette = sheet.quantize(colors=255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    first, *rest = (_pad(f, width, height).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames)
    duration = 10 * round(100 / fps)
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=duration, loop=0, disposal=1)
    return path


def _pad(picture: Image.Image, width: int, height: int) -> Image.Image:
    if picture.size == (width, height):
        return picture
    page = Image.new("RGB", (width, height), _BACKGROUND)
    page.paste(picture, ((width - picture.width) // 2, 0))
    return page


def _render(scene: Scene, size: int, strip: bool) -> Image.Image:
    if size < _MIN_SIZE:
        raise ValueError(f"size: expected at least {_MIN_SIZE} pixels, found {size}")
    x_min, y_min, x_max, y_max = scene.bounds
    extent = max(x_max - x_min, y_max - y_min)
    if not (x_min < x_max and y_min < y_max and math.isfinite(extent)):
        raise ValueError(f"bounds: expected (x_min, y_min, x_max, y_max), found {scene.bounds}")
    width, height = (max(1, round(size * side / extent)) for side in (x_max - x_min, y_max - y_min))
    stroke = max(1, round(size / 240)) * _SCALE
    page = Image.new("RGB", (width * _SCALE, height * _SCALE), _BACKGROUND)
    brush = ImageDraw.Draw(page)
    view = _View(x_min, y_max, size * _SCALE / extent)
    for shape in scene.shapes:
        _stamp(brush, view, shape, stroke)
    brush.rectangle((0, 0, page.width - 1, page.height - 1), outline=_FRAME, width=_SCALE)
    picture = page.reduce(_SCALE)
    return _captioned(picture, scene.caption, size) if strip else picture


def _stamp(brush: ImageDraw.ImageDraw, view: _View, shape: Shape, stroke: int) -> None:
    if not all(map(math.isfinite, (shape.x, shape.y, shape.size, shape.angle))):
        raise ValueError(f"{shape.kind}: expected finite numbers, found {shape}")
    x, y = view.point(shape.x, shape.y)
    half = shape.size * view.zoom / 2
    colour = shape.colour
    match shape.kind:
        case "circle":
            # A darker rim keeps overlapping discs of one colour apart.
            rim = max(_SCALE, min(stroke, round(half / 2)))
            brush.ellipse(_disc(x, y, 2 * half), fill=colour, outline=_darker(colour), width=rim)
        case "ring":
            brush.ellipse(_disc(x, y, 2 * half), outline=colour, width=stroke)
        case "rectangle":
            tall = float(shape.extra) if shape.extra is not None else shape.size
            brush.polygon(_corners(x, y, half, tall * view.zoom / 2, shape.angle), fill=colour)
        case "line":
            brush.polygon(_corners(x, y, half, stroke / 2, shape.angle), fill=colour)
        case "text":
            font = _font(max(_SCALE, round(2 * half)))
            brush.text((x, y), str(shape.extra if shape.extra is not None else ""), colour, font, anchor="mm")
        case _:
            kinds = "circle, rectangle, line, text, ring"
            raise ValueError(f"kind: expected one of {kinds}, found {shape.kind!r}")


def _disc(x: float, y: float, radius: float) -> tuple[int, int, int, int]:
    """The bounding box of a disc; Pillow counts its last pixel in."""
    left, top = round(x - radius), round(y - radius)
    return left, top, max(left, round(x + radius) - 1), max(top, round(y + radius) - 1)


def _corners(x: float, y: float, half: float, tall: float, angle: float) -> list[tuple[float, float]]:
    """Corners of a rectangle turned counter-clockwise (y points down here, hence the signs)."""
    cos, sin = math.cos(angle), math.sin(angle)
    offsets = ((-half, -tall), (half, -tall), (half, tall), (-half, tall))
    return [(x + u * cos + v * sin, y - u * sin + v * cos) for u, v in offsets]


def _darker(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    return tuple(part * 7 // 10 for part in colour)  # type: ignore[return-value]


def _captioned(picture: Image.Image, caption: str, size: int) -> Image.Image:
    strip = max(12, size // 18)
    page = Image.new("RGB", (picture.width, picture.height + strip), _BACKGROUND)
    page.paste(picture, (0, 0))
    text = Image.new("RGB", (page.width * _SCALE, strip * _SCALE), _BACKGROUND)
    place = (strip * _SCALE // 3, strip * _SCALE // 2)
    ImageDraw.Draw(text).text(place, caption, _INK, _font(strip * _SCALE * 6 // 10), anchor="lm")
    page.paste(text.reduce(_SCALE), (0, picture.height))
    return page


@cache
def _font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own built-in font: no font has to be installed."""
    return ImageFont.load_default(pixels)
