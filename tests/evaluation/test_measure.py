"""Evaluate: every number with its protocol, a verdict on copying, and warnings where due."""

import csv
import html
import tracemalloc

import numpy as np
import pytest

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.distances import Moments
from ganpipe.evaluation.made import all_alike, samples_of
from ganpipe.evaluation.measure import distance, evaluate
from ganpipe.evaluation.real_images import make_reference
from ganpipe.evaluation.reference import Reference, read_reference
from ganpipe.evaluation.results import read_results
from ganpipe.files import read_json
from ganpipe.networks import load_generator
from ganpipe.params import EvaluateParams
from tests.evaluation.digits import (
    CLASSES,
    Pooled,
    constant,
    digits,
    make_dataset,
    memorising,
    splits,
    untrained,
)

LITE = EvaluateParams(samples=40, threads=1)
OWN = EvaluateParams(extractor="classifier", samples=80, threads=1)
SPACES = ("features", "pixels")
WAYS = ("generated_to_real", "real_to_generated", "real_to_real")
NAMES = ("kid", "precision", "recall", "density", "coverage")


class Bench:
    """Data sets with a reference, and reports of generators measured against it."""

    def __init__(self, root, params, labelled):
        self.root, self.params = root, params
        self.data = splits(root, 120, 40, labelled)
        self.reference = root / "reference"
        make_reference(*self.data, params, self.reference)

    def evaluate(self, model, name="", data=None):
        report = self.root / (name or f"report-{model.name}")
        evaluate(model, self.reference, data or self.data, self.params, report)
        return report


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Images without classes, in Lite0's features."""
    return Bench(tmp_path_factory.mktemp("plain"), LITE, labelled=False)


@pytest.fixture(scope="module")
def classed(tmp_path_factory):
    """Images with classes, in the features of their own classifier."""
    return Bench(tmp_path_factory.mktemp("classed"), OWN, labelled=True)


@pytest.fixture(scope="module")
def conditional(classed):
    return classed.evaluate(untrained(classed.root / "conditional", classes=10))


@pytest.fixture(scope="module")
def copies(plain):
    train, _ = plain.data
    return plain.evaluate(memorising(plain.root / "memorising", train.batch(np.arange(30))))


@pytest.fixture(scope="module")
def noise(plain):
    return plain.evaluate(untrained(plain.root / "untrained"))


def _files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_conditional_generator_is_measured_by_everything(conditional):
    found = read_json(conditional / "metrics.json")
    shared = {"fcd_classifier_80"} | {f"{name}_classifier_80" for name in NAMES}
    shared |= {"intra_classifier_80", "class_coverage_classifier_80"}
    copied = {f"{name}_{space}" for name in ("singled_out", "c_t") for space in SPACES}
    useful = {f"accuracy_{way}" for way in WAYS}
    assert shared | copied | useful | {"images"} <= found.keys()
    assert {f"floor_{name}" for name in shared} <= found.keys()
    assert not [name for name in found if "fid" in name]
    assert all(type(value) in (int, float) and np.isfinite(value) for value in found.values())
    assert found["fcd_classifier_80"] > 10 * found["floor_fcd_classifier_80"]


def test_the_protocol_stands_beside_the_numbers(conditional, classed):
    protocol = read_results(conditional)["protocol"]
    train, _ = classed.data
    assert protocol["metric"] == "fcd_classifier_80"
    assert protocol["dataset_sha256"] == train.sha256
    assert protocol["samples"] == protocol["reals"] == 80
    assert len(protocol["weights_sha256"]) == 64
    assert {"resize", "precision", "seed", "split", "extractor_version"} <= protocol.keys()
    page = (conditional / "index.html").read_text()
    assert protocol["weights_sha256"] in page
    assert protocol["dataset_sha256"] in page


def test_a_report_holds_page_summary_numbers_and_pictures(conditional):
    names = _files(conditional)
    wanted = {"metrics.json", "evaluation.json", "index.html", "summary.md"}
    assert wanted | {"samples.png", "reals.png"} <= names.keys()
    assert any(name.startswith("plots/") for name in names)
    assert not [name for name in names if name.startswith("work")]


@pytest.mark.parametrize("kind", ["plain", "classed"])
def test_the_same_model_gives_the_same_bytes(kind, request):
    bench = request.getfixturevalue(kind)
    first = request.getfixturevalue("copies" if kind == "plain" else "conditional")
    model = bench.root / ("memorising" if kind == "plain" else "conditional")
    assert _files(bench.evaluate(model, "again")) == _files(first)


