"""Which files are used: duplicates, sides and classes, from facts alone."""

from __future__ import annotations

import hashlib
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganpipe.data.examine import Facts
from ganpipe.data.find import Found
from ganpipe.data.judge import judge, summarise
from ganpipe.data.sources.base import Entry
from ganpipe.errors import GanpipeError
from tests.data.conftest import Pile, chosen


def facts(content: object, status: str = "ok", **changes: Any) -> Facts:
    """Of a picture that `content` stands for."""
    pixels = hashlib.sha256(repr(content).encode()).hexdigest()
    if status != "ok":
        return Facts(status)
    return Facts("ok", "PNG", 20, 16, "RGB", pixels, "0" * 16)._replace(**changes)


def found(files: dict[str, Facts], labels: dict[str, str] | None = None, **more: Any) -> Found:
    """`files`: path -> what it is; `more`: splits of entries."""
    paths = sorted(files)
    labels, splits = labels or {}, more.get("splits", {})
    entries = [
        Entry(path, 9, "", labels.get(path, ""), splits.get(path, ""), f"of {path}")
        for path in paths
    ]
    return Found(entries, [9] * len(paths), ["0" * 64] * len(paths), [files[p] for p in paths])


def judged(files: dict[str, Facts], params: Any = None, **more: Any) -> pd.DataFrame:
    return judge(found(files, **more), params or chosen()).set_index("path")


def test_the_first_by_path_of_equal_images_stays() -> None:
    rows = judged({"c": facts(1), "a": facts(1), "d": facts(2), "b": facts(1)})
    assert rows["status"].to_dict() == {
        "a": "ok",
        "b": "duplicate-of",
        "c": "duplicate-of",
        "d": "ok",
    }
    assert rows["of"].to_dict() == {"a": "", "b": "a", "c": "a", "d": ""}
    assert rows["caption"].tolist() == ["of a", "of b", "of c", "of d"]


def test_an_image_that_is_too_small_or_broken_is_nobodys_original() -> None:
    rows = judged(
        {"a": facts(1, "truncated"), "b": facts(2, height=3), "c": facts(2, width=4), "d": facts(2)}
    )
    assert rows["status"].tolist() == ["truncated", "too-small", "ok", "duplicate-of"]
    assert rows.loc["d", "of"] == "c"
    assert rows["split"].ne("").tolist() == [False, False, True, False]


def test_the_smallest_side_decides_what_is_too_small() -> None:
    files = {"a": facts(1, width=7), "b": facts(2, height=7), "c": facts(3, width=8, height=8)}
    rows = judged(files, chosen(min_side=8))
    assert rows["status"].tolist() == ["too-small", "too-small", "ok"]


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 99), max_size=40),
    st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 99), max_size=40),
)
def test_an_image_never_changes_sides(old: dict[str, int], new: dict[str, int]) -> None:
    """Whatever is added, removed, renamed, or becomes a duplicate."""

    def sides(files: dict[str, int]) -> dict[str, str]:
        rows = judged({path: facts(content) for path, content in files.items()})
        good = rows[rows["status"] == "ok"]
        return dict(zip(good["pixels_sha256"], good["split"], strict=True))

    before, after = sides(old), sides({**old, **new})
    assert before.items() <= after.items() or set(old) & set(new)
    for pixels in before.keys() & after.keys():
        assert before[pixels] == after[pixels]


def test_as_many_are_kept_from_training_as_asked() -> None:
    for fraction in (0.1, 0.3):
        rows = judged({str(n): facts(n) for n in range(4000)}, chosen(test_fraction=fraction))
        share = (rows["split"] == "test").mean()
        assert abs(share - fraction) < 4 * (fraction * (1 - fraction) / 4000) ** 0.5


def test_larger_test_sets_hold_the_smaller_ones() -> None:
    files = {str(n): facts(n) for n in range(500)}
    small, large = (judged(files, chosen(test_fraction=share)) for share in (0.1, 0.3))
    assert set(small.index[small["split"] == "test"]) < set(large.index[large["split"] == "test"])


def test_a_published_split_is_kept() -> None:
    files = {str(n): facts(n) for n in range(40)}
    rows = judged(files, splits={str(n): "test" for n in range(20)})
    assert rows.loc[[str(n) for n in range(20)], "split"].eq("test").all()
    assert set(rows["split"]) == {"train", "test"}


