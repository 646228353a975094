"""Ingest: look at every file of a source, pack the good ones, write down all of them."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpipe.data.cache import IngestCache, Packed, facts_key, link_or_copy, open_cache
from ganpipe.data.decode import canonical, flatten, open_image
from ganpipe.data.examine import WHITE
from ganpipe.data.find import PASSING, Spool, find, limits_of
from ganpipe.data.gates import check_gates
from ganpipe.data.judge import judge, summarise
from ganpipe.data.manifest import SUMMARY, examples, write_manifest
from ganpipe.data.pack import (
    SHARD_BYTES,
    Member,
    ShardReader,
    extent,
    offsets,
    record,
    signature,
    write_shard,
)
from ganpipe.data.report.previews import PAIRS, write_previews
from ganpipe.data.shards import cuts
from ganpipe.data.sources.base import Source
from ganpipe.data.words import shown
from ganpipe.errors import GanpipeError
from ganpipe.files import read_json, replacing_folder, sha256, write_json
from ganpipe.params import ComputeParams, DataParams

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

MOST_AT_ONCE = 2**23  # bytes copied from an old shard in one piece
# what ingest reads of section data, as dvc.yaml lists it
PARAMETERS = (
    "source",
    "path",
    "labels",
    "test_fraction",
    "min_side",
    "max_pixels",
    "near_duplicates",
    "near_distance",
    "min_images",
    "max_set_aside",
    "min_per_class",
    "max_imbalance",
    "expected_classes",
)


def ingest(
    source: Source,
    output: Path,
    params: DataParams,
    compute: ComputeParams = ComputeParams(),  # noqa: B008 - frozen
    cache_root: Path | None = None,
) -> dict[str, Any]:
    """Write data/raw: tar shards of original bytes, manifest.parquet and raw.json.

    Every file of the source has a row in the manifest; those whose status is not `ok` are set
    aside, not packed. With a cache only new and changed files are read; the outcome is the same.
    Returns the summary. Raises GanpipeError when too little is left or a limit is broken.
    """
    name = f"{params.source} {params.path} {params.labels}"
    opened = open_cache(cache_root, name) if cache_root else nullcontext()
    with _without_collection(), opened as cache:
        key = _outcome_key(source, params)
        shards = None
        with replacing_folder(output) as folder:
            if cache is None or not cache.restore(key, folder):
                shards = _make(source, folder, params, compute, cache)
        summary: dict[str, Any] = read_json(output / SUMMARY)
        if cache is not None and shards is not None:
            passing = set(PASSING) & set(summary["statuses"])
            cache.keep("" if passing else key, output, shards)
    return summary


@contextmanager
def _without_collection() -> Iterator[None]:
    """No search for cycles meanwhile: millions of small objects, and none among them."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _outcome_key(source: Source, params: DataParams) -> str:
    """All that decides data/raw: the source's fingerprint, parameters, code and decoders."""
    here = Path(__file__).parent
    code = [f"{path.relative_to(here)} {sha256(path)}" for path in sorted(here.rglob("*.py"))]
    settings = params.model_dump(include=set(PARAMETERS))
    writers = [f"{name} {version(name)}" for name in ("pandas", "pyarrow")]
    parts = (source.fingerprint(), facts_key(limits_of(params)), settings, code, writers)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _make(
    source: Source,
    folder: Path,
    params: DataParams,
    compute: ComputeParams,
    cache: IngestCache | None,
) -> dict[str, str]:
    """Fill `folder`; returns name and signature of each shard in it."""
    beside = folder / "spool"
    with beside.open("w+b") as file:
        spool = Spool(file)
        found = find(source, params, compute, cache, spool)
        frame = judge(found, params)
        summary = summarise(frame, source, params)
        try:
            check_gates(summary, params)
        except GanpipeError as error:
            raise GanpipeError("\n".join([str(error), *examples(frame)])) from None
        _write_previews(frame, source, spool, params, folder)
        shards = _pack(frame, source, spool, folder, cache)
    beside.unlink()
    write_manifest(frame, folder)
    write_json(folder / SUMMARY, summary)
    return shards


