"""Fashion-MNIST: 70,000 real 28x28 photographs of clothes in ten classes.

Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms" (2017), MIT licence. Four gzipped IDX files.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe.data.sources.base import Item
from ganpipe.errors import GanpipeError
from ganpipe.images import png_bytes

CLASSES = [
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
]
FILES = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
]
# where Debian's package dataset-fashion-mnist puts them
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


class FashionMnist:
    """Grey images of 28x28 pixels with the published split: 60,000 train, 10,000 test."""

    classes = CLASSES
    resolution = 0

    def __init__(self, path: str = "") -> None:
        self.folder = find_folder(path)

    def fingerprint(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for name in FILES:
            digest.update((self.folder / name).read_bytes())
        size = sum((self.folder / name).stat().st_size for name in FILES)
        return {
            "source": "fashion-mnist",
            "count": len(self),
            "bytes": size,
            "digest": digest.hexdigest(),
        }

    def __iter__(self) -> Iterator[Item]:
        for split, prefix in (("test", "t10k"), ("train", "train")):
            images = read_idx(self.folder / f"{prefix}-images-idx3-ubyte.gz")
            labels = read_idx(self.folder / f"{prefix}-labels-idx1-ubyte.gz")
            if len(images) != len(labels):
                raise GanpipeError(
                    f"{self.folder}: {len(images)} {split} images but {len(labels)} labels: "
                    f"download the four files again"
                )
            order = sorted(range(len(images)), key=lambda i: (CLASSES[labels[i]], i))
            for index in order:
                label = CLASSES[labels[index]]
                name = f"{split}/{label}/{index:05d}.png"
                yield Item(name, png_bytes(images[index][..., None]), label, split)

    def __len__(self) -> int:
        return 70_000


def find_folder(path: str) -> Path:
    """The folder with the four files: a given one, else Debian's, else torchvision's download.

    Raises GanpipeError that says which files to put where.
    """
    if path:
        missing = [name for name in FILES if not (Path(path) / name).is_file()]
        if missing:
            raise GanpipeError(
                f"data.path={path} lacks {', '.join(missing)}: put the four files there "
                f"({', '.join(FILES)}), or leave data.path empty"
            )
        return Path(path)
    if all((DEBIAN_FOLDER / name).is_file() for name in FILES):
        return DEBIAN_FOLDER
    return _download()


def download_folder() -> Path:
    """Where torchvision keeps what it downloads, in the state folder of the repository."""
    root = Path(os.environ.get("GANPIPE_STATE", ".ganpipe")) / "downloads"
    return root / "FashionMNIST" / "raw"


def _download() -> Path:
    """Let torchvision download the files and check their checksums."""
    folder = download_folder()
    from torchvision.datasets import FashionMNIST

    try:
        FashionMNIST(str(folder.parent.parent), download=True)
    except (OSError, RuntimeError) as error:
        raise GanpipeError(
            f"Fashion-MNIST is not on this machine and could not be downloaded ({error}). "
            f"Install Debian's package (apt-get install dataset-fashion-mnist), or put the four "
            f"files {', '.join(FILES)} into a folder and set data.path to it"
        ) from None
    return folder


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The uint8 array in a gzipped IDX file: shape as its header says.

    Raises GanpipeError that names the file when it is damaged.
    """
    try:
        data = gzip.decompress(path.read_bytes())
        dimensions = data[3]
        shape = np.frombuffer(data, ">u4", count=dimensions, offset=4).astype(int)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(tuple(shape))
    except (EOFError, IndexError, ValueError, zlib.error, gzip.BadGzipFile) as error:
        raise GanpipeError(
            f"{path} is no whole gzipped IDX file ({error}): download it again"
        ) from None
