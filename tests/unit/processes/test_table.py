"""The shared memory: rows, counts by address, and the last places under real contention."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter

import pytest

from wsnode.config import Settings
from wsnode.processes.member import Member
from wsnode.processes.table import Table, make_table

PARENT = 4711


@pytest.fixture
def table() -> Table:
    return make_table(3, 10)


class Soon:
    """Takes what is to be called later."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def __call__(self, function: object) -> None:
        self.calls.append(function)

    def run(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()  # type: ignore[operator]


def member(table: Table, row: int, soon: Soon | None = None) -> Member:
    return Member(table, row, PARENT, soon or Soon())


def test_each_sees_the_others_and_not_itself(table: Table) -> None:
    table.enter(0, PARENT)
    members = [member(table, row) for row in (1, 2, 3)]
    assert [one.open_elsewhere() for one in members] == [0, 0, 0]
    for own, one in enumerate(members, 5):
        one.publish(own)
    assert [one.open_elsewhere() for one in members] == [13, 12, 11]
    assert table.open_but(0) == 18
    table.set_tasks(0, 40)
    for own, one in enumerate(members, 5):
        one.publish_tasks(10 * own)
    assert [one.tasks_elsewhere() for one in members] == [170, 160, 150]
    assert [table.open_of(row) for row in range(4)] == [0, 5, 6, 7]
    assert table.pids() == [PARENT, os.getpid(), os.getpid(), os.getpid()]
    assert (members[0].root, members[0].pids()[0]) == (PARENT, PARENT)
    table.beat(2)
    table.beat(2)
    assert [table.beats(row) for row in (1, 2, 3)] == [0, 2, 0]
    table.clear(2)
    assert (table.open_but(0), table.beats(2), len(table.pids())) == (12, 0, 3)
    assert members[0].tasks_elsewhere() == 110


def test_another_process_reads_what_is_written(table: Table) -> None:
    table.enter(0, os.getpid())
    code = (
        "import sys\n"
        "from wsnode.processes.table import Table\n"
        "table = Table(int(sys.argv[1]))\n"
        "table.set_open(2, table.pids()[0])\n"
        "table.set_address(2, table.address_key('10.0.0.1'), 7)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(table.fd)], pass_fds=[table.fd], check=True, timeout=60)
    assert table.open_but(1) == os.getpid()
    assert member(table, 1).open_from("10.0.0.1") == 7


def test_addresses_are_counted_over_all(table: Table) -> None:
    one, two, three = (member(table, row) for row in (1, 2, 3))
    one.publish_address("10.0.0.1", 2)
    two.publish_address("10.0.0.1", 3)
    two.publish_address("::1", 4)
    assert [who.open_from("10.0.0.1") for who in (one, two, three)] == [3, 2, 5]
    assert [who.open_from("::1") for who in (one, two, three)] == [4, 0, 4]
    assert one.open_from(None) == 0
    table.clear(2)
    assert [who.open_from("10.0.0.1") for who in (one, three)] == [0, 2]
    assert one.open_from("::1") == 0


def test_a_place_that_was_not_taken_is_given_back(table: Table) -> None:
    soon = Soon()
    one, two = member(table, 1, soon), member(table, 2)
    one.claim(1, "10.0.0.1", 1)
    assert (two.open_elsewhere(), two.open_from("10.0.0.1")) == (1, 1)
    soon.run()
    assert (two.open_elsewhere(), two.open_from("10.0.0.1")) == (0, 0)
    one.claim(1, "10.0.0.1", 1)
    one.entered()
    soon.run()
    assert (two.open_elsewhere(), two.open_from("10.0.0.1")) == (1, 1)
    one.claim(2, "10.0.0.1", 2)  # no client either, and the next one comes before the loop turns
    one.claim(2, "10.0.0.2", 1)
    one.entered()
    assert [two.open_from(f"10.0.0.{last}") for last in (1, 2)] == [1, 1]
    assert two.open_elsewhere() == 2


def test_many_addresses_come_and_go_and_all_counts_stay_right() -> None:
    seed = int(os.environ.get("TEST_SEED", time.time_ns() % 1_000_000))
    print(f"TEST_SEED={seed}")
    source = random.Random(seed)
    table = make_table(2, 10)
    one, two = member(table, 1), member(table, 2)
    truth: Counter[str] = Counter()
    for step in range(30_000):
        if len(truth) > 300 or (truth and source.random() < 0.45):
            address = source.choice(list(truth)) if step % 50 == 0 else next(iter(truth))
            truth[address] -= 1
            one.publish_address(address, truth[address])
            if not truth[address]:
                del truth[address]
        else:
            address = f"10.{source.randrange(256)}.{source.randrange(256)}.{source.randrange(4)}"
            truth[address] += 1
            one.claim(sum(truth.values()), address, truth[address])
            one.entered()
        assert two.open_from(address) == truth[address]
    assert {address: two.open_from(address) for address in truth} == truth


def test_more_addresses_than_there_is_room_for_are_let_go_and_nothing_else() -> None:
    table = make_table(2, 10)
    one, two = member(table, 1), member(table, 2)
    for number in range(2 * table.capacity):
        one.publish_address(f"10.0.{number}", 1)
    seen = sum(two.open_from(f"10.0.{number}") for number in range(2 * table.capacity))
    assert table.capacity // 2 <= seen < table.capacity
    assert two.open_from("10.0.0") == 1


def test_rates_go_by_clients_and_budgets_are_cut_evenly(table: Table) -> None:
    settings = Settings(max_broadcast_rate=1000, client_buffer_total_bytes=3_000_000)
    one, two = member(table, 1), member(table, 2)
    first = one.share(settings, 0)
    assert first.client_buffer_total_bytes == 1_000_000
    assert first.max_broadcast_rate == pytest.approx(1000 / 3)
    one.publish(299)
    two.publish(98)
    shared = one.share(settings, 299)
    assert shared.max_broadcast_rate == pytest.approx(750)
    assert two.share(settings, 98).max_broadcast_rate == pytest.approx(247.5)
    assert one.share(settings, 300) is shared  # hardly moved
    other = Settings(max_broadcast_rate=0)
    assert one.share(other, 299).max_broadcast_rate == 0
    small = Settings(client_buffer_total_bytes=150_000)
    assert one.share(small, 1).client_buffer_total_bytes == small.client_buffer_bytes


CONTENDER = """
import random, sys
from wsnode.config import Settings
from wsnode.processes.member import Member
from wsnode.processes.table import Table

fd, row, seed = (int(word) for word in sys.argv[1:])
source = random.Random(seed)
table = Table(fd)
member = Member(table, row, 1, lambda function: None)
settings = Settings(max_connections=200)
own = full = 0
for _ in range(30_000):
    if own and source.random() < 0.45:
        own -= 1
        member.publish(own)
        continue
    with member.door(settings, own):
        if own + member.open_elsewhere() >= settings.max_connections:
            full += 1
            continue
        own += 1
        member.claim(own, None, 0)
        member.entered()
    # Once, one place can be seen before it was left and again after it was taken.
    if all(own + member.open_elsewhere() > settings.max_connections for _ in range(6)):
        sys.exit(f"{own} and {member.open_elsewhere()} are too many")
print(own, full)
"""


def test_no_two_take_the_last_place() -> None:
    seed = int(os.environ.get("TEST_SEED", time.time_ns() % 1_000_000))
    print(f"TEST_SEED={seed}")
    table = make_table(4, 10)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER, str(table.fd), str(row), str(seed + row)],
            pass_fds=[table.fd],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for row in (1, 2, 3, 4)
    ]
    results = [process.communicate(timeout=120) for process in running]
    assert [errors for _, errors in results] == [""] * 4
    owns, fulls = zip(*((int(word) for word in output.split()) for output, _ in results), strict=True)
    assert sum(owns) == table.open_but(0)
    assert sum(owns) <= 200
    assert sum(fulls) > 100  # they did meet at the limit
