"""`ganpipe score`: the same images give the same numbers however they are kept."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ganpipe import __version__
from ganpipe.cli import app, main
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.extractors import make_extractor
from ganpipe.evaluation.score import Options, check_out, score, typed
from ganpipe.evaluation.sides import subset
from ganpipe.evaluation.told import as_json, lines
from tests.evaluation.digits import digits, make_dataset

PARTS = {"made": slice(0, 30), "real": slice(30, 70), "unseen": slice(70, 94)}


def write_folder(place, images, labels=None):
    """PNG files in the order of the images, in sub-folders by class if there are any."""
    for number, image in enumerate(images):
        name = f"{number:04d}.png" if labels is None else f"{labels[number]}/{number:04d}.png"
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze()).save(place / name)
    return str(place)


def _part(name):
    """Some digits in three classes, sorted by them as the sub-folders of a folder are."""
    images, labels = (each[PARTS[name]] for each in digits())
    labels = labels % 3
    order = np.argsort(labels, kind="stable")
    return images[order], labels[order]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Three sets of digits with classes, each as a folder, an .npz and a data set."""
    root = tmp_path_factory.mktemp("sets")
    for name in PARTS:
        images, labels = _part(name)
        write_folder(root / "folder" / name, images, labels)
        (root / "npz").mkdir(exist_ok=True)
        np.savez(root / "npz" / f"{name}.npz", images=images, labels=labels)
        make_dataset(root / "set" / name, images, labels, shards=2)
    return root


def _scored(place, kind, **options):
    end = ".npz" if kind == "npz" else ""
    made, real, unseen = (str(place / kind / f"{name}{end}") for name in PARTS)
    return score(made, real, Options(**options), unseen)


@pytest.fixture(scope="module")
def scored(place):
    return _scored(place, "folder")


@pytest.fixture(scope="module")
def extractor():
    return make_extractor("lite0")


def _values(found):
    return {row.name: row.value for row in found.measures}


@pytest.mark.parametrize("kind", ["npz", "set"])
def test_the_same_images_give_the_same_numbers_however_they_are_kept(kind, place, scored):
    ours, theirs = as_json(_scored(place, kind)), as_json(scored)
    for told in (ours, theirs):
        # which name the sets
        told["protocol"] = {**told["protocol"], "images": "", "against": "", "unseen": ""}
        told["warnings"] = len(told["warnings"])
        told["left_out"] = told["left_out"].keys()
    assert ours == theirs


def test_two_sets_get_every_measure(scored):
    names = ("fid", "kid", "precision", "recall", "density", "coverage", "intra")
    useful = {"accuracy_generated_to_real", "accuracy_real_to_generated"}
    copied = {f"{name}_{space}" for name in ("singled_out", "auth_pct", "c_t") for space in SPACES}
    found = _values(scored)
    assert {f"{name}_lite0_30" for name in names} | useful | copied <= found.keys()
    assert np.isfinite(list(found.values())).all()
    assert scored.measures[0].low < found["fid_lite0_30"] < scored.measures[0].high
    assert scored.measures[0].protocol == "lite0, 30 + 40 images"
    assert scored.copying.verdict.opening.startswith("There are too few images to tell")
    assert scored.left_out.keys() == {"extrapolation", "floor"}
    assert scored.protocol["weights_sha256"] == make_extractor("lite0").weights_sha256


SPACES = ("features", "pixels")


def test_people_read_every_measure_and_all_that_is_to_be_minded(scored):
    told = "\n".join(lines(scored))
    for name in _values(scored):
        assert name in told
    verdict = scored.copying.verdict
    for part in (*scored.left_out.values(), *scored.warnings, verdict.opening, *verdict.seen):
        assert part in told
    assert "strips" not in told  # which a score does not make


