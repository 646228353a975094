"""Fashion-MNIST: 70,000 real 28x28 photographs of clothes in ten classes.

Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms" (2017), MIT licence. Four IDX files, named like those of MNIST.
"""

from __future__ import annotations

from pathlib import Path

from ganpipe.data.sources import downloads
from ganpipe.data.sources.mnist import FILES, Mnist

__all__ = ["CLASSES", "DEBIAN_FOLDER", "FILES", "FashionMnist", "download_folder"]

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
# where Debian's package dataset-fashion-mnist puts them
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


class FashionMnist(Mnist):
    """Grey images of 28x28 pixels with the published split: 60,000 train, 10,000 test."""

    kind = "fashion-mnist"
    published = "FashionMNIST"
    names = CLASSES
    places = (DEBIAN_FOLDER,)
    remedy = (
        "Install Debian's package (apt-get install dataset-fashion-mnist), or put the four files "
        "{files} into a folder and set data.path to it"
    )


def download_folder() -> Path:
    """Where torchvision keeps what it downloads, in the state folder of the repository."""
    return downloads.download_folder("FashionMNIST") / "raw"
