"""The cache of ingest: it saves reading and decoding, and never changes a byte."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganpipe.data import cache, find
from ganpipe.data.cache import IngestCache
from ganpipe.data.ingest import ingest
from ganpipe.data.manifest import read_manifest
from ganpipe.data.sources.base import Entry
from ganpipe.data.sources.digits import Digits
from ganpipe.errors import GanpipeError
from ganpipe.files import write_json
from tests.data.conftest import ONE, Pile, chosen, pile_of, png, tree

Fresh = Callable[..., dict[str, str]]
FILES = {**pile_of(10), "b/zz.png": png(0), "a/bad.png": b"no image"}
ONE_MORE = {**FILES, "a/0000x.png": png(500)}
quietly = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Ingest of some files, or a Pile, with the cache of this test; the tree of data/raw."""

    def ingested(files: dict[str, bytes] | Pile, **changes: Any) -> dict[str, str]:
        pile = files if isinstance(files, Pile) else Pile(files)
        ingest(pile, tmp_path / "raw", chosen(**changes), ONE, tmp_path / "cache")
        return tree(tmp_path / "raw")

    return ingested


def cached(root: Path) -> Path:
    """The folder of the only source in a cache."""
    (folder,) = (root / "cache").iterdir()
    return folder


def test_an_unchanged_source_is_neither_read_nor_decoded(
    run: Fresh, fresh: Fresh, decoded: list[bytes]
) -> None:
    expected = fresh(FILES)
    assert run(FILES) == expected
    decoded.clear()
    again = Pile(FILES)
    assert run(again) == expected
    assert again.reads == decoded == []


def test_a_new_file_alone_is_read(run: Fresh, fresh: Fresh, decoded: list[bytes]) -> None:
    run(FILES)
    decoded.clear()
    pile = Pile(ONE_MORE)
    assert run(pile) == fresh(ONE_MORE)
    assert pile.reads == ["a/0000x.png"]
    assert decoded[:1] == [png(500)]


def test_other_parameters_decode_nothing_again(run: Fresh, fresh: Fresh) -> None:
    run(FILES)
    pile = Pile(FILES)
    assert run(pile, min_images=5) == fresh(FILES)
    assert pile.reads == []


def test_looking_for_near_duplicates_reads_nothing_from_the_source_again(
    run: Fresh, fresh: Fresh, decoded: list[bytes]
) -> None:
    """The hash is made from the shards of the last ingest, and kept when nobody asks for it."""
    alike = {"near_duplicates": "set-aside"}
    run(FILES)
    pile = Pile(FILES)
    assert run(pile, **alike) == fresh(FILES, chosen(**alike))
    assert run(pile) == fresh(FILES)
    decoded.clear()
    assert run(pile, **alike) == run(pile, **alike)
    assert decoded == []
    assert pile.reads == []


def test_a_changed_tag_is_read_again(run: Fresh, fresh: Fresh, decoded: list[bytes]) -> None:
    changed = {**FILES, "a/0002.png": png(77)}
    run(FILES)
    pile = Pile(changed)
    assert run(pile) == fresh(changed)
    assert pile.reads == ["a/0002.png"]
    run(changed)
    decoded.clear()
    touched = Pile(changed, tags={"a/0004.png": "now"})
    after = run(touched)
    assert decoded == []
    assert after == fresh(changed)
    assert touched.reads == ["a/0004.png"]


def test_known_bytes_under_another_name_are_not_decoded_again(
    run: Fresh, fresh: Fresh, decoded: list[bytes]
) -> None:
    renamed = {path.replace("a/", "c/"): payload for path, payload in FILES.items()}
    run(FILES)
    expected = fresh(renamed)
    decoded.clear()
    pile = Pile(renamed)
    assert run(pile) == expected
    assert set(pile.reads) == {path for path in renamed if path.startswith("c/")}
    assert decoded == []


