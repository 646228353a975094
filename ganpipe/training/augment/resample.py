"""Images seen through another grid of pixels.

torch.nn.functional.grid_sample has no deterministic backward pass on CUDA, and none that can be
differentiated again; gather has both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganpipe.training.augment.affine import Affine
from ganpipe.training.augment.draws import each


def move(images: Tensor, motion: Affine) -> Tensor:
    """Images float [n, C, H, W] moved in the plane: what was at v comes to motion(v).

    v is (x, y) in pixels from the centre of the image, to the right and down. Bilinear; beyond
    its edges an image goes on as in a mirror that stands on the outermost pixels. Images that
    are not moved, by whole pixels, by quarter turns or flipped keep their values exactly.
    """
    height, width = images.shape[-2:]
    back = motion.inverse()
    (xx, xy), (yx, yy) = (row.unbind(dim=1) for row in back.linear.unbind(dim=1))
    x, y = centred(width, images)[None, None], centred(height, images)[None, :, None]
    from_x = each(xx, 3) * x + each(xy, 3) * y + each(back.offset[:, 0], 3)
    from_y = each(yx, 3) * x + each(yy, 3) * y + each(back.offset[:, 1], 3)
    moved = bilinear(images, mirrored(from_y, height), mirrored(from_x, width))
    return torch.where(each(motion.changes()), moved, images)


def centred(size: int, like: Tensor) -> Tensor:
    """Positions of the pixels of a row or column, from its centre: float [size]."""
    return torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2


def mirrored(positions: Tensor, size: int) -> Tensor:
    """Positions from the centre, counted from the first pixel and folded into [0, size - 1]."""
    last = size - 1
    return last - ((positions + last / 2).remainder(2 * last) - last).abs()


def bilinear(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Images [n, C, H, W] at positions float [n, h, w] in [0, H - 1] and [0, W - 1]."""
    top, left = y.floor(), x.floor()
    down, right = (y - top)[:, None], (x - left)[:, None]
    rows, columns = top.long(), left.long()
    # the pixel beyond the last one has weight 0
    rows_below = (rows + 1).clamp(max=images.shape[2] - 1)
    columns_right = (columns + 1).clamp(max=images.shape[3] - 1)
    # weights that sum to 1, since a + 1 (b - a) is not b in floating point
    return (
        pick(images, rows, columns) * ((1.0 - down) * (1.0 - right))
        + pick(images, rows, columns_right) * ((1.0 - down) * right)
        + pick(images, rows_below, columns) * (down * (1.0 - right))
        + pick(images, rows_below, columns_right) * (down * right)
    )


def pick(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels of images [n, C, H, W] at int64 positions [n, h, w]: [n, C, h, w]."""
    places = (rows * images.shape[3] + columns).flatten(1)[:, None]
    picked = images.flatten(2).gather(2, places.expand(-1, images.shape[1], -1))
    return picked.view(*images.shape[:2], *rows.shape[1:])
