"""From an image's size to a small base that doubles up to it."""

from __future__ import annotations

from dataclasses import dataclass

from ganpipe.errors import GanpipeError

SHORTEST_BASE, LONGEST_BASE = 4, 7  # of the shorter side, in pixels


@dataclass(frozen=True)
class Pyramid:
    """The resolutions that a network passes through."""

    base: tuple[int, int]
    """Height and width where it starts, in pixels."""
    doublings: int

    @staticmethod
    def of(height: int, width: int) -> Pyramid:
        """The pyramid up to a size. Raises GanpipeError that names sizes near one without."""
        found = _find(height, width)
        if found is None:
            near = ", ".join(f"[{h}, {w}]" for h, w in _near(height, width))
            raise GanpipeError(
                f"images of {height}x{width} pixels: the shorter side must be 4, 5, 6 or 7 times "
                f"a power of two and the longer one a multiple of that power; near it lie {near}: "
                f"set data.resolution to one of these"
            )
        return found

    def widths(self, width: int, max_width: int) -> list[int]:
        """Channels at each resolution from the base up: `width` at the top, doubled downwards."""
        return [min(width << level, max_width) for level in reversed(range(self.doublings + 1))]


def _find(height: int, width: int) -> Pyramid | None:
    for doublings in range(13):
        high, wide = height >> doublings, width >> doublings
        whole = (high << doublings, wide << doublings) == (height, width)
        if whole and SHORTEST_BASE <= min(high, wide) <= LONGEST_BASE:
            return Pyramid((high, wide), doublings)
    return None


def _near(height: int, width: int) -> list[tuple[int, int]]:
    """The closest sizes that have a pyramid, closest first: at most three."""
    reach = max(8, min(height, width) // 4)
    sizes = [
        (h, w)
        for h in range(max(SHORTEST_BASE, height - reach), height + reach + 1)
        for w in range(max(SHORTEST_BASE, width - reach), width + reach + 1)
        if (height == width) == (h == w) and _find(h, w) is not None
    ]
    return sorted(sizes, key=lambda s: (abs(s[0] - height) + abs(s[1] - width), s))[:3]