def near(bits: int) -> str:
    return f"{bits:016x}"


def test_near_duplicates_name_the_kept_one_and_set_aside_images_name_nobody() -> None:
    files = {
        "a": facts(1, "truncated"),
        "b": facts(2, perceptual_hash=near(0)),
        "c": facts(3, perceptual_hash=near(0b1111)),
        "d": facts(4, perceptual_hash=near(0b11111111)),
        "e": facts(5, perceptual_hash=near(2**64 - 1)),
        "f": facts(2, perceptual_hash=near(0)),
    }
    rows = judged(files, chosen(near_duplicates="set-aside", near_distance=4))
    assert rows["status"].tolist() == [
        "truncated", "ok", "near-duplicate-of", "ok", "ok", "duplicate-of"
    ]  # fmt: skip
    assert rows.loc["c", "of"] == "b"
    assert (rows["split"] != "").tolist() == [False, True, False, True, True, False]
    kept = judged(files, chosen(near_duplicates="keep"))
    assert kept["status"].tolist()[1:5] == ["ok"] * 4


def test_across_only_the_newcomer_on_the_other_side_is_set_aside() -> None:
    files = {f"{n:03d}": facts(n, perceptual_hash=near(0)) for n in range(30)}
    rows = judged(files, chosen(near_duplicates="set-aside-across"))
    sides = judged(files)["split"]
    first = sides.iloc[0]
    assert rows["status"].eq("ok").tolist() == sides.eq(first).tolist()
    assert set(rows["of"]) == {"", "000"}


def classes(files: dict[str, Facts], labels: dict[str, str], order: list[str]) -> dict[str, Any]:
    frame = judge(found(files, labels), chosen())
    return summarise(frame, Pile({}, classes=order), chosen())


def test_the_order_of_classes_is_the_sources_else_the_alphabets() -> None:
    files = {name: facts(name) for name in "abc"}
    labels = {"a": "10", "b": "9", "c": "8"}
    assert classes(files, labels, [])["classes"] == ["10", "8", "9"]
    told = classes(files, labels, ["8", "9", "10", "11"])
    assert told["classes"] == ["8", "9", "10"]
    assert told["class_counts"] == {"8": 1, "9": 1, "10": 1}


def test_one_usable_image_without_a_class_makes_the_set_unlabelled() -> None:
    files = {name: facts(name) for name in "abcd"} | {"e": facts("e", "truncated")}
    labels = {"a": "x", "b": "y", "c": "y"}
    told = classes(files, labels, [])
    assert told["classes"] == []
    assert told["class_counts"] == {}
    assert "1 usable images have no class, for instance 'd'" in told["unlabelled_because"]
    told = classes({**files, "d": facts("d", "truncated")}, labels, [])
    assert told["classes"] == ["x", "y"]
    assert told["unlabelled_because"] == ""


def test_one_class_is_none() -> None:
    files = {name: facts(name) for name in "abc"} | {"d": facts("d", "truncated")}
    told = classes(files, {"a": "x", "b": "x", "c": "x", "d": "y"}, [])
    assert told["classes"] == []
    assert told["unlabelled_because"] == "all images are of one class, 'x'"


@pytest.mark.parametrize(("modes", "grey"), [(["L", "1", "LA"], True), (["L", "RGB", "L"], False)])
def test_grey_is_said_when_every_usable_image_is_grey(modes: list[str], grey: bool) -> None:
    files = {str(n): facts(n, mode=mode) for n, mode in enumerate(modes)}
    files["x"] = facts("x", "animated")
    assert classes(files, {}, [])["grey"] is grey


@pytest.mark.parametrize("near_duplicates", ["keep", "set-aside", "set-aside-across"])
def test_nothing_usable_is_told_with_the_reasons(near_duplicates: str) -> None:
    params = chosen(near_duplicates=near_duplicates)
    files = {"a": facts(1, "truncated"), "b": facts(2, "animated"), "c": facts(3, "animated")}
    frame = judge(found(files), params)
    with pytest.raises(GanpipeError, match=r"none of the 3 .*2 animated, 1 truncated.* 'a'"):
        summarise(frame, Pile({}), params)
    with pytest.raises(GanpipeError, match=r"no files.*data\.path=pile"):
        summarise(judge(found({}), params), Pile({}), params)