def test_few_images_are_warned_of_for_each_set(scored):
    warned = [each for each in scored.warnings if "images are few for 1,280 features" in each]
    assert [each.rpartition(": ")[0].rsplit("/", 1)[-1][:4] for each in warned] == ["made", "real"]
    assert sum("covariance is singular" in each for each in scored.warnings) == 2


@pytest.mark.parametrize("divisor", ["n - 1", "n"])
def test_somebody_s_statistics_stand_for_the_real_images(
    divisor, place, scored, extractor, tmp_path
):
    """pytorch-fid divides by n - 1, NVIDIA's tools by n; both are taken as they are."""
    features = extractor(_part("real")[0]).astype(np.float64)
    covariance = np.cov(features, rowvar=False, bias=divisor == "n")
    np.savez(tmp_path / "real.npz", mu=features.mean(axis=0), sigma=covariance)
    found = score(str(place / "npz" / "made.npz"), str(tmp_path / "real.npz"), Options())
    assert all(name.endswith("_against_statistics") for name in _values(found))
    distance = _values(found)["fid_lite0_30_against_statistics"]
    warned = [each for each in found.warnings if "NVIDIA's tools divide" in each]
    assert [each.partition(":")[0] for each in warned] == [str(tmp_path / "real.npz")]
    if divisor == "n - 1":
        assert distance == pytest.approx(_values(scored)["fid_lite0_30"], rel=1e-6)
    else:
        assert distance != pytest.approx(_values(scored)["fid_lite0_30"], rel=1e-3)
    assert found.protocol["reals"] == "unknown"
    assert found.measures[0].protocol == "lite0, 30 + unknown images"
    assert "only" in found.left_out["precision, recall, density, coverage"]
    assert "statistics" in found.left_out["measures within classes"]


def test_statistics_on_both_sides_give_the_distance(place, scored, extractor, tmp_path):
    for name in ("made", "real"):
        features = extractor(_part(name)[0]).astype(np.float64)
        sigma = np.cov(features, rowvar=False)
        np.savez(tmp_path / f"{name}.npz", mu=features.mean(axis=0), sigma=sigma)
    found = score(*(str(tmp_path / f"{name}.npz") for name in ("made", "real")), Options())
    wanted = pytest.approx(_values(scored)["fid_lite0_30"], rel=1e-6)
    assert _values(found) == {"fid_unknown_unknown_against_statistics": wanted}
    assert found.measures[0].protocol == "unknown, unknown + unknown images"
    assert found.protocol["weights_sha256"] == "unknown"
    assert len([each for each in found.warnings if "NVIDIA" in each]) == 2


def test_statistics_of_another_network_are_an_error_that_says_which(place, tmp_path):
    np.savez(tmp_path / "stats.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    np.savez(tmp_path / "small.npz", mu=np.zeros(3), sigma=np.eye(3))
    made, stats = str(place / "npz" / "made.npz"), str(tmp_path / "stats.npz")
    with pytest.raises(GanpipeError, match=r"stats\.npz.*2,048 features, lite0 gives 1,280"):
        score(made, stats, Options())
    with pytest.raises(GanpipeError, match=r"stats\.npz.*2,048.*small\.npz of 3: they"):
        score(stats, str(tmp_path / "small.npz"), Options())


@pytest.fixture
def unfetched(tmp_path, monkeypatch):
    """A feature network whose weights are not here and cannot be fetched."""
    monkeypatch.setenv("GANPIPE_CACHE", str(tmp_path / "empty cache"))
    monkeypatch.setenv("GANPIPE_OFFLINE", "1")
    return Options("inception")


def test_statistics_alone_need_no_feature_network(tmp_path, unfetched):
    """An equal covariance, so that the squared distance of the means is exact."""
    np.savez(tmp_path / "one.npz", mu=np.zeros(5), sigma=np.eye(5))
    np.savez(tmp_path / "two.npz", mu=np.full(5, 2.0), sigma=np.eye(5))
    found = score(*(str(tmp_path / f"{name}.npz") for name in ("one", "two")), unfetched)
    assert list(_values(found).values()) == pytest.approx([20.0])


def test_sets_are_read_before_the_feature_network_is_fetched(place, unfetched):
    made = str(place / "npz" / "made.npz")
    with pytest.raises(GanpipeError, match="no-such-set does not exist"):
        score(made, "no-such-set", unfetched)
    with pytest.raises(GanpipeError, match="holds 30 images, 31 are to be compared"):
        score(made, made, replace(unfetched, samples=31))
    with pytest.raises(GanpipeError, match=r"is not there, and GANPIPE_OFFLINE=1"):
        score(made, made, unfetched)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (Options("inceptoin"), "no extractor inceptoin: choose one of lite0"),
        (Options(precision="float8"), "precision=float8 is none of float32, bf16"),
        (
            Options("inception", weights=Path("/nowhere/weights.pth")),
            r"--weights=/nowhere/weights\.pth is no file",
        ),
        (Options("classifier"), "set --weights to the data/reference/statistics/classifier"),
        (Options(weights=Path("/nowhere")), "lite0 brings its weights"),
    ],
)
def test_options_are_judged_before_an_image_is_read(options, told, tmp_path):
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(GanpipeError, match=told):
        score(str(tmp_path), str(tmp_path), options)


