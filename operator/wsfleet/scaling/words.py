"""Numbers of things as people say them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """ "1 node", "2,000 nodes"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def number_of_nodes(number: int) -> str:
    """ "1 node", "2 nodes"."""
    return counted(number, "node")


def are_wanted(number: int) -> str:
    """ "1 node is wanted", "2 nodes are wanted"."""
    return f"{number_of_nodes(number)} {verb(number, 'is', 'are')} wanted"


def part_of(part: int, whole: int, noun: str, one: str, many: str) -> str:
    """ "1 of 2 nodes has", "2 of 2 nodes have", "1 of 1 node has": with the verb for one and for many."""
    return f"{part:,} of {counted(whole, noun)} {verb(part, one, many)}"


def verb(number: int, one: str, many: str) -> str:
    """The verb for a number of things."""
    return one if number == 1 else many
