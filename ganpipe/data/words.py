"""Words and numbers for people: names that somebody else chose are shown, never obeyed."""

from __future__ import annotations

import re
from collections.abc import Sequence

NAME_CHARACTERS = 120


def shown(name: str, limit: int = NAME_CHARACTERS) -> str:
    """A name in one line of at most `limit` characters, shortened in the middle.

    What cannot be seen (line ends, controls, marks that turn the writing around) is shown as in
    Python's strings: a file must not look like another one.
    """
    line = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in name[: limit + 1] + name[limit + 1 :][-limit:]
    )
    if len(line) <= limit:
        return line
    tail = limit // 2
    return f"{line[: limit - tail - 1]}…{line[-tail:]}"


def listed(names: Sequence[str], limit: int = 20) -> str:
    """Names after each other, the first ones of many."""
    line = ", ".join(shown(name, 40) for name in names[:limit])
    return f"{line} and {len(names) - limit} more" if len(names) > limit else line


def code_span(name: str, limit: int = NAME_CHARACTERS) -> str:
    """A name as code in Markdown, for running text and lists."""
    line = shown(name, limit)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def table_cell(name: str, limit: int = 60) -> str:
    """The same for a table cell, which a bar ends even in code: shown as its look-alike.

    Prefect's pages show a character reference as it is written, and a backslash before the bar
    may be one of the name's own.
    """
    return code_span(name, limit).replace("|", "\N{DIVIDES}")


def count(number: int) -> str:
    return f"{number:,}"


def plural(number: int, one: str, many: str = "") -> str:
    """`1 image`, `2 images`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def percent(part: int, whole: int) -> str:
    """A share; what is not nothing never reads as 0, what is not all never as 100."""
    share = 100.0 * part / whole if whole else 0.0
    if share in (0.0, 100.0):
        return f"{share:.0f} %"
    return "< 0.1 %" if share < 0.05 else f"{min(share, 99.9):.1f} %"


def size(number: float) -> str:
    """A number of bytes in three digits, decimal units."""
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.3g}\N{NO-BREAK SPACE}{unit}"
        number /= 1000
    return f"{number:.3g}\N{NO-BREAK SPACE}GB"


def pixels(number: float) -> str:
    """A number of pixels: megapixels where there are many."""
    return f"{number:,.0f} px" if number < 99_999.5 else f"{number / 1e6:.3g} MP"


def shape(height: int, width: int, channels: int) -> str:
    """Like `64 × 64 RGB` (width first, as people say it)."""  # noqa: RUF002
    return f"{width} × {height} {'grey' if channels == 1 else 'RGB'}"  # noqa: RUF001
