"""The renderer, checked by its pixels."""

import doctest
import math

import numpy as np
import pytest
import torch
from PIL import Image

from rlnet_bench import rng
from rlnet_bench.envs import drawing
from rlnet_bench.envs.contract import Scene, Shape
from rlnet_bench.envs.drawing import draw, save_gif, save_png
from rlnet_bench.envs.registry import make_env

torch.set_num_threads(1)

RED, BLUE, WHITE = (200, 30, 30), (30, 30, 200), (255, 255, 255)
BOX = (-1.0, -1.0, 1.0, 1.0)


def pixels(*shapes, size=100, bounds=BOX, caption=""):
    return np.asarray(draw(Scene(bounds, shapes, caption), size)).astype(int)


def covered(picture):
    """Area of what is not white inside the frame, in pixels."""
    inside = picture[1:-1, 1:-1]
    return float((255 - inside.min(axis=-1)).sum()) / (255 - 30)


def test_circle_is_where_and_as_large_as_it_says():
    picture = pixels(Shape("circle", 0.5, 0.5, 0.2, colour=RED), size=200)
    assert tuple(picture[50, 150]) == RED  # y points up in the world and down in the picture
    assert tuple(picture[150, 50]) == WHITE
    assert covered(picture) == pytest.approx(math.pi * 20**2, rel=0.08)  # the rim is darker than the disc


def test_circle_is_symmetric_and_its_edge_is_anti_aliased():
    picture = pixels(Shape("circle", 0.0, 0.0, 0.53, colour=RED))
    assert np.array_equal(picture, picture[::-1]) and np.array_equal(picture, picture[:, ::-1])
    assert len(np.unique(picture[1:-1, 1:-1].reshape(-1, 3), axis=0)) > 6


def test_rectangle_has_width_and_height_and_turns_counter_clockwise():
    flat = pixels(Shape("rectangle", 0.0, 0.0, 1.0, colour=BLUE, extra=0.2))
    assert tuple(flat[50, 30]) == BLUE and tuple(flat[30, 50]) == WHITE
    assert covered(flat) == pytest.approx(50 * 10, rel=0.06)
    up = pixels(Shape("rectangle", 0.0, 0.0, 1.0, angle=math.pi / 2, colour=BLUE, extra=0.2))
    assert tuple(up[30, 50]) == BLUE and tuple(up[50, 30]) == WHITE
    slanted = pixels(Shape("rectangle", 0.0, 0.0, 1.2, angle=math.pi / 4, colour=BLUE, extra=0.1))
    assert tuple(slanted[35, 65]) == BLUE and tuple(slanted[65, 65]) == WHITE  # rises to the right


def test_square_where_no_height_is_given():
    assert covered(pixels(Shape("rectangle", 0.0, 0.0, 0.4, colour=BLUE))) == pytest.approx(20 * 20, rel=0.1)


def test_line_is_thin_and_centred():
    picture = pixels(Shape("line", 0.0, 0.5, 1.0, colour=RED), size=240)
    assert (picture[60, 70:170] != 255).any(axis=-1).all()
    assert tuple(picture[60, 50]) == WHITE and tuple(picture[66, 120]) == WHITE


def test_ring_is_hollow():
    picture = pixels(Shape("ring", 0.0, 0.0, 0.5, colour=RED), size=240)
    assert tuple(picture[120, 120]) == WHITE
    assert (picture[120, 58:64] != 255).any()


def test_text_is_centred_and_grows_with_its_size():
    small = pixels(Shape("text", 0.0, 0.0, 0.3, colour=RED, extra="H"), size=200)
    large = pixels(Shape("text", 0.0, 0.0, 0.9, colour=RED, extra="H"), size=200)
    assert covered(large) > 5 * covered(small) > 0
    rows, columns = np.nonzero((large[1:-1, 1:-1] != 255).any(axis=-1))
    assert abs(columns.mean() - 99) < 4 and abs(rows.mean() - 99) < 12