def _pack(
    frame: pd.DataFrame,
    source: Source,
    spool: Spool,
    folder: Path,
    cache: IngestCache | None,
) -> dict[str, str]:
    """Write the tar shards and note each file's place in its row; returns their signatures."""
    good = frame.index[frame["status"] == "ok"]
    columns = (frame.loc[good, name].tolist() for name in ("path", "bytes", "sha256"))
    members = [Member(*fields) for fields in zip(*columns, strict=True)]
    plan = {}
    for number, (start, stop) in enumerate(cuts(((m.path, m.size) for m in members), SHARD_BYTES)):
        name = f"raw-{number:05d}.tar"
        plan[name] = (members[start:stop], signature(members[start:stop]))
        rows = good[start:stop]
        frame.loc[rows, "shard"] = name
        frame.loc[rows, "offset"] = offsets(members[start:stop])
    fresh = {}
    for name, (part, signed) in plan.items():
        kept = cache.shard(signed) if cache else None
        if kept is not None:
            link_or_copy(kept, folder / name)
        else:
            fresh[name] = part
    unread = {m.path: m for part in fresh.values() for m in part if m.path not in spool.places}
    packed = cache.packed() if cache and unread else {}
    _read_again(source, [m for m in unread.values() if m.sha256 not in packed], spool)
    with ShardReader() as reader:
        for name, part in fresh.items():
            write_shard(folder / name, _records(part, spool, packed, reader))
    return {name: signed for name, (_, signed) in plan.items()}


def _records(
    members: list[Member], spool: Spool, packed: dict[str, Packed], reader: ShardReader
) -> Iterator[bytes]:
    """What a shard is made of: members just read, and runs of members copied from old shards."""
    shard, start, end = Path(), 0, 0  # the run so far
    for member in members:
        place = None if member.path in spool.places else packed[member.sha256]
        if place is not None and place.path == member.path:
            first, last = extent(member, place.offset)
            if place.shard == shard and first == end and last - start < MOST_AT_ONCE:
                end = last
                continue
        if end > start:
            yield reader.read(shard, start, end - start)
            start = end = 0
        if place is None:
            yield record(member, spool.read(member.path, member.size))
        elif place.path != member.path:
            yield record(member, reader.read(place.shard, place.offset, member.size))
        else:
            shard, start, end = place.shard, first, last
    if end > start:
        yield reader.read(shard, start, end - start)


def _write_previews(
    frame: pd.DataFrame, source: Source, spool: Spool, params: DataParams, folder: Path
) -> None:
    """Keep small pictures of the first near duplicates: their bytes are not packed."""
    near = frame[frame["status"] == "near-duplicate-of"].head(PAIRS)
    if near.empty:
        return
    columns = (near[name].tolist() for name in ("path", "bytes", "sha256"))
    members = [Member(*fields) for fields in zip(*columns, strict=True)]
    _read_again(source, [member for member in members if member.path not in spool.places], spool)
    write_previews(
        folder,
        [(m.path, _picture(spool.read(m.path, m.size), params.max_pixels)) for m in members],
    )


def _picture(payload: bytes, max_pixels: int) -> Image.Image:
    with open_image(payload, max_pixels) as image:
        return flatten(canonical(image), "RGB", WHITE)


def _read_again(source: Source, members: list[Member], spool: Spool) -> None:
    """Spool bytes that nobody kept, as of a duplicate whose original is gone."""
    wanted = {member.path: member for member in members}
    for entry, payload in source.read([e for e in source.entries if e.path in wanted]):
        if hashlib.sha256(payload).hexdigest() != wanted[entry.path].sha256:
            raise GanpipeError(
                f"{shown(entry.path)!r} changed while it was read: run again when nothing writes "
                f"to the source"
            )
        spool.add(entry.path, payload)
