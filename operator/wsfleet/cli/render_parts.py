"""Building blocks of tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 100


def console() -> Console:
    """Standard output, at most 100 columns wide: the width the tables are made for."""
    screen = Console(highlight=False, soft_wrap=False)
    if not screen.is_terminal or screen.width > WIDTH:
        screen.width = WIDTH
    return screen


def heading(text: str, remark: str = "") -> Text:
    """A section's title, with a remark beside it."""
    line = Text(f"\n{text}", style="bold")
    return line.append(f"  {remark}", style="not bold dim") if remark else line


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """A table without frame; > before a title aligns right, * lets the column wrap."""
    made = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim"
    )
    for title in columns:
        name = title.lstrip(">*")
        marks = title.removesuffix(name)
        made.add_column(name, justify="right" if ">" in marks else "left", no_wrap="*" not in marks)
    for row in rows:
        made.add_row(*row)
    return made


def fitting(
    columns: Sequence[str], rows: Sequence[Sequence[str | Text]], width: int | None, spare: Sequence[str]
) -> Table:
    """A table within `width` columns of the screen: it goes without the `spare` columns, in this order.

    A name that is cut short can't be copied; a column that is missing can be asked for with -o wide.
    """
    titles = [title.lstrip(">*") for title in columns]
    left = list(range(len(columns)))
    for name in spare:
        if (
            width is None
            or _needs([columns[i] for i in left], [[row[i] for i in left] for row in rows]) <= width
        ):
            break
        left = [i for i in left if titles[i] != name]
    return table([columns[i] for i in left], [[row[i] for i in left] for row in rows])


def _needs(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> int:
    """Columns of the screen that a table takes with nothing cut or wrapped."""
    titles = [len(title.lstrip(">*")) for title in columns]
    widths = [max([title, *(len(row[i]) for row in rows)]) for i, title in enumerate(titles)]
    return sum(widths) + 2 * (len(widths) - 1)


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and what they are, without a header."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column()
    for name, value in rows:
        made.add_row(name, value)
    return made