def test_later_shapes_cover_earlier_ones():
    below, above = Shape("circle", 0, 0, 0.5, colour=RED), Shape("rectangle", 0, 0, 0.4, colour=BLUE)
    assert tuple(pixels(below, above)[50, 50]) == BLUE
    assert tuple(pixels(above, below)[50, 50]) == RED


def test_longer_side_has_the_asked_size_and_captions_add_a_strip():
    assert draw(Scene((0, 0, 4, 1), ()), 200).size == (200, 50)
    assert draw(Scene((0, 0, 1, 4), ()), 200).size == (50, 200)
    plain, captioned = (draw(Scene(BOX, (), c), 180) for c in ("", "step 3"))
    assert plain.size == (180, 180) and captioned.size == (180, 192)
    assert (np.asarray(captioned)[180:] < 128).any()
    assert np.array_equal(np.asarray(captioned)[:180], np.asarray(plain))


def test_what_lies_outside_is_cut_off():
    assert covered(pixels(Shape("circle", 5.0, 5.0, 1.0, colour=RED))) == 0


@pytest.mark.parametrize(
    ("scene", "size", "message"),
    [
        (Scene(BOX, ()), 8, "size: expected at least 16"),
        (Scene((1.0, 0.0, 1.0, 2.0), ()), 100, "bounds: expected"),
        (Scene(BOX, (Shape("star", 0, 0, 1),)), 100, "kind: expected one of circle, .* found 'star'"),
        (Scene(BOX, (Shape("circle", math.nan, 0, 1),)), 100, "circle: expected finite numbers"),
    ],
)
def test_bad_scenes_are_refused(scene, size, message):
    with pytest.raises(ValueError, match=message):
        draw(scene, size)


def film(steps=5):
    return [Scene(BOX, (Shape("circle", k / steps, 0.0, 0.2, colour=RED),), f"step {k}") for k in range(steps)]


def test_files_depend_on_the_scenes_alone(tmp_path):
    for name, save in (("a.png", lambda p: save_png(film()[1], p)), ("a.gif", lambda p: save_gif(film(), p))):
        first, second = (save(tmp_path / f"{k}{name}").read_bytes() for k in "xy")
        assert first == second


def test_png_is_the_drawn_picture(tmp_path):
    with Image.open(save_png(film()[0], tmp_path / "a.png", size=64)) as image:
        assert np.array_equal(np.asarray(image), np.asarray(draw(film()[0], 64)))


def test_gif_shows_every_scene_at_its_speed(tmp_path):
    with Image.open(save_gif(film(), tmp_path / "a.gif", fps=5, size=100)) as image:
        assert image.n_frames == 5 and image.info["duration"] == 200 and image.info["loop"] == 0
        image.seek(4)
        shown = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(shown - np.asarray(draw(film()[4], 100))).max() <= 24  # the palette rounds


def test_gif_pads_pictures_of_unequal_size(tmp_path):
    scenes = [Scene(BOX, ()), Scene((-1, -1, 1, 0), (), "half")]
    with Image.open(save_gif(scenes, tmp_path / "a.gif", size=90)) as image:
        assert image.size == (90, 102)


def test_gif_refuses_nothing_and_impossible_speeds(tmp_path):
    with pytest.raises(ValueError, match="at least one scene"):
        save_gif([], tmp_path / "a.gif")
    with pytest.raises(ValueError, match="found 60"):
        save_gif(film(), tmp_path / "a.gif", fps=60)


@pytest.mark.parametrize("task", ["mpe/simple_spread-discrete-v1", "lbf/8x8-2p-2f-coop-v1"])
def test_scenes_of_our_families_can_be_drawn(task):
    env = make_env(task, 2)
    env.reset(rng.env_keys([0], rng.Stream.USER, 2))
    first, second = (np.asarray(draw(env.scene(i), 120)) for i in range(2))
    assert first.shape == second.shape and not np.array_equal(first, second)


def test_documented_example_runs():
    assert doctest.testmod(drawing).failed == 0
