"""A small data set in colour with class folders: the emoji of Debian's packages, as PNG files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
NAMES = Path("/usr/share/unicode/emoji/emoji-test.txt")
# file that must be there -> Debian package that brings it
PACKAGES = {FONT: "fonts-noto-color-emoji", NAMES: "unicode-data"}
WIDTH, HEIGHT = 136, 128
_VARIATION_SELECTOR = 0xFE0F


def missing_packages() -> list[str]:
    """Debian packages to install before `write_emoji` can work."""
    return [package for path, package in PACKAGES.items() if not path.is_file()]


def write_emoji(folder: Path, limit: int = 0) -> dict[str, int]:
    """Write <group>/<code point>.png below `folder`; palette and RGBA files of WIDTH x HEIGHT.

    Emoji of one code point only: the others are mostly the same drawing in five skin tones.
    `limit` keeps the first so many of each group; 0 keeps all. Returns the count of each group.
    """
    from fontTools.ttLib import TTFont

    counts: dict[str, int] = {}
    with TTFont(FONT) as font:
        glyphs = font.getBestCmap()
        (bitmaps,) = font["CBDT"].strikeData
        for group, code in single_emoji():
            if limit and counts.get(group, 0) >= limit:
                continue
            path = folder / group / f"{code:05x}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bitmaps[glyphs[code]].imageData)
            counts[group] = counts.get(group, 0) + 1
    return counts


def single_emoji() -> Iterator[tuple[str, int]]:
    """Group and code point of every emoji of one code point, in the order of Unicode's list."""
    group = ""
    for line in NAMES.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group:"):
            group = line.removeprefix("# group:").strip()
        elif line and not line.startswith("#"):
            sequence, status = line.split("#")[0].split(";")
            codes = [int(code, 16) for code in sequence.split()]
            codes = [code for code in codes if code != _VARIATION_SELECTOR]
            if status.strip() == "fully-qualified" and len(codes) == 1:
                yield group, codes[0]
