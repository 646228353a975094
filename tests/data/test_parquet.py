"""Parquet files: columns by their meaning, rows as a stream, nothing left out in silence."""

import io
import json
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganpipe.data.sources.parquet import Parquet
from ganpipe.errors import GanpipeError

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _png(value):
    out = io.BytesIO()
    Image.new("L", (4, 4), value).save(out, "PNG")
    return out.getvalue()


IMAGES = [_png(number) for number in range(7)]


def _hugging_face(names, key="label"):
    """The metadata that the library `datasets` writes into a schema."""
    features = {
        "image": {"_type": "Image"},
        key: {"names": names, "_type": "ClassLabel"},
    }
    return {"huggingface": json.dumps({"info": {"features": features}})}


def _structs(images=IMAGES, names=True):
    rows = [
        {"bytes": image, "path": f"{number}.jpg" if names else None}
        for number, image in enumerate(images)
    ]
    return pa.array(rows, STRUCT)


def _save(path, columns, metadata=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, path, **options)
    return path


def _payloads(source, wanted=None):
    return {
        entry.path: payload
        for entry, payload in source.read(source.entries if wanted is None else wanted)
    }


@pytest.mark.parametrize("group", [1, 3, 100])
def test_the_layout_of_hugging_face_is_read(tmp_path, group):
    columns = {"image": _structs(), "label": [0, 2, 1, 0, -1, None, 2]}
    names = ["ape", "bee", "cat"]
    path = _save(tmp_path / "set.parquet", columns, _hugging_face(names), row_group_size=group)
    source = Parquet(str(path))
    assert source.classes == names
    assert [entry.path for entry in source.entries] == [
        f"set.parquet/{number:08d}.jpg" for number in range(7)
    ]
    assert [entry.label for entry in source.entries] == ["ape", "cat", "bee", "ape", "", "", "cat"]
    assert list(_payloads(source).values()) == IMAGES


@pytest.mark.parametrize("name", ["image", "IMG", "picture", "anything"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), STRUCT])
def test_the_column_of_images_is_found(tmp_path, name, kind):
    images = _structs(names=False) if kind == STRUCT else pa.array(IMAGES, kind)
    source = Parquet(str(_save(tmp_path / "set.parquet", {"id": range(7), name: images})))
    assert list(_payloads(source).values()) == IMAGES
    assert {(entry.label, entry.caption) for entry in source.entries} == {("", "")}


def test_the_named_column_wins_over_other_bytes(tmp_path):
    columns = {"mask": IMAGES[::-1], "image": IMAGES}
    source = Parquet(str(_save(tmp_path / "set.parquet", columns)))
    assert list(_payloads(source).values()) == IMAGES


@pytest.mark.parametrize("name", ["label", "labels", "class", "Category"])
@pytest.mark.parametrize(
    ("values", "labels", "classes"),
    [
        ([10, 2, 1, 2, 2, 1, 10], ["10", "2", "1", "2", "2", "1", "10"], ["1", "2", "10"]),
        (list("abcabca"), list("abcabca"), []),
        (pa.array(list("abcabca")).dictionary_encode(), list("abcabca"), []),
    ],
)
def test_the_column_of_classes_is_found(tmp_path, name, values, labels, classes):
    source = Parquet(str(_save(tmp_path / "set.parquet", {"image": IMAGES, name: values})))
    assert [entry.label for entry in source.entries] == labels
    assert source.classes == classes


@pytest.mark.parametrize("name", ["caption", "text"])
def test_captions_are_kept(tmp_path, name):
    captions = ["a bee", None, "", "two\nlines", "x" * 5000, "é", "\t"]
    source = Parquet(str(_save(tmp_path / "set.parquet", {"image": IMAGES, name: captions})))
    assert [entry.caption for entry in source.entries] == [text or "" for text in captions]


def test_odd_names_give_no_suffix(tmp_path):
    names = ["a.png", "b.tar.GZ", "c", None, "d.\n", "e." + "x" * 4000, "../f.jpg"]
    rows = [{"bytes": image, "path": name} for image, name in zip(IMAGES, names, strict=True)]
    path = _save(tmp_path / "set.parquet", {"image": pa.array(rows, STRUCT)})
    ends = [entry.path.removeprefix("set.parquet/")[8:] for entry in Parquet(str(path)).entries]
    assert ends == [".png", ".GZ", "", "", "", "", ".jpg"]