def test_without_its_cache_the_same_bytes_come_out(
    run: Fresh, fresh: Fresh, tmp_path: Path
) -> None:
    run(FILES)
    with_cache = run(ONE_MORE)
    shutil.rmtree(tmp_path / "cache")
    assert run(ONE_MORE) == with_cache == fresh(ONE_MORE)


def test_a_duplicate_whose_original_is_gone_is_packed(run: Fresh, fresh: Fresh) -> None:
    run(FILES)
    fewer = {path: payload for path, payload in FILES.items() if path != "a/0000.png"}
    pile = Pile(fewer)
    assert run(pile) == fresh(fewer)
    assert pile.reads == []  # the same bytes were packed as those of the original
    other = Pile({**fewer, "b/zz.png": png(1) + b"stored otherwise"})
    assert run(other) == fresh(other.files)
    last = Pile({path: data for path, data in other.files.items() if path != "b/0001.png"})
    assert run(last) == fresh(last.files)
    assert last.reads == ["b/zz.png"]  # whose own bytes nobody has


def test_a_source_that_changes_between_two_looks_is_refused(run: Fresh) -> None:
    files = {**FILES, "c/zz.png": png(1) + b"stored otherwise"}
    run(files)
    del files["b/0001.png"]
    changed = {**files, "c/zz.png": png(2)}
    with pytest.raises(GanpipeError, match="changed while it was read"):
        run(
            Pile(
                changed,
                tags={"c/zz.png": Pile(files).entries[-1].tag},
                sizes=lambda b: len(b) if b != png(2) else len(files["c/zz.png"]),
            )
        )


@pytest.mark.parametrize("passing", ["not-readable", "missing"])
def test_what_could_not_be_read_is_tried_again(run: Fresh, fresh: Fresh, passing: str) -> None:
    """As after chmod, which changes neither size nor time."""
    first = run(Pile(FILES, failing={"b/0005.png": passing}))
    again = Pile(FILES)
    assert run(again) == fresh(FILES) != first
    assert again.reads == ["b/0005.png"]


def test_what_the_listing_sets_aside_is_so_whatever_was_known(run: Fresh, tmp_path: Path) -> None:
    run(FILES)
    pile = Pile(FILES, unread={"b/0005.png": "symlink"})
    run(pile)
    assert pile.reads == []
    rows = read_manifest(tmp_path / "raw").set_index("path")
    assert rows.loc["b/0005.png", "status"] == "symlink"


def test_sizes_of_a_listing_need_not_be_those_of_the_bytes(run: Fresh, tmp_path: Path) -> None:
    """Arrays are listed raw and read as PNG."""

    def first_byte(payload: bytes) -> int:
        return 7

    run(Pile(FILES, sizes=first_byte))
    with_cache = run(Pile(ONE_MORE, sizes=first_byte))
    shutil.rmtree(tmp_path / "cache")
    assert run(Pile(ONE_MORE, sizes=first_byte)) == with_cache


def test_digits_with_other_parameters_are_packed_from_the_cache(tmp_path: Path) -> None:
    for name, fraction in (("first", 0.1), ("second", 0.3)):
        params = chosen().model_copy(update={"test_fraction": fraction})
        ingest(Digits(), tmp_path / name, params, ONE, tmp_path / "cache")
    params = chosen().model_copy(update={"test_fraction": 0.3})
    ingest(Digits(), tmp_path / "fresh", params, ONE)
    assert tree(tmp_path / "second") == tree(tmp_path / "fresh") != tree(tmp_path / "first")


