"""The work of `ganpipe generate`: parts of images one after the other, noted when they are whole.

Started again after a kill, it takes up the notes and ends with the bytes of a run that was never
interrupted; a part that was noted is not made again.
"""

from __future__ import annotations

import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe import compute
from ganpipe.errors import GanpipeError
from ganpipe.events import progress
from ganpipe.generation import opening
from ganpipe.generation.drops import Drops
from ganpipe.generation.ending import finish
from ganpipe.generation.folder import Folder
from ganpipe.generation.formats import part_files, rows_of
from ganpipe.generation.place import Place, open_place
from ganpipe.generation.request import Request, prepare
from ganpipe.generation.samples import Cursor, Draws, images_of
from ganpipe.params.generate import GenerateParams
from ganpipe.workspace import state_folder

STAGE = "generate"
MOST_TRIES = 50  # samples for one image: by then hardly a new one comes any more


@dataclass(frozen=True)
class Written:
    """What lies at a destination."""

    destination: str
    description: dict[str, Any]
    """As in generation.json."""
    made: int
    """Images that were made now: fewer than n where earlier work was taken up."""


def told(written: Written) -> str:
    """What was written, in one line."""
    about = written.description
    dropped = [f"{count:,} {why}" for why, count in sorted(about["dropped"].items()) if count]
    return (
        f"{about['count']} images and grid.png in {written.destination}"
        + (f"; replaced samples: {', '.join(dropped)}" if dropped else "")
        + ("" if written.made else " (all were there already)")
    )


@dataclass
class _Part:
    """Kept images that wait to be written."""

    number: int
    first: int
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.numbers)


def generate(params: GenerateParams, repo: Path, *, rows: int = 0) -> Written:
    """Make images and write them; or go on, or say that they are all there already.

    `repo` is the repository, whose state folder keeps registered models (for a model in a folder
    any folder will do). `rows` is for tests: images in a part. Uses and settles this process's
    torch. Raises GanpipeError for a bad request, a destination with anything else in it, or
    when too many samples are dropped.
    """
    params = params.model_copy(update={"threads": params.threads or compute.cores()})
    compute.settle(params.threads)
    state = state_folder(repo)
    request = prepare(params, state)
    with closing(Drops(request, repo)) as drops:
        identity = request.identity() | drops.identity
        destination = params.destination or opening.own_folder(state, request, identity)
        with closing(open_place(destination)) as place:
            if done := opening.already(place, identity, replace=params.replace):
                return Written(place.shown, done, 0)
            notes = opening.begin(place, identity, replace=params.replace)
            job = _Job(request, place, drops, notes, rows or rows_of(request))
            made = job.run()
            about = finish(request, place, identity, job.part.number, dict(drops.counts))
            return Written(place.shown, about, made)


class _Job:
    def __init__(
        self, request: Request, place: Place, drops: Drops, notes: list[str], rows: int
    ) -> None:
        self.request, self.place, self.drops, self.rows = request, place, drops, rows
        self.draws = Draws(request)
        self.cursor, first = Cursor(), 0
        for name in notes:
            note = place.noted(name)
            drops.go_on(note)
            self.cursor = Cursor.of_json(note["next"])
            first += len(note["numbers"])
        self.part = _Part(len(notes), first)

    def run(self) -> int:
        """Make what is missing; returns how many images that were."""
        total, begun = self.request.params.n, self.part.first
        self._check_room(total - begun)
        if begun:
            print(f"going on at image {begun:,} of {total:,}", flush=True)
        writing: Future[None] | None = None
        with (
            progress(STAGE, "making images", total) as bar,
            # the network computes while the part before is written
            ThreadPoolExecutor(1) as writer,
        ):
            bar.skip(begun)
            while self.part.first + len(self.part) < total:
                bar.advance(self._round())
                whole = len(self.part) >= self.rows
                if whole or self.part.first + len(self.part) == total:
                    if writing is not None:
                        writing.result()
                    note = {"next": self.cursor.as_json(), "dropped": dict(self.drops.counts)}
                    writing = writer.submit(self._write, self.part, note)
                    self.part = _Part(self.part.number + 1, self.part.first + len(self.part))
            if writing is not None:
                writing.result()
        return total - begun

    def _round(self) -> int:
        """Make the samples of the next round; returns how many were kept."""
        made = self.cursor.next_round(self.draws)
        images = images_of(self.draws, made)
        dropped, hashes = self.drops.judge(images, made.labels)
        kept = np.flatnonzero(~np.array(dropped))
        if len(kept) < len(images):
            images = images[kept]
            for tries, gone in zip(made.tries, dropped, strict=True):
                if gone and tries == MOST_TRIES:
                    raise self._exhausted()
        self.part.images.append(images)
        self.part.numbers += (made.first + kept).tolist()
        if made.labels is not None:
            self.part.labels += made.labels[kept].tolist()
        self.part.hashes += hashes
        self.cursor = self.cursor.after(made, dropped)
        return len(kept)

    def _write(self, part: _Part, note: dict[str, Any]) -> None:
        files = part_files(self.request, part.number, part.first, part.images, part.labels)
        self.place.write(files)
        note |= {
            "numbers": part.numbers,
            "labels": part.labels,
            "hashes": part.hashes,
            "files": {
                name: [len(content), sha256(content).hexdigest()] for name, content in files.items()
            },
        }
        self.place.note(opening.note_name(part.number), note)

    def _exhausted(self) -> GanpipeError:
        params, counts = self.request.params, self.drops.counts
        told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()) if count)
        kept = self.part.first + len(self.part)
        return GanpipeError(
            f"n={params.n} cannot be reached: after {kept:,} images {MOST_TRIES} samples in a row "
            f"for the same image were dropped ({told} in all). The generator makes too few that "
            f"may stay: lower n, use filter=none, or for near duplicates a smaller near_distance "
            f"than {params.near_distance}"
        )

    def _check_room(self, images: int) -> None:
        """Shards have a known size: say so before hours of work."""
        if self.request.params.format != "shards" or not isinstance(self.place, Folder):
            return
        config = self.request.generator.config
        needed = images * config.image_height * config.image_width * config.image_channels
        free = shutil.disk_usage(self.place.work).free
        if needed > free:
            raise GanpipeError(
                f"{self.place.shown} needs {needed / 1e9:,.1f} GB for {images:,} more images, and "
                f"{free / 1e9:,.1f} GB are free there: make room, lower n, or name another place "
                "with --out"
            )
