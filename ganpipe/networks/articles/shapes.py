"""Which images the tutorials' networks can make: all were written for 28x28."""

from __future__ import annotations

from ganpipe.errors import GanpipeError

KERNEL = 5  # pixels that the unpadded convolution of article-dense-conv needs


def any_size(height: int, width: int) -> None:
    """For fully connected networks."""


def at_least_a_kernel(height: int, width: int) -> None:
    """Raise GanpipeError for images smaller than the kernel of article-dense-conv."""
    if min(height, width) < KERNEL:
        raise GanpipeError(
            f"images of {height}x{width} pixels: article-dense-conv needs {KERNEL} or more each "
            f"way: set data.resolution to 28"
        )


def quarters(height: int, width: int) -> None:
    """Raise GanpipeError for images that cannot be halved twice."""
    if height % 4 or width % 4:
        near = f"[{4 * max(1, round(height / 4))}, {4 * max(1, round(width / 4))}]"
        raise GanpipeError(
            f"images of {height}x{width} pixels: this network halves them twice, so both sides "
            f"must be multiples of 4: set data.resolution to {near} or to 28, as printed"
        )
