"""Outlines from clicks and boxes, by the network that comes with the repository, where the truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slmsam2.engine.boxes import clearest_slice, in_box
from slmsam2.engine.outlines import expected_overlap, outline
from slmsam2.metrics import dice
from slmsam2.prompts import Marks
from slmsam2.volume import Window

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
    flat, box = np.full(SHAPE, 0.5), (32, 22, 69, 59)
    assert dice(in_box(flat, box), disc(40, 50, 18.5)) > 0.97
    assert dice(outline(flat, marks(box=box)), disc(40, 50, 18.5)) > 0.85


def test_a_box_over_several_slices_begins_where_something_clear_fills_it():
    small, large = disc(40, 50, 7), ORGAN
    stack = np.stack([picture(large if index >= 7 else small) for index in range(13)])
    box = (32.0, 22.0, 69.0, 59.0)
    assert clearest_slice(stack, Window(0.0, 1.0), (1.0, 1.0), box, (1, 12)) >= 7
    assert clearest_slice(stack[:7], Window(0.0, 1.0), (1.0, 1.0), box, (3, 3)) == 3


def test_more_marks_promise_more():
    one, two = marks([(40, 50)]), marks([(40, 50)], [(70, 50)])
    boxed = marks(box=(32, 22, 69, 59))
    loosely = replace(boxed, loose=True)
    order = [loosely, one, two, boxed]
    expected = [expected_overlap(each, corrected=False) for each in order]
    assert expected == sorted(set(expected))
    assert expected_overlap(one, corrected=True) > expected_overlap(one, corrected=False)
    assert expected_overlap(marks([(n, 50) for n in range(30, 50)]), corrected=False) < 1


@pytest.mark.parametrize(
    "box", [(-9, -9, 200, 150), (127.2, 3, 140, 20), (50, 40, 50.4, 40.3), (200, 200, 220, 230)]
)
def test_boxes_that_reach_out_of_the_slice_or_hold_hardly_a_pixel(box):
    found = outline(picture(ORGAN), marks(box=box))
    assert found.shape == SHAPE
    assert not found.all()


def test_of_a_mask_to_correct_only_parts_that_a_mark_lies_in_change():
    other = disc(70, 110, 8)  # of which the image shows nothing
    found = outline(picture(ORGAN), marks([(40, 62)]), other | (ORGAN & (COLUMNS < 56)))
    assert (found >= other).all()
    assert dice(found & ~other, ORGAN) > 0.95


def test_a_box_is_drawn_around_everything_whatever_mask_there_was():
    half = ORGAN & (COLUMNS < 50)
    for before in (half, disc(70, 110, 8), np.zeros(SHAPE, bool)):
        assert dice(outline(picture(ORGAN), marks(box=(32, 22, 69, 59)), before), ORGAN) > 0.93


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("contrast", [0.0, 0.1, 0.5])
def test_the_smallest_box_says_that_there_is_something(side, contrast):
    grey = np.full((256, 256), 0.3)
    grey[100 : 100 + side, 60 : 60 + side] += contrast
    nothing = np.zeros(grey.shape, bool)
    found = outline(grey, Marks(nothing, nothing, (60.0, 100.0, 60.0 + side, 100.0 + side)))
    assert found.any()


def test_an_empty_mask_to_correct_is_none():
    nothing = np.zeros(SHAPE, bool)
    clicks = marks([(40, 50), (30, 50)])
    assert np.array_equal(outline(picture(ORGAN), clicks, nothing), outline(picture(ORGAN), clicks))


def test_a_click_gives_one_region():
    both = disc(25, 30, 10), disc(70, 100, 10)
    found = outline(picture(*both), marks([(25, 30)]))
    assert dice(found, both[0]) > 0.9
    assert not found[both[1]].any()


def test_a_click_on_an_image_without_edges_stays_small():
    assert 0 < outline(np.full(SHAPE, 0.5), marks([(40, 50)])).mean() < 0.1


def test_a_click_outside_keeps_a_neighbour_out():
    bridged = ORGAN | disc(40, 86, 18) | ((abs(ROWS - 40) < 3) & (COLUMNS > 50) & (COLUMNS < 86))
    found = outline(picture(bridged), marks([(40, 50)], [(40, 86)]))
    assert dice(found, ORGAN) > 0.85


def test_corrections_change_their_neighbourhood_only():
    prior = ORGAN | disc(40, 74, 9)
    found = outline(picture(ORGAN), marks(outside=[(40, 74)]), prior)
    assert found[disc(40, 76, 6)].mean() < 0.1
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
