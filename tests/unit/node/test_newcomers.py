"""Who has not finished its handshake counts by its address, and the address with the most gives way."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsnode.link import Link
from wsnode.newcomers import Newcomers, counted_address


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fd00::1", "fd00::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::1%eth0"),  # on a link of their own all have the same upper half
        ("febf::1", "febf::1"),
        ("fec0::1", "fec0::/64"),
    ],
)
def test_what_counts_as_one_address(host: str, counted: str) -> None:
    assert counted_address(host) == counted


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.integers(0, 99)), max_size=60))
def test_the_most_and_the_oldest_of_them(steps: list[tuple[int, str, int]]) -> None:
    newcomers = Newcomers()
    known: dict[str, list[Link]] = defaultdict(list)
    gone: list[Link] = []
    for number, (what, address, which) in enumerate(steps):
        if what or not known[address]:
            known[address].append(Link(number, 0, address))
            newcomers.add(known[address][-1])
        else:
            link = known[address].pop(which % len(known[address]))
            newcomers.discard(link)
            gone.append(link)
        for link in gone:
            newcomers.discard(link)  # once more, or of those who were let in
        most = max(map(len, known.values()))
        found = newcomers.oldest_of_the_most()
        if not most:
            assert found is None
        else:
            assert found is not None
            assert found[1] == most
            assert found[0] in [links[0] for links in known.values() if len(links) == most]
        for own_address, links in known.items():
            assert newcomers.of(own_address) == len(links)
    nobody = Link(1, 0, None)
    newcomers.discard(nobody)