def test_rows_without_bytes_are_set_aside_not_dropped(tmp_path):
    rows = [
        {"bytes": IMAGES[0], "path": "0.png"},
        {"bytes": None, "path": "elsewhere.png"},
        None,
        {"bytes": b"", "path": "3.png"},
    ]
    path = _save(tmp_path / "set.parquet", {"image": pa.array(rows, STRUCT)}, row_group_size=2)
    source = Parquet(str(path))
    assert len(source.entries) == 4
    statuses = [(entry.status, payload) for entry, payload in source.read(source.entries)]
    assert statuses == [("", IMAGES[0]), ("not-readable", b""), ("not-readable", b""), ("", b"")]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (
            ["train-00000-of-00001.parquet", "test-00000-of-00001.parquet"],
            {"train-00000-of-00001.parquet": "train", "test-00000-of-00001.parquet": "test"},
        ),
        (
            ["data/train.parquet", "data/validation-0.parquet", "data/test.parquet"],
            {
                "data/train.parquet": "train",
                "data/validation-0.parquet": "train",
                "data/test.parquet": "test",
            },
        ),
        (
            ["default/train/0000.parquet", "default/test/0000.parquet"],
            {"default/train/0000.parquet": "train", "default/test/0000.parquet": "test"},
        ),
        (["train-0.parquet", "train-1.parquet"], {"train-0.parquet": "", "train-1.parquet": ""}),
        (
            ["trained.parquet", "testimony.parquet"],
            {"trained.parquet": "", "testimony.parquet": ""},
        ),
    ],
)
def test_names_of_files_give_the_split_when_both_sides_are_there(tmp_path, names, splits):
    for number, name in enumerate(names):
        _save(tmp_path / name, {"image": IMAGES[number : number + 2]})
    (tmp_path / "README.md").write_text("no images")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "test.parquet").write_bytes(b"hidden")
    source = Parquet(str(tmp_path))
    found = {entry.path.rpartition("/")[0]: entry.split for entry in source.entries}
    assert found == splits
    assert len(_payloads(source)) == 2 * len(names)
    for number, name in enumerate(names):
        assert _payloads(source)[f"{name}/00000001"] == IMAGES[number + 1]


def test_only_the_groups_with_wanted_rows_are_read(tmp_path):
    path = _save(tmp_path / "set.parquet", {"image": IMAGES}, row_group_size=1)
    source = Parquet(str(path))
    kept = source.entries[5]
    content, metadata = bytearray(path.read_bytes()), pq.read_metadata(path)
    for number in set(range(7)) - {5}:
        chunk = metadata.row_group(number).column(0)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(content)
    assert _payloads(source, [kept]) == {kept.path: IMAGES[5]}
    with pytest.raises(GanpipeError, match=r"set\.parquet cannot be read"):
        _payloads(source)


def test_a_large_row_group_is_read_with_flat_memory(tmp_path):
    # 150 MB in one group, as pandas writes it, whose pages of 1,024 rows hold 10 MB
    numbers = [
        bytes([number % 256]) * 9000 + number.to_bytes(1000, "big") for number in range(15000)
    ]
    path = _save(tmp_path / "set.parquet", {"image": numbers}, compression="none")
    assert pq.ParquetFile(path).num_row_groups == 1
    small = _save(tmp_path / "small.parquet", {"image": IMAGES})
    program = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from ganpipe.data.sources.parquet import Parquet\n"
        # ru_maxrss would count the program that started this one
        "status = Path('/proc/self/status')\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', status.read_text())[1])\n"
        "first, source = map(Parquet, sys.argv[1:])\n"
        "assert len(list(first.read(first.entries))) == 7\n"
        "early = peak()\n"
        "assert sum(len(payload) for _, payload in source.read(source.entries)) == 150_000_000\n"
        "print(peak() - early)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(small), str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 110_000  # KiB


@pytest.mark.parametrize(
    ("columns", "metadata", "words"),
    [
        ({"image": ["a.png"] * 7}, None, r"no column .* image \(string\); name it image"),
        ({"a": IMAGES, "b": IMAGES}, None, r"a \(binary\), b \(binary\)"),
        ({"image": IMAGES, "label": [0.5] * 7}, None, "row 0 of .*label=0.5"),
        ({"image": IMAGES, "label": [[1, 2]] * 7}, None, r"label=\[1, 2\]"),
        ({"image": IMAGES, "label": [True] * 7}, None, "label=True"),
        ({"image": IMAGES, "label": [0, 1, 2, 0, 0, 0, 0]}, _hugging_face(["a", "b"]), "label=2"),
        ({"image": IMAGES, "label": [-2] * 7}, _hugging_face(["a", "b"]), "label=-2"),
    ],
)
def test_files_that_cannot_be_meant_are_named(tmp_path, columns, metadata, words):
    path = _save(tmp_path / "set.parquet", columns, metadata)
    with pytest.raises(GanpipeError, match=words):
        _ = Parquet(str(path)).entries


def test_files_that_name_other_classes_are_named(tmp_path):
    for name, names in (("a", ["x", "y"]), ("b", ["y", "x"])):
        columns = {"image": IMAGES, "label": [0] * 7}
        _save(tmp_path / f"{name}.parquet", columns, _hugging_face(names))
    with pytest.raises(GanpipeError, match=r"a\.parquet and b\.parquet .* different classes"):
        _ = Parquet(str(tmp_path)).classes


