"""What a person reads, at the end and on the way, and what a program reads."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import pytest

from tests.unit.validate.runs import plan_of, run_of
from wsnode.config.expectations import MIB, Range, TestName
from wsnode.validate_criteria import judge
from wsnode.validate_progress import done_share, progress_for, progress_text
from wsnode.validate_report import json_report, range_text, text_report, value_text

REPORT = """\
light test, 2,000 connections, ws://node:3002/ws (node node-a)
passes when: stable for 5 minutes, no errors

  pass  clients stay connected  2,000 of 2,000 all through 8 s
  pass  node stable             no restart, ready and answering all the time
  pass  messages arrive         4,000 a second; published were as many as for 4,000
  pass  no errors               40,000 messages came, each checked by its seq and prev
  pass  no connection refused   2,000 opened

FIGURE      MEASURED            EXPECTED              VERDICT
CPU         5.0 % (peak 5.0 %)  10-20 %               better than expected: this node needs 2.0 times less \
than the least that the document expects
memory      50 MB               200-300 MB (11-17 %)  better than expected: this node needs 4.0 times less \
than the least that the document expects
goroutines  4,262               about 4,500           pass
messages    4,000/s             2,000-4,000/s         pass

clients: 2,000 opened, 0 of them reconnects; 40,000 messages, 0 MB
latency: p50 1 ms, p99 2.5 ms, max 3 ms
note: held for 8 s; the document asks for 300 s
note: memory before the run: 50 MB (the node's cgroup; without one of its own, all that shares it)

This node needs less than the document expects: CPU, memory.
Verdict: PASSED"""


def test_the_report_of_a_quiet_run() -> None:
    plan = plan_of(TestName.LIGHT, duration_seconds=8.0)
    run = run_of(plan, latency_ms={"p50": 1.0, "p99": 2.5, "p99.9": 2.9, "max": 3.0, "count": 9})
    assert text_report(plan, run, judge(plan, run), "ws://node:3002/ws") == REPORT


def test_a_failure_is_the_last_word() -> None:
    plan = plan_of(TestName.LIGHT)
    run = run_of(plan, lost=3)
    text = text_report(plan, run, judge(plan, run), "ws://node:3002/ws")
    assert "  fail  no errors               3 gaps\n" in text
    assert text.endswith("\nVerdict: FAILED")


@pytest.mark.parametrize("admin", [True, False])
@pytest.mark.parametrize("name", TestName)
def test_json_has_all_of_it(name: TestName, admin: bool) -> None:
    plan = plan_of(name)
    run = run_of(plan, admin=admin)
    body = json.loads(json.dumps(json_report(plan, run, judge(plan, run), "ws://node/ws"), allow_nan=False))
    assert body["test"] == name
    assert body["passed"] is (name is not TestName.OVERLOAD)
    assert body["plan"]["connections"] == plan.test.connections
    assert len(body["samples"]) == 11
    assert (body["samples"][-1]["node"] is not None) is admin
    assert {row["name"] for row in body["ranges"]} >= {"CPU"}


@pytest.mark.parametrize(
    ("expected", "unit", "text"),
    [
        (Range(10, 20), "%", "10-20 %"),
        (Range(75, None), "%", "75+ %"),
        (Range(1_000 * MIB, 1_200 * MIB), "bytes", "1,000-1,200 MB"),
        (Range(20_000, 40_000), "msg/s", "20,000-40,000/s"),
        (Range(1.8, 2.2), "%", "2 %"),
    ],
)
def test_ranges_read_as_in_the_document(expected: Range, unit: str, text: str) -> None:
    assert range_text(expected, unit) == text


def test_values_have_their_unit() -> None:
    assert value_text(None, "%") == "-"
    assert value_text(3.14, "%") == "3.1 %"
    assert value_text(4_262.0, "") == "4,262"


def test_progress_in_one_line() -> None:
    plan = plan_of(TestName.LIGHT)
    assert progress_text(plan, run_of(plan)) == (
        "   10 s  hold  2,000/2,000 open  CPU 5.0 %  50 MB  4,262 goroutines  4,000 msg/s"
    )
    silent = run_of(plan, change=lambda second, node: None)
    assert progress_text(plan, silent) == (
        "   10 s  hold  2,000/2,000 open  the admin port does not answer  4,000 msg/s"
    )


def test_lines_come_every_few_seconds_and_at_each_new_phase() -> None:
    plan = plan_of(TestName.LIGHT)
    run = run_of(plan, seconds=12)
    stream = io.StringIO()
    progress = progress_for(plan, stream)
    for number in range(1, len(run.samples) + 1):
        progress.show(dataclasses.replace(run, samples=run.samples[:number]))
    progress.end()
    shown = [line.split(" s  ")[0].strip() for line in stream.getvalue().splitlines()]
    assert shown == ["0", "2", "7", "12"]


def test_the_bar_grows_to_the_end() -> None:
    plan = plan_of(TestName.LIGHT, duration_seconds=8.0, ramp_per_second=1_000.0)
    run = run_of(plan, seconds=10)
    shares = [done_share(plan, sample, 2.0 if sample.phase == "hold" else None) for sample in run.samples]
    assert shares == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    plan = plan_of(TestName.LIGHT, duration_seconds=8.0, ramp_per_second=1_000.0)
    run = run_of(plan, seconds=10)
    terminal = _Terminal()
    progress = progress_for(plan, terminal)
    for number in range(1, len(run.samples) + 1):
        progress.show(dataclasses.replace(run, samples=run.samples[:number]))
    progress.end()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    last = [line for line in re.split(r"[\r\n]", shown) if line.strip()][-1]
    assert "100 %    10 s  hold  2,000/2,000 open  CPU 5.0 %" in last
    assert len(last) <= 80