def test_other_libraries_look_again(
    run: Fresh, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(FILES)
    monkeypatch.setattr(cache, "version", lambda _: "99.0")
    pile = Pile(FILES)
    assert run(pile) == fresh(FILES)
    assert pile.reads == sorted(FILES)


def garble(path: Path) -> None:
    path.unlink()  # a hard link shares its bytes with data/raw
    path.write_bytes(b"{garbage")


def shorten(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-600])


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def overwrite(path: Path) -> None:
    """In place, so that data/raw, the same file, changes as well."""
    with path.open("r+b") as file:
        file.seek(700)
        file.write(b"changed")


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        *[("*.tar", damage) for damage in (Path.unlink, garble, shorten, touch, overwrite)],
        *[("*.stamp", damage) for damage in (Path.unlink, garble, shorten)],
        *[("*index.parquet", damage) for damage in (garble, shorten, overwrite)],
        *[("result.json", damage) for damage in (garble, shorten)],
        *[("manifest.parquet", damage) for damage in (garble, touch)],
        ("raw.json", garble),
    ],
)
def test_damage_to_the_cache_is_noticed(
    run: Fresh, fresh: Fresh, tmp_path: Path, part: str, damage: Callable[[Path], None]
) -> None:
    run(FILES)
    found = [path for path in cached(tmp_path).glob(part) if path.stat().st_size]
    assert found
    for path in found:
        damage(path)
    assert run(FILES) == fresh(FILES)
    assert run(ONE_MORE) == fresh(ONE_MORE)


