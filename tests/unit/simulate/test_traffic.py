"""Traces: what is read from a file, and what is said of one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsfleet.simulate.traffic import Point, Trace, TraceError, read_trace


def written(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text, "utf-8")
    return path


def test_figures_run_in_straight_lines_between_points() -> None:
    trace = Trace((Point(0, 100, 1), Point(10, 200, 3)))
    assert trace.at(5) == Point(5, 150, 2)
    assert trace.at(-1) == Point(0, 100, 1)
    assert trace.at(99) == Point(10, 200, 3)


def test_a_file_with_names_remarks_and_empty_lines(tmp_path: Path) -> None:
    text = "time,connections,rate\n# a remark\n\n0,100,2\n60,300\n"
    assert read_trace(written(tmp_path, text), 1.5).points == (Point(0, 100, 2), Point(60, 300, 1.5))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,100\nten,200\n", "line 2: time 'ten' must be a number from 0 to 2,678,400"),
        ("0,100\n60,-1\n", "line 2: connections '-1' must be a number from 0 to 10,000,000"),
        ("0,100\n60,nan\n", "line 2: connections 'nan' must be"),
        ("0,100\n60,100\n60,200\n", "line 3: time 60 must be above 60, the time of the line before"),
        ("5,100\n60,100\n", "line 1: time 5 must be 0 in the first line"),
        ("time,connections\n0,100\n60\n", "line 3: 1 columns; must be time,connections"),
        ("0,100,1,2\n60,1\n", "line 1: 4 columns; must be time,connections"),
        ("0,100,1e9\n60,1\n", "line 1: rate '1e9' must be a number from 0 to 100,000"),
        ("0,100\n", "1 lines of figures; a trace needs at least 2"),
        ("", "0 lines of figures"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(TraceError) as caught:
        read_trace(written(tmp_path, text))
    assert expected in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"0,\xff\xfe\n")
    with pytest.raises(TraceError, match="not text in UTF-8"):
        read_trace(path)
