"""Standard output for tables of running fleets: as wide as the terminal, or as they need in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from rich.console import Console, RenderableType

_UNBOUNDED = 1000

Parts = Callable[[int | None], Iterable[RenderableType]]
"""What to show, made for so many columns; None for as many as it takes."""


def terminal() -> Console | None:
    """The terminal that standard output is, None where it is a pipe or a file."""
    made = Console(highlight=False, soft_wrap=False)
    return made if made.is_terminal else None


def show(parts: Parts, *, wide: bool = False) -> None:
    """Print parts one below the other.

    In a pipe lines are as long as they need, without colours and without blanks at their ends; so are `wide`
    ones on a terminal.
    """
    made = terminal()
    if made is not None and not wide:
        for part in parts(made.width):
            made.print(part)
        return
    colours = {} if made is None else {"force_terminal": True}
    sheet = Console(highlight=False, width=_UNBOUNDED, **colours)  # type: ignore[arg-type]
    with sheet.capture() as captured:
        for part in parts(None):
            sheet.print(part)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
    sys.stdout.flush()
