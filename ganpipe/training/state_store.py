"""Copies of a run's states at a URL, for machines that may be taken away (train.state_url).

They lie there as in the scratch folder and below its name: `states/`, whose descriptions come
last and go first, and `grids/`. So a copy that was not finished, or was damaged, is never taken.
Credentials and endpoint come from the environment, as for data.path.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ganpipe.errors import GanpipeError
from ganpipe.files import replacing
from ganpipe.training import description as described
from ganpipe.training import state
from ganpipe.training.state import GRIDS, KEPT, SUFFIXES, SavedState

STATES = "states"
PROBE = "writable"  # an empty file: shows before a run that states can be written
# a store that hangs must not be waited for as long as botocore does by itself
S3_PATIENCE = {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 2}}
WAYS_OUT = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, and AWS_ENDPOINT_URL "
    "for a store that is not Amazon's; the bucket must exist"
}


class StateStore:
    """Where the states of the run with one scratch folder are copied to and fetched from.

    Raises GanpipeError where the store cannot be reached, read or written.
    """

    def __init__(self, url: str, scratch: Path) -> None:
        import fsspec  # type: ignore[import-untyped]

        self.scratch, self.protocol = scratch, url.partition("://")[0]
        self.shown = f"{re.sub('//[^/@]*@', '//', url).rstrip('/')}/{scratch.name}"
        # listings of earlier runs in the same process would hide what is new
        options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
        if self.protocol == "s3":
            options["config_kwargs"] = S3_PATIENCE
        try:
            self.fs, place = fsspec.core.url_to_fs(url, **options)
            self.place = f"{place.rstrip('/')}/{scratch.name}"
            self.is_folder = "file" in self.fs.protocol
            self._write(PROBE, b"")
        except Exception as error:
            raise self._problem(error, "written") from error

    def fetch(self) -> None:
        """Bring the newest whole state, when it is newer than the scratch folder's newest.

        Those that turn out damaged are removed from the store, with all that came after the
        state from which the run goes on: it makes them anew.
        """
        states = self.scratch / STATES
        own = state.find(states)
        shown = -1 if own is None else own.images
        names = self._sizes()
        for name in sorted(filter(_is_description, names), reverse=True):
            images = state.images_of(Path(name))
            if images <= shown:
                break
            kimg = f"{images / 1000:g} kimg"
            if self._bring(name):
                found = state.find(states)
                if found is not None and found.images == images:
                    print(f"train: fetched the state at {kimg} from {self.shown}", flush=True)
                    shown = images
                    break
            state.drop_later(states, images - 1)
            print(f"train: the state at {kimg} in {self.shown} is damaged: not used", flush=True)
        self._drop_later(shown)

    def clear(self) -> None:
        """Remove every state: the run begins anew."""
        self._drop_later(-1)

    def copy(self, saved: SavedState) -> None:
        """Copy a state, its best and the grids so far; the last two states stay there."""
        states = saved.tensors.parent
        try:
            there = self._sizes()
            for name in saved.grids:
                path = self.scratch / GRIDS / name
                if there.get(f"{GRIDS}/{name}") != path.stat().st_size:
                    self._put(path, f"{GRIDS}/{name}")
            best = saved.best.images if saved.best else saved.images
            for images in sorted({best, saved.images}):
                description = state.path_of(states, images)
                if images == saved.images or f"{STATES}/{description.name}" not in there:
                    for suffix in SUFFIXES:
                        path = description.with_suffix(suffix)
                        self._put(path, f"{STATES}/{path.name}")
            self._drop_older()
        except Exception as error:
            if not saved.description.exists():
                return  # removed meanwhile: two newer ones have been saved
            raise self._problem(error, "written") from error

    def _bring(self, name: str) -> bool:
        """Fetch the state with a description and what it names; False when something is amiss."""
        known = described.parse(self._read(name) or b"")
        if known is None:
            return False
        grids = [f"{GRIDS}/{grid}" for grid in known["grids_sha256"]]
        best = known["best"]["images"] if known["best"] else known["images"]
        states = [
            f"{STATES}/{state.path_of(Path(), images).with_suffix(suffix)}"
            for images in sorted({best, known["images"]})
            for suffix in SUFFIXES
        ]
        try:
            for each in [*grids, *states]:
                with replacing(self.scratch / each) as beside:
                    self._get(each, beside)
        except FileNotFoundError:
            return False
        return True

    def _drop_later(self, shown: int) -> None:
        numbered = [(_images(name), name) for name in self._sizes()]
        self._drop([name for images, name in numbered if images is not None and images > shown])

    def _drop_older(self) -> None:
        names = self._sizes()
        newest = sorted(filter(_is_description, names))[-KEPT:]
        if not newest:
            return  # another run with the same inputs has begun anew
        stay = {_images(name) for name in newest}
        for name in newest:
            known = described.parse(self._read(name) or b"")
            if known is not None and known["best"]:
                stay.add(known["best"]["images"])
        older = [name for name in names if name.startswith(STATES) and name <= newest[-1]]
        self._drop([name for name in older if _images(name) not in stay])

    def _sizes(self) -> dict[str, int]:
        """Bytes of each file, by its name below the place."""
        try:
            found = self.fs.find(self.place, detail=True)
        except Exception as error:
            raise self._problem(error, "listed") from error
        start = f"{self.place}/"
        return {
            name.removeprefix(start): about["size"]
            for name, about in found.items()
            if name.startswith(start)
        }

    def _read(self, name: str) -> bytes | None:
        try:
            return bytes(self.fs.cat_file(f"{self.place}/{name}"))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._problem(error, "read") from error

    def _get(self, name: str, path: Path) -> None:
        try:
            self.fs.get_file(f"{self.place}/{name}", str(path))
        except FileNotFoundError:
            raise
        except Exception as error:
            raise self._problem(error, "read") from error

    def _put(self, path: Path, name: str) -> None:
        self._make_folder(name)
        self.fs.put_file(str(path), f"{self.place}/{name}")

    def _write(self, name: str, content: bytes) -> None:
        self._make_folder(name)
        self.fs.pipe_file(f"{self.place}/{name}", content)

    def _make_folder(self, name: str) -> None:
        if self.is_folder:  # buckets have none
            self.fs.makedirs(f"{self.place}/{name}".rpartition("/")[0], exist_ok=True)

    def _drop(self, names: list[str]) -> None:
        for name in sorted(names, key=_is_description, reverse=True):
            try:
                self.fs.rm_file(f"{self.place}/{name}")
            except FileNotFoundError:
                continue  # another run with the same inputs tidies up too
            except Exception as error:
                raise self._problem(error, "tidied") from error

    def _problem(self, error: Exception, done: str) -> GanpipeError:
        if isinstance(error, GanpipeError):
            return error
        reason = f"{type(error).__name__}: {error}".strip(": ")
        way_out = WAYS_OUT.get(self.protocol, "check the place and the credentials for it")
        return GanpipeError(
            f"train.state_url: {self.shown} cannot be {done} ({reason}): {way_out}, or set "
            "train.state_url='' to keep states on this machine only"
        )


def _is_description(name: str) -> bool:
    return name.startswith(f"{STATES}/state-") and name.endswith(".json")


def _images(name: str) -> int | None:
    """Images shown at the state or grid that a file belongs to, None for other files."""
    found = re.fullmatch(r"(?:states/state|grids/grid)-(\d+)\.\w+", name)
    return int(found[1]) if found else None
