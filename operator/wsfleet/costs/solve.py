"""Least squares with three unknowns that can't be negative, exactly, by trying which of them are zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

Vector = Sequence[float]
Matrix = Sequence[Sequence[float]]

_SINGULAR = 1e-9
"""Of a matrix with ones on its diagonal: smaller pivots mean that two columns tell the same."""


def solve(matrix: Matrix, right: Vector) -> list[float] | None:
    """The solution of a small symmetric system by elimination, None where it has no single one."""
    size = len(right)
    rows = [[*matrix[at], right[at]] for at in range(size)]
    for at in range(size):
        pivot = max(range(at, size), key=lambda row: abs(rows[row][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        if abs(rows[at][at]) < _SINGULAR:
            return None
        for row in range(at + 1, size):
            factor = rows[row][at] / rows[at][at]
            rows[row] = [own - factor * above for own, above in zip(rows[row], rows[at], strict=True)]
    found = [0.0] * size
    for at in reversed(range(size)):
        rest = sum(rows[at][column] * found[column] for column in range(at + 1, size))
        found[at] = (rows[at][size] - rest) / rows[at][at]
    return found if all(map(math.isfinite, found)) else None


def non_negative(matrix: Matrix, right: Vector) -> list[float]:
    """The unknowns, none negative, that minimise x'Ax - 2b'x; those that nothing tells of are zero."""
    size = len(right)
    best, least = [0.0] * size, 0.0
    for count in range(1, size + 1):
        for chosen in combinations(range(size), count):
            part = solve(
                [[matrix[row][column] for column in chosen] for row in chosen], [right[row] for row in chosen]
            )
            if part is None or min(part) < 0:
                continue
            # At a minimum x'Ax = b'x, so the whole is -b'x.
            value = -sum(right[at] * own for at, own in zip(chosen, part, strict=True))
            if value < least:
                best, least = [0.0] * size, value
                for at, own in zip(chosen, part, strict=True):
                    best[at] = own
    return best


def variance(matrix: Matrix, direction: Vector, ridge: float) -> float:
    """d'(A + ridge)^-1 d: how unsure a sum of the unknowns is, in units of the noise."""
    size = len(direction)
    firm = [
        [matrix[row][column] + (ridge if row == column else 0.0) for column in range(size)]
        for row in range(size)
    ]
    found = solve(firm, direction)
    if found is None:
        return math.inf
    return max(0.0, sum(own * each for own, each in zip(found, direction, strict=True)))