def test_messages_speak_of_what_was_typed():
    said = typed("raise evaluate.samples or evaluate.neighbours, or raise data.test_fraction")
    assert said == "raise --samples or --most, or bring more with --unseen"


def test_the_protocol_says_what_was_compared_and_by_what(scored):
    kept = scored.protocol
    for name, key in (("made", "images"), ("real", "against"), ("unseen", "unseen")):
        assert kept[f"{key}_sha256"] == hashlib.sha256(_part(name)[0].tobytes()).hexdigest()
    assert kept["extractor_version"] == make_extractor("lite0").version
    assert kept["ganpipe"] == __version__


def test_of_the_same_set_each_side_draws_images_of_its_own(place):
    made = str(place / "npz" / "made.npz")
    found = score(made, made, Options(samples=8))
    assert found.protocol["images_sha256"] != found.protocol["against_sha256"]
    assert found.measures[0].value > 1


@pytest.mark.parametrize(
    ("count", "samples", "told"),
    [(1, 0, "1 image, at least 2"), (9, 12, "9 images, 12")],
)
def test_too_few_images_are_an_error(count, samples, told, tmp_path):
    images, _ = digits()
    few = write_folder(tmp_path / "few", images[:count])
    many = write_folder(tmp_path / "many", images[20:33])
    for sides in ((few, many), (many, few)):
        with pytest.raises(GanpipeError, match=rf"few holds {told} are to be compared"):
            score(*sides, Options(samples=samples))


def test_as_many_of_each_side_are_compared_as_asked_for(place):
    sides = [str(place / "npz" / f"{name}.npz") for name in ("made", "real")]
    first, again, other = (score(*sides, Options(samples=8, seed=seed)) for seed in (1, 1, 2))
    assert first.protocol["samples"] == first.protocol["reals"] == 8
    assert "fid_lite0_8" in _values(first)
    assert first == again
    assert _values(first)["fid_lite0_8"] != _values(other)["fid_lite0_8"]


def test_sizes_that_differ_are_said_to_be_measured_too(tmp_path):
    images, _ = digits()
    small = write_folder(tmp_path / "small", images[:12, ::2, ::2])
    large = write_folder(tmp_path / "large", images[12:24])
    found = score(small, large, Options(), large)
    assert [each for each in found.warnings if "8 x 8" in each and "16 x 16" in each]
    assert np.isfinite(_values(found)["fid_lite0_12"])


def test_constant_images_are_warned_of(tmp_path):
    images, _ = digits()
    same = write_folder(tmp_path / "same", images[:1].repeat(12, axis=0))
    others = write_folder(tmp_path / "others", images[:12])
    found = score(same, others, Options())
    assert [each for each in found.warnings if "all alike" in each] == [
        f"{same}: its images are all alike, so their spread is nought"
    ]
    assert np.isfinite(list(_values(found).values())).all()