def _of_noise(folder, real):
    """A data set that claims to be another one, with its classes and noise for pixels."""
    pixels = np.random.default_rng(1).integers(0, 256, (len(real), 16, 16, 1), np.uint8)
    found = make_dataset(folder, pixels, real.labels)
    found.sha256 = real.sha256
    return found


def test_of_test_images_nothing_is_looked_at_again(plain, copies, tmp_path):
    before = _files(plain.reference)
    train, test = plain.data
    again = plain.evaluate(
        plain.root / "memorising", "noise", (train, _of_noise(tmp_path / "test", test))
    )
    assert _files(again) == _files(copies)
    assert _files(plain.reference) == before


def test_pixels_of_real_images_serve_generated_ones_alone(classed, conditional, tmp_path):
    """Noise in their place changes what generated images are held against, and no more."""
    noise = tuple(
        _of_noise(tmp_path / name, real)
        for name, real in zip(("train", "test"), classed.data, strict=True)
    )
    other = classed.evaluate(classed.root / "conditional", "noise", noise)
    ours, theirs = (read_json(report / "metrics.json") for report in (conditional, other))
    differ = {name for name in ours if ours[name] != theirs[name]}
    assert "c_t_pixels" in differ
    assert differ <= {"c_t_pixels", "singled_out_pixels", "accuracy_generated_to_real"}
    ours, theirs = (read_json(report / "evaluation.json") for report in (conditional, other))
    real = ("real_to_real", "real_to_generated", "real_to_real_by_class")
    assert [ours["usefulness"][each] for each in real] == [
        theirs["usefulness"][each] for each in real
    ]


def test_the_distance_within_each_class_stands_beside_that_of_real_images(conditional, classed):
    floors = read_reference(classed.reference).class_floors
    assert floors.keys() == set(CLASSES)
    with (conditional / "plots" / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["class"]: float(row["floor"]) for row in rows} == pytest.approx(floors, rel=1e-5)
    assert all(float(row["distance"]) > float(row["floor"]) > 0 for row in rows)


def test_a_reference_without_a_judge_is_refused_where_one_is_asked_for(tmp_path):
    images, labels = digits()
    data = tuple(make_dataset(tmp_path / part, images[:60], labels[:60]) for part in ("a", "b"))
    never = OWN.model_copy(update={"samples": 20, "usefulness": "never"})
    make_reference(*data, never, tmp_path / "reference")
    model = untrained(tmp_path / "model", classes=10)
    with pytest.raises(GanpipeError, match=r"made with evaluate\.usefulness=never.*reference"):
        auto = never.model_copy(update={"usefulness": "auto"})
        evaluate(model, tmp_path / "reference", data, auto, tmp_path / "out")
    evaluate(model, tmp_path / "reference", data, never, tmp_path / "out")
    found = read_json(tmp_path / "out" / "evaluation.json")
    assert found["usefulness"] == "evaluate.usefulness=never"


def test_the_evidence_on_copying_stands_on_the_page_and_in_the_summary(copies):
    told = read_json(copies / "evaluation.json")["memorisation"]
    assert len(told["evidence"]) >= 2
    page, summary = ((copies / name).read_text() for name in ("index.html", "summary.md"))
    for each in told["evidence"]:
        assert html.escape(each[1:], quote=False) in page.replace("&#39;", "'")
    assert told["evidence"][0][1:40] in summary


def test_a_generator_that_copies_is_told_so_everywhere(copies):
    found = read_json(copies / "evaluation.json")["memorisation"]
    assert found["finding"] == "copies"
    assert found["numbers"]["copies_exact"] > 30
    metrics = read_json(copies / "metrics.json")
    assert metrics["singled_out_pixels"] > 0.5
    assert metrics["c_t_features"] < -2
    for name in ("index.html", "summary.md"):
        assert "copies training images" in (copies / name).read_text(), name


def test_a_generator_of_noise_is_not_accused(noise):
    assert read_json(noise / "evaluation.json")["memorisation"]["finding"] != "copies"
    assert "copies training images" not in (noise / "index.html").read_text()


def test_copies_are_precise_and_closer_than_noise(copies, noise):
    good, bad = (read_json(report / "metrics.json") for report in (copies, noise))
    assert good["fid_lite0_40"] < bad["fid_lite0_40"] / 2
    assert good["precision_lite0_40"] > 0.8
    assert bad["precision_lite0_40"] < 0.2


