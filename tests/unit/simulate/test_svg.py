"""The picture: round levels, and curves that show every change."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from wsfleet.simulate.svg import Area, Curve, Panel, draw, levels


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (0, [0, 1]),
        (3, [0, 1, 2, 3]),
        (37, [0, 10, 20, 30, 40]),
        (200_000, [0, 50_000, 100_000, 150_000, 200_000]),
    ],
)
def test_levels_are_round_and_reach_the_highest_figure(most: float, expected: list[float]) -> None:
    assert levels(most) == expected


def points_of(text: str) -> list[tuple[float, float]]:
    (found,) = re.findall(r'<polyline [^>]*points="([^"]*)"', text)
    return [(float(x), float(y)) for x, y in (one.split(",") for one in found.split())]


def test_a_level_stretch_keeps_its_ends() -> None:
    curve = Curve("nodes", [0, 10, 20, 30, 40], [2, 2, 2, 2, 4], "#000")
    drawn = points_of(draw("t", "s", 40, [Panel("p", [curve])]))
    assert len(drawn) == 3
    assert drawn[0][1] == drawn[1][1] > drawn[2][1]
    assert drawn[2] == (936.0, drawn[2][1])


def test_a_stepped_curve_stays_until_it_changes_and_to_the_end() -> None:
    curve = Curve("nodes", [0, 10], [1, 2], "#000", stepped=True)
    drawn = points_of(draw("t", "s", 20, [Panel("p", [curve])]))
    assert [round(x) for x, _ in drawn] == [76, 506, 506, 936]
    assert drawn[0][1] == drawn[1][1] > drawn[2][1] == drawn[3][1]


def test_names_are_escaped() -> None:
    area = Area([0, 1], [0, 0], [1, 1], "#000")
    text = draw("<a & b>", "s", 1, [Panel("p", [Curve("c", [0, 1], [0, 1], "#000")], [area])])
    title = ElementTree.fromstring(text).find("{*}title")
    assert title is not None
    assert title.text == "<a & b>"
