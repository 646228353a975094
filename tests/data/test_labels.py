"""Classes and captions: by sub-folders, or by a table beside the images."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganpipe.data.sources.base import Entry
from ganpipe.data.sources.folder import Folder
from ganpipe.data.sources.labels import find_table, labelled, read_table
from ganpipe.errors import GanpipeError


def _entries(*paths):
    return [Entry(path, 1, "t") for path in paths]


def _table(text, name="labels.csv", mode="auto"):
    return read_table(text.encode(), name, mode, "set")


def _told(entries):
    return {entry.path: (entry.label, entry.status) for entry in entries}


def test_the_first_sub_folder_is_the_class():
    found = labelled(_entries("dogs/b.png", "a.png", "cats/deep/er/c.png"), "auto")
    assert [(entry.path, entry.label) for entry in found] == [
        ("a.png", ""),
        ("cats/deep/er/c.png", "cats"),
        ("dogs/b.png", "dogs"),
    ]


def test_a_root_is_no_class():
    found = labelled(
        _entries("x.zip/set/cats/1.png", "x.zip/set/2.png"), "auto", None, "x.zip/set/"
    )
    assert _told(found) == {"x.zip/set/cats/1.png": ("cats", ""), "x.zip/set/2.png": ("", "")}


def test_folders_asked_for_set_files_outside_of_them_aside():
    found = _told(labelled(_entries("a.png", "cats/b.png"), "folders"))
    assert found == {"a.png": ("", "no-label"), "cats/b.png": ("cats", "")}


def test_none_has_no_classes():
    assert _told(labelled(_entries("cats/b.png"), "none")) == {"cats/b.png": ("", "")}


def test_a_status_that_a_file_has_already_is_kept():
    found = labelled([Entry("a.png", 1, "t", status="symlink")], "folders")
    assert found[0].status == "symlink"


@pytest.mark.parametrize("mode", ["auto", "file"])
def test_a_table_decides_and_what_it_does_not_list_is_set_aside(mode):
    table = _table(
        "file,label,caption\ncats/1.png,tabby,a cat\ngone.png,tabby,\n2.png,,\n", mode=mode
    )
    found = labelled(_entries("cats/1.png", "cats/3.png", "2.png"), mode, table)
    assert _told(found) == {
        "2.png": ("", "no-label"),
        "cats/1.png": ("tabby", ""),
        "cats/3.png": ("", "no-label"),
        "gone.png": ("tabby", "missing"),
    }
    assert [entry.caption for entry in found] == ["", "a cat", "", ""]
    assert [entry.path for entry in found] == sorted(entry.path for entry in found)


def test_a_table_of_captions_leaves_classes_to_the_folders():
    table = _table('{"file_name": "cats/1.png", "text": "ein Kätzchen"}\n', "metadata.jsonl")
    found = labelled(_entries("cats/1.png", "dogs/2.png"), "auto", table)
    assert _told(found) == {"cats/1.png": ("cats", ""), "dogs/2.png": ("dogs", "")}
    assert [entry.caption for entry in found] == ["ein Kätzchen", ""]


def test_names_in_a_table_are_relative_to_it():
    table = read_table(b"image,class\n./cats/1.png,a\ncats\\2.png,b\n", "m/labels.csv", "file", "x")
    assert {path: said[0] for path, said in table.rows.items()} == {
        "m/cats/1.png": "a",
        "m/cats/2.png": "b",
    }


def test_numbers_are_classes_as_well():
    table = _table(
        '{"file_name": "a", "label": 7}\n\n{"file_name": "b", "label": null}\n', "m.jsonl"
    )
    assert table.rows == {"a": ("7", ""), "b": ("", "")}


# what spreadsheets and pandas write; bare carriage returns are no line ends of CSV
_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12).map(str.strip)


@given(
    rows=st.dictionaries(_text.filter(bool), st.tuples(_text, _text), min_size=1),
    bom=st.booleans(),
    separator=st.sampled_from([",", ";", "\t"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_text_survives_csv(rows, bom, separator, end):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=end)
    writer.writerow(["Caption", "id", "File_Name ", "label"])
    writer.writerows([caption, 5, name, label] for name, (label, caption) in rows.items())
    payload = out.getvalue().encode("utf-8-sig" if bom else "utf-8")
    _same(read_table(payload, "labels.csv", "file", "set"), rows)


@given(rows=st.dictionaries(_text.filter(bool), st.tuples(_text, _text), min_size=1))
def test_any_text_survives_json_lines(rows):
    lines = [
        json.dumps({"text": caption, "category": label, "filename": name, "objects": {"x": [1]}})
        for name, (label, caption) in rows.items()
    ]
    _same(read_table("\n".join(lines).encode(), "metadata.jsonl", "file", "set"), rows)


def _same(table, rows):
    by_path = {}
    for name, said in rows.items():
        by_path.setdefault(name.replace("\\", "/").removeprefix("./"), said)
    assert table.rows == by_path


@pytest.mark.parametrize(
    ("text", "name", "line", "words"),
    [
        ("name,label\na.png,x\n", "labels.csv", "line 1", "no column is named file_name"),
        ("file,label\na.png,x\nb.png\n", "labels.csv", "line 3", "has 1 columns, the header 2"),
        ("file,label\na.png,x\na.png,y\n", "labels.csv", "line 3", "an earlier line"),
        ('file,label\na.png,"x\n', "labels.csv", "line 2", "is no CSV"),
        ("file,label\n,x\n", "labels.csv", "line 2", "has no file name"),
        ("", "labels.csv", "labels.csv", "is empty"),
        ('{"file_name": "a"}\n{"file_name"\n', "metadata.jsonl", "line 2", "is no JSON"),
        ('{"file_name": "a"}\n[]\n', "metadata.jsonl", "line 2", "is no object"),
        ('{"label": "a"}\n', "metadata.jsonl", "line 1", "has no file name"),
        ('{"file_name": "a", "label": [1]}', "metadata.jsonl", "line 1", "no text or number"),
        ('{"file_name": "\\ud800"}', "metadata.jsonl", "line 1", "half a character"),
        ("[" * 100_000, "metadata.jsonl", "line 1", "is no JSON"),
    ],
)
def test_a_bad_table_is_refused_by_file_and_line(text, name, line, words):
    with pytest.raises(GanpipeError) as caught:
        _table(text, name)
    assert f"set: {name}" in str(caught.value)
    assert line in str(caught.value)
    assert words in str(caught.value)


def test_a_table_that_is_no_utf8_is_refused_by_line():
    with pytest.raises(GanpipeError, match="line 2: is no UTF-8"):
        read_table("file,label\nK\xe4fer.png,x\n".encode("latin-1"), "labels.csv", "auto", "set")


def test_a_table_that_names_no_file_of_the_source_says_so(tmp_path):
    (tmp_path / "cat_000.jpg").write_bytes(b"1")
    (tmp_path / "labels.csv").write_text("file,label\ncat_000,cat\ncat_001,cat\n")
    with pytest.raises(GanpipeError, match=r"names 2 files .*'cat_000'.*'cat_000\.jpg'"):
        _ = Folder(str(tmp_path), "auto").entries


def test_repeating_a_row_is_no_contradiction():
    assert _table("file,label\na.png,x\na.png,x\n").rows == {"a.png": ("x", "")}


def test_a_table_asked_for_must_be_there_once_and_have_labels():
    with pytest.raises(GanpipeError, match=r"set holds no labels\.csv"):
        find_table({"a.png"}, [""], "file", "set")
    with pytest.raises(GanpipeError, match=r"labels\.csv and metadata\.jsonl"):
        find_table({"labels.csv", "metadata.jsonl"}, [""], "auto", "set")
    with pytest.raises(GanpipeError, match="no column label"):
        _table("file,caption\na.png,x\n", mode="file")
    assert (
        find_table({"m/metadata.csv", "n/labels.csv"}, ["", "m/"], "auto", "") == "m/metadata.csv"
    )
    assert find_table({"labels.csv"}, [""], "folders", "set") == ""