def test_what_is_left_out_of_any_set_is_named(tmp_path):
    images, _ = digits()
    sets = [write_folder(tmp_path / name, images[:6]) for name in ("made", "real", "unseen")]
    for folder in sets:
        (tmp_path / folder / "notes.txt").write_text("not a picture")
    warnings = score(sets[0], sets[1], Options(), sets[2]).warnings
    for folder in sets:
        assert (
            f"{folder}: left out 1 files that are no single, readable image: notes.txt" in warnings
        )


@pytest.mark.parametrize("side", ["made", "real"])
def test_classes_that_one_set_lacks_are_named(side, tmp_path):
    images, labels = digits()
    images, labels = images[:20], labels[:20] % 3
    kept = labels != 2
    whole = write_folder(tmp_path / "whole", images, labels)
    part = write_folder(tmp_path / "part", images[kept], labels[kept])
    sides = (part, whole) if side == "made" else (whole, part)
    assert score(*sides, Options()).left_out["measures within classes"] == (
        f"{part} has no images of 2: bring some, or leave such images out of the other sets"
    )


def test_sets_without_classes_say_so(tmp_path):
    images, labels = digits()
    bare = write_folder(tmp_path / "bare", images[:12])
    named = write_folder(tmp_path / "named", images[:12], labels[:12])
    left_out = [score(bare, other, Options()).left_out for other in (bare, named)]
    assert left_out[0]["measures within classes"] == "the sets have no classes"
    assert left_out[1]["measures within classes"] == f"{bare} has no classes"


def test_classes_in_another_order_are_the_same_classes(tmp_path):
    """Sub-folders are sorted as text, labels of arrays as numbers: 10 comes before 2 or after."""
    images, _ = digits()
    labels = np.repeat([2, 10], 8)
    shades = (images[:16] // 2 + np.where(labels == 2, 0, 120)[:, None, None, None]).astype(
        np.uint8
    )
    folder = write_folder(tmp_path / "folder", shades, labels)
    np.savez(tmp_path / "arrays.npz", images=shades, labels=labels)
    found = score(folder, str(tmp_path / "arrays.npz"), Options())
    assert _values(found)["intra_lite0_16"] == pytest.approx(0.0, abs=1e-6)


def test_copies_are_found_among_all_real_images_whatever_their_channels(tmp_path):
    """Coloured copies of grey images, whose originals lie beyond what pairs look at."""
    images, _ = digits()
    real = make_dataset(tmp_path / "real", images[:60])
    unseen = write_folder(tmp_path / "unseen", images[100:124])
    made = images[30:60].repeat(3, axis=3)
    made[0, 0, 0] = (1, 0, 0)  # so that the set is one of colours
    found = score(write_folder(tmp_path / "made", made), str(real.folder), Options(most=25), unseen)
    verdict = found.copying.verdict
    assert verdict.finding == "copies"
    assert "images equal a training image byte for byte" in verdict.text
    assert "were compared" not in verdict.text
    told = as_json(found)["memorisation"]
    assert told["finding"] == "copies"
    assert told["numbers"]["copies_exact"] == 24  # of 25 that pairs look at
    assert 0 < told["detectable"]["features"] <= 1


