"""The film shows the grids of a run as they are, in order, and is the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganpipe import images
from ganpipe.training import film


def grids(folder: Path, count: int, side: int = 40, noise: bool = False) -> list[Path]:
    """Grids with a line that moves down."""
    paths, random = [], np.random.default_rng(0)
    for number in range(count):
        pixels = np.full((side, side, 1), 255, np.uint8)
        if noise:
            pixels = random.integers(0, 256, pixels.shape, np.uint8)
        pixels[number % side] = 0
        paths.append(folder / f"grid-{number:012d}.png")
        images.write_png(paths[-1], pixels)
    return paths


def frames(path: Path) -> list[np.ndarray]:
    found = []
    with Image.open(path) as opened:
        for number in range(getattr(opened, "n_frames", 1)):
            opened.seek(number)
            found.append(np.asarray(opened.convert("L")))
    return found


def test_every_grid_is_a_frame_pixel_by_pixel(tmp_path: Path) -> None:
    paths = grids(tmp_path, 12)
    film.write_film(paths, tmp_path / "film.webp")
    shown = frames(tmp_path / "film.webp")
    assert len(shown) == 12
    for frame, path in zip(shown, paths, strict=True):
        with Image.open(path) as grid:
            assert np.array_equal(frame, np.asarray(grid))


def test_the_same_grids_give_the_same_bytes(tmp_path: Path) -> None:
    paths = grids(tmp_path, 5, noise=True)
    for name in ("one", "two"):
        film.write_film(paths, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("count", [1, 2, 60, 61, 1000])
def test_a_long_run_is_shown_evenly_from_its_first_grid_to_its_last(count: int) -> None:
    numbers = film.chosen(count)
    assert len(numbers) == min(count, 60)
    assert numbers[0] == 0
    assert numbers[-1] == count - 1
    steps = set(np.diff(numbers).tolist())
    assert not steps or max(steps) - min(steps) <= 1


def test_a_film_that_would_be_large_is_compressed_with_little_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = grids(tmp_path, 3, noise=False)
    film.write_film(paths, tmp_path / "exact")
    monkeypatch.setattr(film, "LOSSLESS_BYTES", 10)
    film.write_film(paths, tmp_path / "small")
    exact, small = frames(tmp_path / "exact"), frames(tmp_path / "small")
    errors = [np.abs(a.astype(int) - b).mean() for a, b in zip(exact, small, strict=True)]
    assert 0.0 < max(errors) < 5.0


def test_grids_of_large_images_make_a_film_of_bounded_size(tmp_path: Path) -> None:
    film.write_film(grids(tmp_path, 2, side=2100), tmp_path / "film.webp")
    assert {frame.shape for frame in frames(tmp_path / "film.webp")} == {(700, 700)}