def test_a_manifest_of_another_version_is_no_obstacle(
    run: Fresh, fresh: Fresh, tmp_path: Path
) -> None:
    run(FILES)
    folder = cached(tmp_path)
    manifest = folder / "manifest.parquet"
    pd.read_parquet(manifest).drop(columns="caption").to_parquet(folder / "old")
    (folder / "old").replace(manifest)
    write_json(folder / "manifest.parquet.stamp", cache._stamp(manifest))
    (folder / next(folder.glob("*.tar"))).unlink()
    assert run(ONE_MORE) == fresh(ONE_MORE)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A cache that knows FILES, and what comes of ONE_MORE."""
    root = tmp_path_factory.mktemp("prepared")
    ingest(Pile(ONE_MORE), root / "expected", chosen(), ONE)
    ingest(Pile(FILES), root / "raw", chosen(), ONE, root / "cache")
    return root, tree(root / "expected")


@settings(quietly, max_examples=12)
@given(st.data())
def test_a_cache_with_any_files_missing_changes_nothing(
    prepared: tuple[Path, dict[str, str]], data: st.DataObject
) -> None:
    root, expected = prepared
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(root / "cache", Path(folder) / "cache")
        names = sorted(path.name for path in cached(Path(folder)).iterdir())
        assert len(names) >= 7
        for name in data.draw(st.sets(st.sampled_from(names))):
            (cached(Path(folder)) / name).unlink()
        ingest(Pile(ONE_MORE), Path(folder) / "raw", chosen(), ONE, Path(folder) / "cache")
        assert tree(Path(folder) / "raw") == expected


class Killed(BaseException):
    """As SIGKILL: nothing after it is done."""


def test_a_keep_that_died_at_any_step_changes_nothing(
    prepared: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, expected = prepared
    steps = [0]
    for steps_before_death in range(0, 40, 3):
        home = tmp_path / str(steps_before_death)
        shutil.copytree(root / "cache", home / "cache")
        with monkeypatch.context() as patch:
            steps[0] = steps_before_death
            for owner, name in ((os, "link"), (Path, "unlink"), (cache, "write_json")):
                really = getattr(owner, name)

                def counted(*args: Any, really: Any = really, **how: Any) -> Any:
                    if steps[0] == 0:
                        raise Killed
                    steps[0] -= 1
                    return really(*args, **how)

                patch.setattr(owner, name, counted)
            keep = IngestCache.keep
            died = False
            try:
                keep(
                    IngestCache(cached(home)), "other", root / "expected", {"raw-00000.tar": "new"}
                )
            except Killed:
                died = True
        ingest(Pile(ONE_MORE), home / "raw", chosen(), ONE, home / "cache")
        assert tree(home / "raw") == expected
        if not died:
            break
    assert steps_before_death > 6
    assert not died


def test_two_at_once_on_one_cache_take_turns(
    fresh: Fresh, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, go_on = threading.Event(), threading.Event()

    class Slow(Pile):
        def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
            reading.set()
            assert go_on.wait(20)
            return super().read(wanted)

    piles = [Slow(FILES), Slow(FILES)]
    outputs = [tmp_path / "one" / "raw", tmp_path / "two" / "raw"]
    threads = [
        threading.Thread(target=ingest, args=(pile, output, chosen(), ONE, tmp_path / "cache"))
        for pile, output in zip(piles, outputs, strict=True)
    ]
    threads[0].start()
    assert reading.wait(20)
    threads[1].start()
    said, deadline = "", time.monotonic() + 20
    while "waiting for it" not in said:
        assert time.monotonic() < deadline
        said += capsys.readouterr().out
        time.sleep(0.02)
    go_on.set()
    for thread in threads:
        thread.join()
    assert tree(outputs[0]) == tree(outputs[1]) == fresh(FILES)
    assert len(piles[0].reads) == len(FILES)
    assert piles[1].reads == []


def test_sources_do_not_share_what_is_known(tmp_path: Path) -> None:
    files = pile_of(8)
    ingest(Pile(files), tmp_path / "one", chosen(), ONE, tmp_path / "cache")
    params = chosen().model_copy(update={"path": "another"})
    other = Pile({path: png(90 + n) for n, path in enumerate(files)}, tags=dict.fromkeys(files, ""))
    ingest(other, tmp_path / "two", params, ONE, tmp_path / "cache")
    assert len(other.reads) == 8


def test_shards_are_shared_with_the_cache_and_never_written_to_again(
    run: Fresh, tmp_path: Path
) -> None:
    run(FILES)
    shard = tmp_path / "raw" / "raw-00000.tar"
    (kept,) = cached(tmp_path).glob("*.tar")
    assert shard.samefile(kept)
    for name in tree(tmp_path / "raw"):
        os.link(tmp_path / "raw" / name, tmp_path / name)
    before = {name: (tmp_path / name).read_bytes() for name in tree(tmp_path / "raw")}
    run(ONE_MORE)
    run(pile_of(6))
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert len(list(cached(tmp_path).glob("*.tar"))) == 1


def test_a_shard_without_changes_is_not_written_again(
    run: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganpipe.data import ingest as module

    monkeypatch.setattr(module, "SHARD_BYTES", 3000)
    run(FILES)
    before = {path.stat().st_ino for path in (tmp_path / "raw").glob("*.tar")}
    run({**FILES, "b/zzz.png": png(700)})
    after = [path.stat().st_ino for path in sorted((tmp_path / "raw").glob("*.tar"))]
    assert len(after) >= 3
    assert set(after[:-2]) <= before


def test_a_cache_on_another_file_system_is_copied_to(fresh: Fresh, tmp_path: Path) -> None:
    memory = Path("/dev/shm")  # noqa: S108 - another file system is the point
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        ingest(Pile(FILES), tmp_path / "raw", chosen(), ONE, Path(folder))
        for files, reads in ((FILES, 0), (ONE_MORE, 1)):
            pile = Pile(files)
            shutil.rmtree(tmp_path / "raw")
            ingest(pile, tmp_path / "raw", chosen(), ONE, Path(folder))
            assert tree(tmp_path / "raw") == fresh(files)
            assert len(pile.reads) == reads


def test_a_run_that_fails_its_gates_is_not_read_twice(run: Fresh, fresh: Fresh) -> None:
    with pytest.raises(GanpipeError, match=r"data\.min_images=50"):
        run(FILES, min_images=50)
    pile = Pile({path: data for path, data in FILES.items() if path != "a/bad.png"})
    assert run(pile) == fresh(pile.files)
    assert sorted(pile.reads) == sorted(set(pile.files) - {"b/zz.png"})  # to pack, not to decode


def test_facts_hang_on_decoders_and_limits() -> None:
    one = find.limits_of(chosen())
    assert cache.facts_key(one) == cache.facts_key(one)
    assert cache.facts_key(one) != cache.facts_key(find.limits_of(chosen(max_pixels=99)))