def test_metadata_that_is_no_json_is_no_obstacle(tmp_path):
    columns = {"image": IMAGES, "label": [3] * 7}
    for number, text in enumerate(("{", "[]", '{"info": null}', '{"info": {"features": {}}}')):
        path = _save(tmp_path / f"{number}.parquet", columns, {"huggingface": text})
        assert Parquet(str(path)).classes == ["3"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"PAR1",
        lambda content: content[:-4],
        lambda content: content[:-200] + bytes(196) + content[-4:],
        lambda content: content[4:],
        lambda content: content[:4] + b"\xff" * 60 + content[64:],
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage):
    path = _save(tmp_path / "set.parquet", {"image": IMAGES, "label": [1] * 7})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(GanpipeError, match=r"set\.parquet cannot be read as Parquet"):
        _payloads(Parquet(str(tmp_path)))


def test_text_that_is_no_utf8_is_named(tmp_path):
    columns = {"image": IMAGES, "text": ["a caption"] * 7}
    path = _save(tmp_path / "set.parquet", columns, compression="none", write_statistics=False)
    path.write_bytes(path.read_bytes().replace(b"a caption", b"a\xcccaption"))
    with pytest.raises(GanpipeError, match=r"set\.parquet cannot be read as Parquet"):
        _ = Parquet(str(path)).entries


def test_any_damage_is_harmless_or_named(tmp_path):
    # in a process of its own, as damaged descriptions of columns make pyarrow abort when asked for
    columns = {"image": IMAGES[:3], "label": [0, 1, 2], "text": ["x"] * 3}
    path = _save(tmp_path / "set.parquet", columns, row_group_size=2)
    program = (
        "import random, sys\n"
        "from pathlib import Path\n"
        "from ganpipe.data.sources.parquet import Parquet\n"
        "from ganpipe.errors import GanpipeError\n"
        "path, draw, named = Path(sys.argv[1]), random.Random(0), 0\n"
        "whole = path.read_bytes()\n"
        "for _ in range(1500):\n"
        "    damaged = bytearray(whole)\n"
        "    for _ in range(draw.choice([1, 1, 2, 4])):\n"
        "        at = draw.randrange(len(damaged))\n"
        "        damaged[at : at + draw.randrange(4)] = draw.randbytes(draw.randrange(4))\n"
        "    path.write_bytes(damaged)\n"
        "    try:\n"
        "        source = Parquet(str(path))\n"
        "        list(source.read(source.entries))\n"
        "    except GanpipeError:\n"
        "        named += 1\n"
        "print(named)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 500


def test_a_folder_without_parquet_says_so(tmp_path):
    (tmp_path / "a.png").write_bytes(IMAGES[0])
    with pytest.raises(GanpipeError, match=r"holds no \.parquet file"):
        Parquet(str(tmp_path)).fingerprint()


def test_the_fingerprint_opens_no_file(tmp_path):
    (tmp_path / "set.parquet").write_bytes(b"not looked into")
    found = Parquet(str(tmp_path)).fingerprint()
    assert (found["count"], found["bytes"]) == (1, 15)


def test_links_to_parquet_files_are_followed(tmp_path):
    _save(tmp_path / "blobs" / "1234", {"image": IMAGES})
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "set.parquet").symlink_to("../blobs/1234")
    source = Parquet(str(tmp_path / "snapshot"))
    assert list(_payloads(source).values()) == IMAGES


@pytest.fixture
def memory():
    """fsspec's file system in memory, empty before and after."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def test_any_url_that_fsspec_knows_will_do(tmp_path, memory):
    for side in ("train", "test"):
        path = _save(tmp_path / f"{side}.parquet", {"image": IMAGES, "label": [4] * 7})
        memory.pipe(f"/set/{side}.parquet", path.read_bytes())
    remote, local = Parquet("memory://set"), Parquet(str(tmp_path))
    assert _payloads(remote) == _payloads(local)
    assert [entry.split for entry in remote.entries] == [entry.split for entry in local.entries]
    one = Parquet("memory://set/test.parquet")
    assert [entry.path for entry in one.entries][:1] == ["test.parquet/00000000"]
    before = remote.fingerprint()
    assert Parquet("memory://set").fingerprint() == before
    memory.pipe("/set/train-1.parquet", b"new")
    assert Parquet("memory://set").fingerprint()["digest"] != before["digest"]


@pytest.mark.parametrize("url", ["memory://nowhere", "nope://set", "http://127.0.0.1:{port}/set"])
def test_a_url_that_cannot_be_read_is_named(url, free_port):
    address = url.format(port=free_port)
    with pytest.raises(GanpipeError, match=address):
        Parquet(address).fingerprint()


def test_a_file_on_a_web_server_is_read(tmp_path, free_port):
    _save(tmp_path / "set.parquet", {"image": _structs(), "label": [1] * 7})
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", free_port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for path in ("set.parquet", ""):
            source = Parquet(f"http://127.0.0.1:{free_port}/{path}")
            assert list(_payloads(source).values()) == IMAGES
        server.shutdown()
