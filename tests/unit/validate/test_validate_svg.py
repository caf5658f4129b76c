"""The picture: well-formed whatever the figures, with round axes, gaps where nothing is known."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.validate.runs import plan_of, run_of
from wsnode.config.expectations import TestName
from wsnode.validate_criteria import judge
from wsnode.validate_picture import picture
from wsnode.validate_svg import Band, Chart, Line, Mark, Panel, Span, clock, draw, ticks, time_ticks

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("top", "found"),
    [
        (0, [0, 1]),
        (1, [0, 0.5, 1]),
        (3, [0, 1, 2, 3]),
        (75.5, [0, 20, 40, 60, 80]),
        (2_000, [0, 500, 1_000, 1_500, 2_000]),
        (10_001, [0, 5_000, 10_000, 15_000]),
    ],
)
def test_round_levels(top: float, found: list[float]) -> None:
    assert ticks(top) == found


@given(st.floats(1e-6, 1e12))
def test_levels_reach_the_top_and_are_few(top: float) -> None:
    found = ticks(top)
    assert found[0] == 0
    assert found[-1] >= top * (1 - 1e-6)
    assert 2 <= len(found) <= 6


@given(st.floats(0, 86_400))
def test_times_are_within_the_run_and_few(seconds: float) -> None:
    found = time_ticks(seconds)
    assert found[0] == 0
    assert found[-1] <= seconds
    assert len(found) <= 11


def test_clock() -> None:
    assert clock(90, 100) == "90 s"
    assert clock(90, 300) == "1:30"


@given(
    st.lists(st.none() | st.floats(0, 1e12), min_size=0, max_size=20),
    st.text(max_size=10),
    st.none() | st.tuples(st.floats(0, 1e9), st.none() | st.floats(0, 1e9)),
)
def test_any_figures_are_drawn_inside_the_picture(
    values: list[float | None], title: str, band: tuple[float, float | None] | None
) -> None:
    shown = None if band is None else Band(band[0], band[1] if band[1] is None else band[0] + band[1], title)
    panel = Panel(title, [Line(title, values, "#000"), Line("b", values, "#111", True)], title, shown)
    chart = Chart(title, [title], [float(n) for n in range(len(values))], [panel], [Span(0, 1, title)])
    root = ElementTree.fromstring(draw(chart))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    drawn = 0
    for polyline in root.iter(f"{SVG}polyline"):
        for point in polyline.attrib["points"].split():
            x, y = (float(number) for number in point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
            drawn += 1
    drawn += len(list(root.iter(f"{SVG}circle")))
    assert drawn == 2 * sum(value is not None for value in values)


def test_a_gap_breaks_the_line() -> None:
    line = Line("a", [1.0, 2.0, None, 3.0, 4.0, None, 5.0], "#000")
    svg = draw(Chart("t", [], [float(n) for n in range(7)], [Panel("p", [line])]))
    assert len(re.findall("<polyline", svg)) == 2
    assert len(re.findall("<circle", svg)) == 1


def test_a_far_limit_does_not_press_the_line_flat() -> None:
    line = Line("a", [1.0, 4.0], "#000")
    far = draw(Chart("t", [], [0.0, 1.0], [Panel("p", [line], marks=[Mark(75, "reject at 75 %")])]))
    near = draw(Chart("t", [], [0.0, 1.0], [Panel("p", [line], marks=[Mark(5, "reject at 5 %")])]))
    assert "reject at 75 %" not in texts(far)
    assert "reject at 5 %" in texts(near)


def test_the_picture_of_a_run() -> None:
    plan = plan_of(TestName.LIGHT)
    run = run_of(plan)
    shown = texts(picture(plan, run, judge(plan, run), "ws://node:3002/ws?a=1&b=2"))
    assert shown[:3] == [
        "light test, 2,000 connections: passed",
        "ws://node:3002/ws?a=1&b=2, node node-a",
        "WS_MAX_CONNECTIONS 10,000, WS_CPU_LIMIT 1.8, WS_MEMORY_LIMIT 1,792 MB;"
        " green: what the document expects",
    ]
    for text in (
        "Connections",
        "CPU, % of WS_CPU_LIMIT",
        "mean 5.0 %, peak 5.0 %",
        "expected 10-20 %",
        "Memory, MB",
        "expected 200-300 MB",
        "Goroutines",
        "expected about 4,500",
        "Messages to clients a second",
        "expected 2,000-4,000/s",
        "ramp",
    ):
        assert text in shown


@pytest.mark.parametrize("name", TestName)
def test_without_an_admin_port_it_shows_what_clients_see(name: TestName) -> None:
    plan = plan_of(name)
    run = run_of(plan, admin=False)
    shown = texts(picture(plan, run, judge(plan, run), "ws://node/ws"))
    assert "Connections" in shown
    assert "Memory, MB" not in shown


def test_a_run_without_a_sample_still_has_a_picture() -> None:
    plan = plan_of(TestName.LIGHT)
    run = dataclasses.replace(run_of(plan), samples=())
    assert "Connections" in texts(picture(plan, run, judge(plan, run), "ws://node/ws"))
