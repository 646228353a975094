"""Planted drift is found, other halves of the same data are not taken for it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganpipe import registry
from ganpipe.data.pixels import to_pixels
from ganpipe.drift.champion import Champion, open_champion
from ganpipe.drift.comparing import INCOMING, SERVED, SHARES, Comparing
from ganpipe.drift.distance import distance
from ganpipe.drift.finding import Watched
from ganpipe.drift.incoming import Incoming
from ganpipe.drift.look import look
from ganpipe.drift.served import path_of
from ganpipe.errors import GanpipeError
from ganpipe.params.watch import WatchParams
from tests.drift.world import Change, World, blurred, digits, inverted, unseen

pytestmark = pytest.mark.slow  # the champion's reference is a real one

DISTANCE, CLASSES = "kid_classifier of incoming images", "shares of incoming images"


@pytest.fixture(scope="session")
def champion(world: World, tmp_path_factory: pytest.TempPathFactory) -> Champion:
    version = registry.find(world.uri, "champion", "ganpipe")
    return open_champion(world.folder, world.uri, version, tmp_path_factory.mktemp("reference"))


def came(champion: Champion, folder: Path, labelled: bool = True) -> Incoming:
    """What `take` gives, without its processes."""
    files = sorted(folder.rglob("*.png"))
    images = np.stack([to_pixels(file.read_bytes(), champion.shape) for file in files])
    return Incoming(images, [file.parent.name for file in files] if labelled else [], {})


def compared(champion: Champion, folder: Path, labelled: bool = True, **asked: Any) -> Comparing:
    comparing = Comparing(champion, WatchParams(**asked))
    comparing.incoming(came(champion, folder, labelled))
    return comparing


def drifted(comparing: Comparing | Watched) -> list[str]:
    return [each.measure for each in comparing.findings if each.drifted]


@pytest.mark.parametrize("labelled", [True, False])
def test_another_part_of_the_same_data_is_no_drift(
    champion: Champion, tmp_path: Path, labelled: bool
) -> None:
    for seed in range(8):
        folder = digits(tmp_path / str(seed), unseen(seed, 100 + 60 * seed))
        found = compared(champion, folder, labelled, seed=seed)
        assert [each.measure for each in found.findings] == [DISTANCE, CLASSES]
        assert drifted(found) == [], seed
        assert found.by_classifier is not labelled


@pytest.mark.parametrize("change", [inverted, blurred])
def test_other_pictures_of_the_same_classes_drift(
    champion: Champion, tmp_path: Path, change: Change
) -> None:
    for seed in range(3):
        folder = digits(tmp_path / str(seed), unseen(seed, 150), change)
        assert drifted(compared(champion, folder, seed=seed)) == [DISTANCE]


@pytest.mark.parametrize("labelled", [True, False])
def test_another_mix_of_classes_drifts(champion: Champion, tmp_path: Path, labelled: bool) -> None:
    folder = digits(tmp_path / "half", unseen(0, 300, range(5)))
    found = compared(champion, folder, labelled)
    assert drifted(found) == [DISTANCE, CLASSES]
    missing = [each for each in found.shares if each.name in "56789"]
    assert sum(each.expected for each in missing) == pytest.approx(0.5, abs=0.1)
    assert sum(each.found for each in missing) < (0.01 if labelled else 0.08)


def test_a_new_class_counts_as_drift_of_the_classes(champion: Champion, tmp_path: Path) -> None:
    chosen = unseen(0, 300)
    digits(tmp_path / "in", chosen[:255])
    folder = digits(tmp_path / "in", chosen[255:], name=lambda _: "owl")
    found = compared(champion, folder)
    assert drifted(found) == [CLASSES]
    assert {each.name: each.found for each in found.shares}["owl"] == pytest.approx(0.15)
    assert drifted(compared(champion, folder, shares=0.3)) == []


def test_thresholds_are_what_was_asked_for(champion: Champion, tmp_path: Path) -> None:
    folder = digits(tmp_path / "in", unseen(0, 200), inverted)
    found = compared(champion, folder).findings[0]
    share = WatchParams().distance * found.value / found.threshold
    assert drifted(compared(champion, folder, distance=share * 0.99)) == [DISTANCE]
    assert drifted(compared(champion, folder, distance=share * 1.01)) == []


def test_served_samples_are_held_against_the_champions_own_distance(
    champion: Champion, tmp_path: Path
) -> None:
    """Digits stand for the samples of a champion that is nearly perfect, or as blurred as these."""
    params = WatchParams(served=str(tmp_path))
    path = path_of(tmp_path, champion.generator_sha256)

    def samples(seed: int, *change: Change) -> np.ndarray:
        folder = tmp_path / f"{seed}{[each.__name__ for each in change]}"
        return came(champion, digits(folder, unseen(seed, 300), *change)).images

    def found(images: np.ndarray, own: dict[str, float] | None) -> Comparing:
        np.savez(path, images=images)
        comparing = Comparing(replace(champion, own=own), params)
        comparing.served(tmp_path)
        return comparing

    def measured(images: np.ndarray) -> dict[str, float]:
        real = Comparing(champion, params).real
        told = distance(real, champion.extractor()(images), 0)
        return {"value": told.value, "low": told.low, "high": told.high}

    good, bad = measured(samples(1)), measured(samples(1, blurred))
    for seed in (2, 3, 4):
        served = found(samples(seed), good)
        assert [each.measure for each in served.findings] == ["kid_classifier of served images"]
        assert drifted(served) == []
        assert drifted(found(samples(seed, blurred), good)) == ["kid_classifier of served images"]
        assert drifted(found(samples(seed, blurred), bad)) == [], "as good as it ever was"
    repeated = found(np.repeat(samples(2)[:50], 8, axis=0), good)
    assert repeated.left_out[SERVED].startswith("50 samples, at least 100")
    assert "was measured" in found(samples(2), None).left_out[SERVED]
    path.write_bytes(b"rubbish")
    with pytest.raises(GanpipeError, match="holds no served samples"):
        Comparing(champion, params).served(tmp_path)
    path.unlink()
    nothing = Comparing(champion, params)
    nothing.served(tmp_path)
    assert nothing.left_out[SERVED].startswith("no service has kept samples of it")


def test_a_watch_counts_each_file_once_and_waits_for_enough(world: World, tmp_path: Path) -> None:
    version = registry.find(world.uri, "champion", "ganpipe")
    numbers = unseen(0, 260)

    def watch(**asked: Any) -> Watched:
        params = WatchParams(source="folder", path=str(tmp_path / "in"), **asked)
        return look(world.folder, world.uri, version, params)

    digits(tmp_path / "in", numbers[:90])
    few = watch()
    few.remember()
    assert (few.listed, few.new, few.looked_at, few.findings) == (90, 90, 0, ())
    assert "90 images that were not counted before, and at least 100" in few.left_out[INCOMING]
    digits(tmp_path / "in", numbers[90:150])
    enough = watch()
    assert (enough.new, enough.looked_at, enough.set_aside) == (150, 150, {})
    assert drifted(enough) == []
    # killed before it had told what it found: the next one finds the same
    again = watch()
    assert (again.findings, again.shares) == (enough.findings, enough.shares)
    assert again.pictures[INCOMING].tobytes() == enough.pictures[INCOMING].tobytes()
    again.remember()
    assert watch().new == 0
    assert watch(only_new=False).looked_at == 150
    # the reference stays at hand, and drift among the new is not drowned by the old
    cache, away = world.state / "cache", world.state / "away"
    cache.rename(away)
    try:
        digits(tmp_path / "in", numbers[150:], inverted)
        late = watch()
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        away.rename(cache)
    assert late.new == 110
    assert drifted(late) == [DISTANCE]


def test_as_trained_it_counts_what_came_to_the_champions_own_source_since_it_learnt(
    world: World,
) -> None:
    version = registry.find(world.uri, "champion", "ganpipe")

    def watch(version: Any = version, **asked: Any) -> Watched:
        return look(world.folder, world.uri, version, WatchParams(most=300, **asked))

    everything = watch(only_new=False)
    assert (everything.champion, everything.listed) == ("ganpipe version 1", 700)
    assert (everything.looked_at, drifted(everything)) == (300, [])
    nothing = watch()
    nothing.remember()
    assert (nothing.new, nothing.findings, nothing.others) == (0, (), {})
    came = unseen(0, 120)
    digits(world.trained, came, inverted, name=lambda _: "came")
    try:
        drift = watch()
        assert (drift.new, drifted(drift)) == (120, [DISTANCE, CLASSES])
        assert drift.others["count"] == 820
        assert drift.before == everything.before != drift.others["digest"]
        drift.remember()
        # counted against one champion, it is not counted again for the next
        world.register(2, 15.0)
        second = registry.find(world.uri, "champion", "ganpipe")
        assert second.version != version.version
        assert watch(second).new == 0
    finally:
        shutil.rmtree(world.trained / "came")


def test_the_reference_takes_no_second_place_on_the_disk(champion: Champion) -> None:
    files = [path for path in champion.test.folder.rglob("*") if path.is_file()]
    assert files
    assert all(path.stat().st_nlink > 1 for path in files)


def test_a_reference_that_is_nowhere_is_named(world: World, tmp_path: Path) -> None:
    version = registry.find(world.uri, "champion", "ganpipe")
    cache, away = world.state / "cache", world.state / "away"
    cache.rename(away)
    try:
        with pytest.raises(GanpipeError, match="is whole neither in the cache nor"):
            open_champion(world.folder, world.uri, version, tmp_path / "reference")
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        away.rename(cache)
    assert not [path for path in (tmp_path / "reference").rglob("*") if path.is_file()]


def test_without_classes_the_shares_are_left_out_with_the_reason(
    champion: Champion, tmp_path: Path
) -> None:
    folder = digits(tmp_path / "in", unseen(0, 100))
    found = compared(replace(champion, class_counts={}), folder)
    assert [each.measure for each in found.findings] == [DISTANCE]
    assert found.left_out == {SHARES: "the champion's images have no classes"}


def test_the_reference_of_another_version_goes_and_is_never_taken_half_for_whole(
    world: World, tmp_path: Path
) -> None:
    version = registry.find(world.uri, "champion", "ganpipe")
    for left in ("0123", ".4567.gone"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "train.npy").write_text("of another champion")
    found = open_champion(world.folder, world.uri, version, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        found.reference.folder.name,
        found.test.folder.name,
    }


def test_features_of_another_network_are_not_compared(champion: Champion) -> None:
    protocol = champion.reference.protocol | {"weights_sha256": "0" * 64}
    other = replace(champion, reference=replace(champion.reference, protocol=protocol))
    with pytest.raises(GanpipeError, match="was made with the feature network"):
        other.extractor()
