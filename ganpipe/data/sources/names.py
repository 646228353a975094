"""Names of files as others chose them: made readable, safe and distinct."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LITTER = ("thumbs.db", "desktop.ini")  # what Windows leaves in every folder
_ROOTED = re.compile(r"[/\\]|[A-Za-z]:")
_SEPARATORS = re.compile(r"[/\\]")


def text_of(name: bytes) -> str:
    r"""A name as text; bytes that are no UTF-8 become \xNN, so that they can be written down."""
    return name.decode("utf-8", errors="backslashreplace")


def is_left_out(path: str) -> bool:
    """Whether a path is hidden, or litter of an operating system: no file of anybody's set."""
    if path.rpartition("/")[2].lower() in _LITTER or path.startswith((".", "__MACOSX/")):
        return True
    return "/." in path or "/__MACOSX/" in path


def is_unsafe(name: str) -> bool:
    """Whether a name would leave the folder that it is unpacked to, on any system."""
    if not name or "\0" in name or _ROOTED.match(name):
        return True
    return ".." in name and ".." in _SEPARATORS.split(name)


def plain(name: str) -> str:
    """A safe name without empty parts and `.`: tar writes `./cats/1.png`."""
    if "//" not in name and not name.startswith("./") and "/./" not in name:
        return name
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def distinct(names: Sequence[str]) -> list[str]:
    """The names, each once: the later ones of equal names get `#2`, `#3` and so on."""
    taken = set(names)
    if len(taken) == len(names):
        return list(names)
    result, times = [], dict.fromkeys(names, 0)
    for name in names:
        times[name] += 1
        new = name
        while times[name] > 1 and (new := f"{name}#{times[name]}") in taken:
            times[name] += 1
        taken.add(new)
        result.append(new)
    return result
