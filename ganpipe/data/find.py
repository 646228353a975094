"""What is in a source: every file read and decoded once, or known from an earlier ingest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

from ganpipe.data.cache import IngestCache, Seen, facts_key
from ganpipe.data.engine import WorkerDied, open_engine
from ganpipe.data.examine import Facts, Limits, examine_all
from ganpipe.data.pack import ShardReader
from ganpipe.data.sources.base import Entry, Source
from ganpipe.events import Progress, progress
from ganpipe.params import ComputeParams, DataParams

CHUNK_FILES, CHUNK_BYTES = 64, 4 * 2**20
# set aside for reasons that may be gone next time, so that the next ingest looks again
PASSING = ("missing", "not-readable", "crashes-decoder")


class Spool:
    """The bytes that were read, one file after another."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.places: dict[str, int] = {}
        self._end = 0

    def add(self, path: str, payload: bytes) -> None:
        self.file.seek(self._end)
        self.file.write(payload)
        self.places[path] = self._end
        self._end += len(payload)

    def read(self, path: str, size: int) -> bytes:
        self.file.seek(self.places[path])
        return self.file.read(size)


@dataclass
class Found:
    """The files of a source, ordered by path; all lists run along the entries."""

    entries: list[Entry]
    sizes: list[int]
    """Bytes."""
    sha256: list[str]
    """Of the bytes; empty where they were not read."""
    facts: list[Facts]


def find(
    source: Source,
    params: DataParams,
    compute: ComputeParams,
    cache: IngestCache | None,
    spool: Spool,
) -> Found:
    """Read and examine what the cache does not know; bytes that can be used go to the spool."""
    search = _Search(source, limits_of(params), cache)
    readable = sum(not entry.status for entry in source.entries)
    if known := readable - len(search.unread):
        print(f"ingest: {known} files are known, {len(search.unread)} are looked at")
    with progress("ingest", "reading images", len(source.entries)) as bar:
        search.read(compute, spool, bar)
    search.save()
    return search.found


def limits_of(params: DataParams) -> Limits:
    return Limits(params.max_pixels, perceptual=params.near_duplicates != "keep")


class _Search:
    def __init__(self, source: Source, limits: Limits, cache: IngestCache | None) -> None:
        self.source, self.limits, self.cache = source, limits, cache
        self.key = facts_key(limits)
        listed, self.known = cache.facts(self.key) if cache else ({}, {})
        entries = list(source.entries)
        self.found = Found(
            entries,
            [entry.size for entry in entries],
            [""] * len(entries),
            [Facts(entry.status) for entry in entries],
        )
        self.unread: dict[str, int] = {}
        # unchanged, but examined without the perceptual hash that is needed now
        self.unhashed: dict[str, Seen] = {}
        for number, entry in enumerate(entries):
            if entry.status:
                continue
            seen = listed.get(entry.path)
            if seen is None or (seen.size, seen.tag) != (entry.size, entry.tag):
                self.unread[entry.path] = number
            elif self._is_enough(self.known[seen.sha256]):
                self._settle(number, seen.sha256, self.known[seen.sha256], seen.bytes)
            else:
                self.unread[entry.path] = number
                self.unhashed[entry.path] = seen

    def read(self, compute: ComputeParams, spool: Spool, bar: Progress) -> None:
        bar.skip(len(self.found.entries) - len(self.unread))
        if not self.unread:
            return
        function = partial(examine_all, limits=self.limits)
        with open_engine(compute) as engine:
            for rows, payloads, results in engine.map(function, self._chunks(spool, bar)):
                for (number, sha256), payload, facts in zip(rows, payloads, results, strict=True):
                    seen = Facts("crashes-decoder") if isinstance(facts, WorkerDied) else facts
                    self._keep(number, sha256, seen, payload, spool)
                bar.advance(len(rows))

    def _chunks(
        self, spool: Spool, bar: Progress
    ) -> Iterator[tuple[list[tuple[int, str]], list[bytes]]]:
        """Files to examine, with number and sha256 of each; known bytes are settled at once."""
        rows: list[tuple[int, str]] = []
        payloads: list[bytes] = []
        for entry, payload in self._payloads():
            number = self.unread[entry.path]
            if entry.status:
                self.found.facts[number] = Facts(entry.status)
                bar.advance()
                continue
            sha256 = hashlib.sha256(payload).hexdigest()
            if sha256 in self.known and self._is_enough(self.known[sha256]):
                self._keep(number, sha256, self.known[sha256], payload, spool)
                bar.advance()
                continue
            rows.append((number, sha256))
            payloads.append(payload)
            if len(rows) == CHUNK_FILES or sum(map(len, payloads)) >= CHUNK_BYTES:
                yield rows, payloads
                rows, payloads = [], []
        if rows:
            yield rows, payloads

    def _payloads(self) -> Iterator[tuple[Entry, bytes]]:
        """What is to be examined: from the shards of the last ingest, or from the source."""
        packed = self.cache.packed() if self.cache and self.unhashed else {}
        here = {path for path, seen in self.unhashed.items() if seen.sha256 in packed}
        with ShardReader() as reader:
            for path in sorted(here, key=lambda path: packed[self.unhashed[path].sha256]):
                seen = self.unhashed[path]
                entry = self.found.entries[self.unread[path]]
                place = packed[seen.sha256]
                yield entry, reader.read(place.shard, place.offset, seen.bytes)
        wanted = [self.found.entries[n] for path, n in self.unread.items() if path not in here]
        yield from self.source.read(wanted)

    def _is_enough(self, facts: Facts) -> bool:
        wanted = self.limits.perceptual and facts.status == "ok"
        return not wanted or facts.perceptual_hash != ""

    def _keep(self, number: int, sha256: str, facts: Facts, payload: bytes, spool: Spool) -> None:
        self._settle(number, sha256, facts, len(payload))
        if facts.status == "ok":
            spool.add(self.found.entries[number].path, payload)

    def _settle(self, number: int, sha256: str, facts: Facts, size: int) -> None:
        # a listing may know another size: arrays are stored raw, and read as PNG
        self.found.sizes[number] = size
        self.known[sha256] = facts
        told = facts if self.limits.perceptual else facts._replace(perceptual_hash="")
        self.found.sha256[number], self.found.facts[number] = sha256, told

    def save(self) -> None:
        """Tell the next ingest; not what may be otherwise by then."""
        if self.cache is None:
            return
        found = self.found
        rows = [
            number
            for number, facts in enumerate(found.facts)
            if found.sha256[number] and facts.status not in PASSING
        ]
        columns: dict[str, list[Any]] = {
            "path": [found.entries[number].path for number in rows],
            "size": [found.entries[number].size for number in rows],
            "tag": [found.entries[number].tag for number in rows],
            "sha256": [found.sha256[number] for number in rows],
            "bytes": [found.sizes[number] for number in rows],
        }
        for place, name in enumerate(Facts._fields):
            columns[name] = [self.known[found.sha256[number]][place] for number in rows]
        self.cache.save_facts(self.key, columns)