def test_a_floor_is_what_other_real_images_come_to_in_the_samples_place(tmp_path):
    images, labels = digits()
    labels = labels % 3
    made = write_folder(tmp_path / "made", images[:20], labels[:20])
    real = write_folder(tmp_path / "real", images[20:60], labels[20:60])
    unseen = write_folder(tmp_path / "unseen", images[60:90], labels[60:90])

    found = score(made, real, Options(), unseen)
    floors = {row.name: row.floor for row in found.measures if row.floor is not None}
    measured = {"fid", "kid", "precision", "recall", "density", "coverage", "intra"}
    assert {f"{name}_lite0_20" for name in measured} <= floors.keys()
    assert as_json(found)["floors"] == floors
    # the same as the score of these unseen images themselves
    twenty = subset(1, "floor/unseen", 30, 20)
    order = 60 + np.argsort(labels[60:90], kind="stable")[twenty]  # as paths are sorted
    place = write_folder(tmp_path / "twenty", images[order], labels[order])
    themselves = _values(score(place, real, Options()))
    assert floors["fid_lite0_20"] == pytest.approx(themselves["fid_lite0_20"], rel=1e-6)
    assert floors["intra_lite0_20"] == pytest.approx(themselves["intra_lite0_20"], rel=1e-6)

    without = score(made, real, Options())
    assert "needs 20 real images beside those compared, there are 0" in without.left_out["floor"]
    assert "or set --samples 20" in without.left_out["floor"]
    of_the_rest = score(made, real, Options(samples=20))
    assert "floor" not in of_the_rest.left_out
    assert of_the_rest.measures[0].floor > 0


def test_what_samples_leaves_out_of_the_training_images_is_told(tmp_path):
    images, _ = digits()
    sets = [write_folder(tmp_path / name, images[:24]) for name in ("made", "real", "unseen")]
    assert [
        each for each in score(*sets[:2], Options(samples=20), sets[2]).warnings if "copies" in each
    ] == [f"{sets[1]}: copies of 4 of its 24 images cannot be seen: --samples leaves these out"]


def test_an_unseen_set_may_be_smaller_than_the_samples(tmp_path):
    images, _ = digits()
    made, real = (write_folder(tmp_path / name, images[:28]) for name in ("made", "real"))
    unseen = write_folder(tmp_path / "unseen", images[40:62])
    assert "memorisation" not in score(made, real, Options(samples=25), unseen).left_out


def test_without_unseen_images_it_says_what_they_would_tell(tmp_path):
    images, _ = digits()
    folder = write_folder(tmp_path / "some", images[:8])
    found = score(folder, folder, Options())
    assert "--unseen" in found.left_out["memorisation"]
    assert "--unseen" in found.left_out["usefulness"]
    assert found.copying is None
    assert as_json(found)["memorisation"] is None


def _command(*arguments):
    command = [sys.executable, "-m", "ganpipe", "score", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_and_writes_what_the_function_finds(tmp_path):
    images, _ = digits()
    made = write_folder(tmp_path / "made", images[:10])
    real = write_folder(tmp_path / "real", images[10:20])
    out = tmp_path / "score.json"
    done = _command("--images", made, "--against", real, "--threads", "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    found = score(made, real, Options())
    told = json.loads(out.read_text())
    assert told["measures"] == pytest.approx(_values(found), rel=1e-5)
    assert told["warnings"] == found.warnings
    assert "fid_lite0_10" in done.stdout
    assert "warning: " in done.stdout


def test_bad_input_ends_the_command_with_a_message_and_code_2(tmp_path, monkeypatch, capsys):
    nowhere = ["--images", str(tmp_path / "nowhere"), "--against", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["ganpipe", "score", "--threads", "1", *nowhere])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "nowhere does not exist" in capsys.readouterr().err


def test_a_place_that_takes_no_file_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    check_out(tmp_path / "new" / "folder" / "score.json")
    for out, why in ((tmp_path, "is a folder"), (tmp_path / "file" / "x.json", "takes no files")):
        with pytest.raises(GanpipeError, match=f"--out=.*{why}"):
            check_out(out)


@pytest.mark.parametrize("option", ["--samples", "--most", "--seed", "--threads"])
def test_numbers_that_make_no_sense_are_refused_by_name(option):
    found = CliRunner().invoke(app, ["score", "--images", "a", "--against", "b", option, "-1"])
    assert found.exit_code == 2
    assert option in found.output
