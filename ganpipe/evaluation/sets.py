"""Sets of images as people have them: a folder, an archive, an array, or somebody's statistics."""

from __future__ import annotations

import errno
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from ganpipe.data.dataset import DESCRIPTION, Dataset
from ganpipe.data.decode import canonical, flatten, has_image_mark, is_animated, open_image
from ganpipe.data.sources.archive import Archive
from ganpipe.data.sources.base import HIDDEN, Entry, Source
from ganpipe.data.sources.folder import ARCHIVES, Folder
from ganpipe.data.sources.npz import Npz
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.classifier import Read
from ganpipe.events import progress

MAX_PIXELS = 2**28  # of one image
WHITE = (255, 255, 255)
IMAGES = "images"
TOLERANCE = 1e-6  # of a covariance, relative to its largest value


@dataclass(frozen=True)
class ImageSet:
    """Images of one size."""

    name: str
    """Where they came from."""
    count: int
    shape: tuple[int, int, int]
    """Height, width and channels, 1 or 3."""
    read: Read
    """The images of some numbers below `count`: uint8 [n, H, W, C]."""
    labels: NDArray[np.int64] | None = None
    """Class numbers int64 [n], or None without classes."""
    classes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Names of files that are no image, have several frames or cannot be read."""


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of features that another program has computed."""

    name: str
    mean: NDArray[np.float64]
    """float64 [d]."""
    covariance: NDArray[np.float64]
    """float64 [d, d], as found: NVIDIA's tools divide by n, others by n - 1."""


def read_set(path: str, scratch: Path) -> ImageSet | Statistics:
    """A set by its path: a folder, a .zip or .tar, a .npz, or a data set of ganpipe's.

    A .npz holds images (uint8 [n, H, W] or [n, H, W, C]), or `mu` and `sigma`, as pytorch-fid and
    NVIDIA's tools write them. Images of a folder or archive are decoded as they are, upright and
    in sRGB, over white where they are transparent, to a file in the folder `scratch`; they stand
    in the order of their paths, with one channel where all are grey. Raises GanpipeError for
    nothing there, a damaged image, or images of several sizes.
    """
    check_there(path)
    place = Path(path).expanduser()
    if place.is_dir():
        if (place / DESCRIPTION).is_file():
            return _of_dataset(Dataset(place), path)
        return _decoded(Folder(str(place.absolute())), path, scratch)
    if place.name.lower().endswith(ARCHIVES):
        return _decoded(Archive(str(place.absolute())), path, scratch)
    if place.suffix.lower() == ".npz":
        return _statistics(place) or _decoded(Npz(str(place.absolute())), path, scratch)
    raise GanpipeError(
        f"{path} is neither a folder, nor one of {', '.join(ARCHIVES)}, nor a .npz: "
        "put single images into a folder"
    )


def check_there(path: str) -> None:
    """Raises GanpipeError where there is no set."""
    if not Path(path).expanduser().exists():
        raise GanpipeError(
            f"{path} does not exist: name a folder of images, a .zip or .tar of them, a .npz, "
            "or a data set such as data/train"
        )


def _of_dataset(dataset: Dataset, name: str) -> ImageSet:
    shape = (dataset.height, dataset.width, dataset.channels)
    # classes without an image here are none of this set's, as they are none of a folder's
    labels, classes = dataset.labels, dataset.classes
    if labels is None or len(present := np.unique(labels)) < 2:
        return ImageSet(name, len(dataset), shape, dataset.batch)
    own = [classes[number] for number in present]
    places = np.searchsorted(present, labels).astype(np.int64)
    return ImageSet(name, len(dataset), shape, dataset.batch, places, own)