def test_few_images_are_warned_of_where_people_look(copies):
    warnings = read_json(copies / "evaluation.json")["warnings"]
    assert len(warnings) == 2
    assert warnings[0].startswith("40 images are few for 1,280 features")
    assert "covariance is singular" in warnings[1]
    for name in ("index.html", "summary.md"):
        text = (copies / name).read_text()
        assert "40 images are few" in text, name
        assert "covariance is singular" in text, name


def test_what_was_not_measured_says_why(copies):
    found = read_json(copies / "evaluation.json")
    assert found["classes"] == "the real images have no classes"
    assert found["usefulness"] == "the generator knows no classes"
    assert found["extrapolation"].startswith("needs 5,120 images")
    assert "the real images have no classes" in (copies / "index.html").read_text()


def test_an_unconditional_generator_of_a_labelled_set_says_so(classed):
    report = classed.evaluate(untrained(classed.root / "unconditional"))
    found = read_json(report / "evaluation.json")
    assert found["classes"] == "the generator knows no classes"
    assert found["usefulness"] == "the generator knows no classes"


def test_a_collapsed_generator_is_warned_of(plain):
    report = plain.evaluate(constant(plain.root / "constant"))
    assert "all alike" in read_json(report / "evaluation.json")["warnings"][-1]
    assert "all alike" in (report / "index.html").read_text()
    metrics = read_json(report / "metrics.json")
    assert np.isfinite(list(metrics.values())).all()
    assert metrics["recall_lite0_40"] < 0.1


@pytest.mark.parametrize("count", [0, 10])
def test_too_few_test_images_cost_the_verdict_and_nothing_else(count, tmp_path):
    images, _ = digits()
    data = (
        make_dataset(tmp_path / "train", images[:30]),
        make_dataset(tmp_path / "test", images[30 : 30 + count]),
    )
    params = EvaluateParams(samples=12, threads=1)
    make_reference(*data, params, tmp_path / "reference")
    evaluate(untrained(tmp_path / "model"), tmp_path / "reference", data, params, tmp_path / "out")
    why = read_json(tmp_path / "out" / "evaluation.json")["memorisation"]
    assert why.startswith(f"needs 20 images that were not trained on, there are {count}")
    assert "needs 20 images" in (tmp_path / "out" / "index.html").read_text()
    assert (tmp_path / "out" / "plots" / "neighbours.png").stat().st_size > 0
    assert read_json(tmp_path / "out" / "metrics.json")["fid_lite0_12"] > 0


def test_a_reference_of_other_images_is_refused(plain, tmp_path):
    images, _ = digits()
    train = make_dataset(tmp_path / "train", images[200:320])
    with pytest.raises(GanpipeError, match="made from other images"):
        plain.evaluate(untrained(tmp_path / "model"), data=(train, plain.data[1]))


def test_a_generator_of_another_size_is_refused(plain, tmp_path):
    model = untrained(tmp_path / "model", side=32)
    with pytest.raises(GanpipeError, match=r"\(32, 32, 1\).*\(16, 16, 1\)"):
        plain.evaluate(model, "large")
    assert not (plain.root / "large").exists()


class Broken(Pooled):
    """A feature network whose features are no numbers for some images."""

    def __call__(self, images):
        features = super().__call__(images)
        features[-1, 0] = np.nan
        return features


def test_features_that_are_no_numbers_are_an_error(tmp_path):
    generator = load_generator(untrained(tmp_path / "model"))
    with pytest.raises(GanpipeError, match="NaN"):
        samples_of(generator, Broken(), 20, 1, tmp_path)


def _peak(tmp_path, count):
    generator = load_generator(tmp_path / "model")
    known = Reference(tmp_path, Moments(16), {"samples": count}, floors={}, class_floors={})
    for vectors in np.random.default_rng(0).normal(100, 30, (4, 50, 16)):
        known.moments.add(vectors)
    folder = tmp_path / f"{count}"
    folder.mkdir()
    tracemalloc.start()
    samples_of(generator, Pooled(), count, 1, folder)
    value = distance(generator, known, Pooled(), 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(value)
    return peak


def test_memory_is_flat_however_many_images_are_sampled(tmp_path):
    constant(tmp_path / "model")
    few, many = _peak(tmp_path, 1_024), _peak(tmp_path, 10_240)
    assert many - few < 9_216 * 16  # an image has 256 bytes, its features 64


def test_images_are_alike_only_if_all_are():
    same = np.full((5, 2, 2, 1), 7, np.uint8)
    other = same.copy()
    other[4, 1, 1] = 8
    assert all_alike([same, same])
    assert not all_alike([same, other])
    assert not all_alike([same, same + 1])
