"""Outlines from clicks and boxes, on images of which the truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slmsam2.engine.outlines import outline
from slmsam2.metrics import dice
from slmsam2.prompts import Marks

SHAPE = (96, 128)
ROWS, COLUMNS = np.indices(SHAPE)


def disc(row, column, radius):
    return np.hypot(ROWS - row, COLUMNS - column) < radius


def picture(*masks, noise=0.02):
    grey = np.full(SHAPE, 0.3)
    for mask in masks:
        grey[mask] = 0.55
    return np.clip(grey + noise * np.random.default_rng(0).standard_normal(SHAPE), 0, 1)


def marks(inside=(), outside=(), box=None):
    layers = np.zeros((2, *SHAPE), bool)
    for layer, pixels in zip(layers, (inside, outside), strict=True):
        for pixel in pixels:
            layer[pixel] = True
    return Marks(*layers, box)


ORGAN = disc(40, 50, 18)


def test_one_click_takes_what_is_alike_up_to_its_edge():
    assert dice(outline(picture(ORGAN), marks([(40, 50)])), ORGAN) > 0.93


def test_a_box_finds_what_fits_into_it_and_nothing_else():
    both = picture(ORGAN, disc(40, 90, 18))
    assert dice(outline(both, marks(box=(32, 22, 69, 59))), ORGAN) > 0.93


def test_a_box_on_an_image_without_edges_is_its_ellipse():
    found = outline(np.full(SHAPE, 0.5), marks(box=(32, 22, 69, 59)))
    assert dice(found, disc(40, 50, 18.5)) > 0.95


def test_a_click_on_an_image_without_edges_stays_small():
    assert 0 < outline(np.full(SHAPE, 0.5), marks([(40, 50)])).mean() < 0.1


def test_a_click_outside_keeps_a_neighbour_out():
    bridged = ORGAN | disc(40, 86, 18) | ((abs(ROWS - 40) < 3) & (COLUMNS > 50) & (COLUMNS < 86))
    found = outline(picture(bridged), marks([(40, 50)], [(40, 86)]))
    assert dice(found, ORGAN) > 0.85


def test_corrections_change_their_neighbourhood_only():
    prior = ORGAN | disc(40, 74, 9)
    found = outline(picture(ORGAN), marks(outside=[(40, 74)]), prior)
    assert not found[disc(40, 74, 5)].any()
    assert dice(found, ORGAN) > dice(prior, ORGAN) + 0.05
    assert np.array_equal(found[COLUMNS < 50], prior[COLUMNS < 50])


def test_a_click_inside_adds_what_was_missed():
    prior = ORGAN & (COLUMNS < 56)
    found = outline(picture(ORGAN), marks([(40, 62)]), prior)
    assert dice(found, ORGAN) > dice(prior, ORGAN) + 0.05
    assert (found >= prior).all()


pixels = st.lists(st.tuples(st.integers(0, 95), st.integers(0, 127)), max_size=4)


@settings(max_examples=25, deadline=None)
@given(inside=pixels, outside=pixels, prior=st.booleans(), seed=st.integers(0, 3))
def test_what_was_marked_holds(inside, outside, prior, seed):
    outside = [pixel for pixel in outside if pixel not in inside]
    grey = np.random.default_rng(seed).random(SHAPE) if seed else picture(ORGAN)
    found = outline(grey, marks(inside, outside), ORGAN if prior else None)
    assert found.shape == SHAPE
    assert all(found[pixel] for pixel in inside)
    assert not any(found[pixel] for pixel in outside)


@pytest.mark.parametrize("size", [(40, 256), (200, 64)])
def test_marks_on_another_grid(size):
    moved = marks([(95, 127), (0, 0)], [(48, 64)], (32, 24, 64, 48)).resized(size)
    assert moved.inside[-1, -1] or moved.inside[size[0] - 3 :, size[1] - 3 :].any()
    assert moved.inside[0, 0] or moved.inside[:3, :3].any()
    assert moved.inside.sum() == 2
    assert moved.outside.sum() == 1
    assert moved.box == (size[1] / 4, size[0] / 4, size[1] / 2, size[0] / 2)