def _statistics(path: Path) -> Statistics | None:
    """The statistics in a .npz; None when it holds no `mu` and `sigma`."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if not {"mu", "sigma"} <= set(arrays.files):
                return None
            mean = np.asarray(arrays["mu"], dtype=np.float64)
            covariance = np.asarray(arrays["sigma"], dtype=np.float64)
    except (ValueError, zipfile.BadZipFile) as error:
        raise GanpipeError(f"{path} cannot be read as .npz: {error}") from None
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise GanpipeError(
            f"{path}: mu has shape {mean.shape} and sigma {covariance.shape}, "
            "but [d] and [d, d] belong together"
        )
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise GanpipeError(f"{path} holds NaN or infinite numbers: make these statistics anew")
    _check_covariance(path, covariance)
    return Statistics(str(path), mean, covariance)


def _check_covariance(path: Path, covariance: NDArray[np.float64]) -> None:
    import torch

    largest = np.abs(covariance).max(initial=0.0)
    if np.abs(covariance - covariance.T).max(initial=0.0) > TOLERANCE * largest:
        raise GanpipeError(
            f"{path}: sigma is not symmetric, as a covariance is: make these statistics anew"
        )
    values = torch.linalg.eigvalsh(torch.from_numpy(covariance)).numpy()
    if len(values) and values[0] < -TOLERANCE * values[-1]:
        raise GanpipeError(
            f"{path}: sigma has the eigenvalue {values[0]:.3g} beside {values[-1]:.3g}, and those "
            "of a covariance are not negative: make these statistics anew"
        )


def _decoded(source: Source, name: str, scratch: Path) -> ImageSet:
    """Every image of a source, in the order of their paths."""
    entries = [entry for entry in source.entries if not entry.status]
    # what the system or the owner hides was never meant
    left_out = [entry.path for entry in source.entries if entry.status not in ("", HIDDEN)]
    found: list[Entry] = []
    scratch.mkdir(parents=True, exist_ok=True)
    shape: tuple[int, ...] = ()
    grey = True
    with (
        progress("score", f"reading {name}", len(entries)) as bar,
        # written rather than mapped: a full disk is an error then, and not the end of the process
        (scratch / IMAGES).open("wb", buffering=0) as file,
    ):
        for entry, pixels in _pictures(source, entries, name, left_out):
            shape = shape or pixels.shape
            if pixels.shape != shape:
                raise GanpipeError(
                    f"{name}: {entry.path} has {_size(pixels.shape)} pixels, those before have "
                    f"{_size(shape)}: bring all to one size first, such as with "
                    "`ganpipe run` and data.resolution"
                )
            _keep(file, pixels, len(entries) - len(found), name, scratch)
            grey = grey and bool((pixels == pixels[..., :1]).all())
            found.append(entry)
            bar.update(len(found))
    if not found:
        raise GanpipeError(
            f"{name} holds no image: {len(left_out)} files are of other kinds, damaged or not "
            "readable"
        )
    images = np.memmap(scratch / IMAGES, np.uint8, "r", shape=(len(found), *shape))
    return _set(source, name, images[..., :1] if grey else images, found, left_out)


def _keep(file: IO[bytes], pixels: NDArray[np.uint8], still: int, name: str, scratch: Path) -> None:
    """Append an image; `still`: how many images there may be to come, with this one."""
    left = memoryview(pixels.tobytes())
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        check_room(scratch, still * pixels.nbytes, name)
        raise GanpipeError(_full(scratch, still * pixels.nbytes, name)) from error


def check_room(folder: Path, needed: int, name: str) -> None:
    """Raises GanpipeError when `needed` bytes for the set `name` do not fit into a folder."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise GanpipeError(_full(folder, needed - free, name))


def _full(folder: Path, missing: int, name: str) -> str:
    return (
        f"{name}: {folder.parent} lacks about {max(1, round(missing / 1e6)):,} MB for its pixels "
        "and features: free so much, or set TMPDIR to a folder with more room"
    )


def _set(
    source: Source,
    name: str,
    images: NDArray[np.uint8],
    found: Sequence[Entry],
    left_out: list[str],
) -> ImageSet:
    """The set of images [>= n, H, W, C], stored in the order of `found`, n entries."""
    # an archive gives its members in the order in which it stores them
    order = np.array(sorted(range(len(found)), key=lambda number: found[number].path))
    labels = [found[number].label for number in order]
    known = len(set(labels)) > 1 and "" not in labels
    classes = [each for each in source.classes or sorted(set(labels)) if each in set(labels)]
    numbers = {label: number for number, label in enumerate(classes)}
    height, width, channels = images.shape[1:]
    return ImageSet(
        name,
        len(found),
        (height, width, channels),
        lambda wanted: images[order[wanted]],
        np.array([numbers[label] for label in labels], np.int64) if known else None,
        classes if known else [],
        left_out,
    )


def _pictures(
    source: Source, wanted: Sequence[Entry], name: str, left_out: list[str]
) -> Iterator[tuple[Entry, NDArray[np.uint8]]]:
    """Each image with its RGB pixels; what is no image is named in `left_out`."""
    for entry, payload in source.read(wanted):
        picture = None if entry.status else _picture(payload, f"{name}: {entry.path}")
        if picture is None:
            left_out.append(entry.path)
        else:
            yield entry, picture


def _picture(payload: bytes, name: str) -> NDArray[np.uint8] | None:
    """RGB pixels; None for several frames, or bytes that do not claim to be an image."""
    try:
        with open_image(payload, MAX_PIXELS) as opened:
            if is_animated(opened):
                return None
            return np.asarray(flatten(canonical(opened), "RGB", WHITE), dtype=np.uint8)
    except MemoryError:
        raise
    except Exception as error:
        # decoders raise anything for damaged bytes
        if isinstance(error, UnidentifiedImageError) and not has_image_mark(payload):
            return None
        raise GanpipeError(
            f"{name} is damaged or no image to be decoded ({error}): remove it or bring it anew"
        ) from error


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
