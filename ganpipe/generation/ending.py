"""The end of a request: files about all images, and the description that makes them whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

from ganpipe import __version__
from ganpipe.data.dataset import DESCRIPTION as DATASET
from ganpipe.generation.formats import dataset_json, digest, last_files
from ganpipe.generation.opening import as_bytes, note_name
from ganpipe.generation.place import DESCRIPTION, Place
from ganpipe.generation.request import Request


def finish(
    request: Request, place: Place, identity: dict[str, Any], parts: int, dropped: dict[str, int]
) -> dict[str, Any]:
    """Write the files about all images, the description as the last one, and publish.

    Returns the description: the request, the version, and sha256 of what was written.
    """
    hashes: dict[str, str] = {}
    for name, content in last_files(request, _notes(place, parts)):
        hasher = sha256()
        place.stream(name, _hashed(content, hasher))
        hashes[name] = hasher.hexdigest()
    classes: Counter[int] = Counter()
    for note in _notes(place, parts):
        classes.update(note["labels"])
        hashes |= {name: stamp[1] for name, stamp in note["files"].items()}
    png = request.params.format == "png"
    if request.params.format == "shards":
        described = dataset_json(request, digest(hashes))
        place.write({DATASET: described})
        hashes[DATASET] = sha256(described).hexdigest()
    sizes = [size for name, size in place.begun().items() if name in hashes]
    names = request.generator.classes
    description = {
        "model": request.params.model,
        "version": request.version,
        "generator_sha256": request.generator_sha256,
        "ganpipe": __version__,
        "request": identity,
        "count": request.params.n,
        "class_counts": {name: classes[number] for number, name in enumerate(names)},
        "dropped": dropped,
        "files": len(sizes),
        "bytes": sum(sizes),
        "sha256": digest(hashes),
        # those of PNG files are in metadata.jsonl
        "sha256_of": {
            name: hashes[name] for name in sorted(hashes) if not (png and name[0].isdigit())
        },
    }
    place.write({DESCRIPTION: as_bytes(description)})
    place.publish()
    return description


def _notes(place: Place, parts: int) -> Iterator[dict[str, Any]]:
    for number in range(parts):
        yield place.noted(note_name(number))


def _hashed(content: Iterable[bytes], hasher: Any) -> Iterator[bytes]:
    for piece in content:
        hasher.update(piece)
        yield piece
