"""The champion's real images as its lineage names them: features, statistics, some pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ganpipe import lineage, packaging, params, registry
from ganpipe.data.dataset import Dataset
from ganpipe.data.manifest import MANIFEST
from ganpipe.data.pixels import Shape
from ganpipe.data.sources import FINGERPRINT
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.extractors import Extractor
from ganpipe.evaluation.reference import Reference, extractor_for, read_reference
from ganpipe.evaluation.results import KID
from ganpipe.files import read_json, replacing_folder
from ganpipe.lineage.carried import DATA, unpacked
from ganpipe.lineage.store import WHOLE, Store, opened
from ganpipe.params import PARAMS_FILE, DataParams, EvaluateParams

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

RAW, REFERENCE, TEST = "data/raw", "data/reference", "data/test"
GONE = ".gone"


@dataclass(frozen=True)
class Champion:
    """What of a version is needed to compare images with those that it learnt from."""

    name: str
    data: DataParams
    evaluate: EvaluateParams
    shape: Shape
    class_counts: dict[str, int]
    """Its real images by class; empty where they have none."""
    reference: Reference
    test: Dataset
    generator_sha256: str
    own: dict[str, Any] | None
    """Its samples' kernel distance, as evaluation.json says; None where it was not measured."""
    raw: str = ""
    """DVC's hash of what was ingested; empty where its pipeline does not name that."""
    images: str = ""
    """Digest of its source's fingerprint; empty where it is not known."""

    def extractor(self) -> Extractor:
        """The feature network of the reference. Raises GanpipeError when it is another today."""
        network = extractor_for(self.evaluate, self.reference.folder)
        today = (network.name, network.version, network.weights_sha256, network.resize)
        keys = ("extractor", "extractor_version", "weights_sha256", "resize")
        then = tuple(self.reference.protocol[key] for key in keys)
        if today != then:
            raise GanpipeError(
                f"the reference of {self.name} was made with the feature network {then}, here it "
                f"is {today}: install what it was made with, or train a champion with this one"
            )
        return network


def open_champion(repo: Path, uri: str, version: ModelVersion, folder: Path) -> Champion:
    """A registered version's reference, brought to `folder` from DVC's cache, else its remote.

    It stays there for the next time; that of another version goes. Raises GanpipeError for a
    version without lineage, and for data that cannot be had.
    """
    name = f"{version.name} version {version.version}"
    with unpacked(uri, version) as kept:
        values = yaml.safe_load((kept / PARAMS_FILE).read_text(encoding="utf-8"))
        lock = yaml.safe_load((kept / lineage.LOCK_FILE).read_text(encoding="utf-8")) or {}
        about = read_json(kept / DATA) if (kept / DATA).is_file() else {}
        source = read_json(kept / FINGERPRINT) if (kept / FINGERPRINT).is_file() else {}
    hashes = {
        out["path"]: str(out["md5"])
        for stage in lock.get("stages", {}).values()
        for out in stage.get("outs", [])
    }
    lacking = [path for path in (REFERENCE, TEST) if path not in hashes]
    if lacking or not {"raw", "train"} <= about.keys():
        raise GanpipeError(
            f"what {name} carries does not name its {' and '.join(lacking) or 'data set'}: "
            "nothing can be compared with its images; train it anew"
        )
    places = _brought(repo, folder, [hashes[REFERENCE], hashes[TEST]], name)
    chosen = params.validate(
        {key: values[key] for key in ("data", "evaluate") if key in values},
        source=f"{PARAMS_FILE} of {name}",
    ).anchored(repo)
    # where weights lie is known here
    here = params.load(repo / PARAMS_FILE).evaluate.anchored(repo)
    test = Dataset(places[1])
    measured = registry.evaluation_of(uri, version)
    return Champion(
        name,
        chosen.data,
        chosen.evaluate.model_copy(update={"weights": here.weights}),
        _shape(about["train"], chosen.data),
        dict(about["raw"].get("class_counts", {})),
        read_reference(places[0]),
        test,
        version.tags[packaging.GENERATOR_TAG],
        measured.measure(KID) if measured else None,
        hashes.get(RAW, ""),
        str(source.get("digest", "")),
    )


def learnt_from(repo: Path, champion: Champion) -> set[str]:
    """Paths in its source of what was ingested; empty where its pipeline does not name that.

    Raises GanpipeError when their list is neither in DVC's cache nor on its remote.
    """
    import pandas as pd

    if not champion.raw:
        return set()
    with opened(repo) as store:
        manifest = store.read(store.entries(champion.raw)[MANIFEST])
    return set(pd.read_parquet(BytesIO(manifest), columns=["path"])["path"])


def _shape(described: Mapping[str, Any], data: DataParams) -> Shape:
    return Shape(
        described["height"],
        described["width"],
        described["channels"],
        described["crop"],
        described["resize"],
        described["background"],
        data.max_pixels,
    )


def _brought(repo: Path, folder: Path, wanted: list[str], name: str) -> list[Path]:
    """Folders by their hash, each whole or not there; nothing else stays in `folder`.

    Where it can be, their files are DVC's own: no byte of them lies on the disk twice.
    """
    places = [folder / each.removesuffix(".dir") for each in wanted]
    for digest, place in zip(wanted, places, strict=True):
        if place.is_dir():
            continue
        with opened(repo) as store, replacing_folder(place) as beside:
            for path, md5 in store.entries(digest).items():
                target = beside / path
                target.parent.mkdir(parents=True, exist_ok=True)
                _bring(store, md5, target)
    for left in folder.glob(f".*{GONE}"):
        shutil.rmtree(left)
    for old in folder.iterdir():
        if old not in places and not old.name.startswith("."):
            # half-deleted it must not be taken for whole when its version comes back
            shutil.rmtree(old.rename(folder / f".{old.name}{GONE}"))
    return places


def _bring(store: Store, md5: str, target: Path) -> None:
    if store.place(md5).is_file() and store.state([md5])[md5] == WHOLE:
        with suppress(OSError):  # another disk
            os.link(store.place(md5), target)
            return
    target.write_bytes(store.read(md5))
