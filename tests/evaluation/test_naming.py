"""The name of a measure says what was measured, by which features, on how many images."""

import pytest

from ganpipe.evaluation.naming import metric_name


@pytest.mark.parametrize(
    ("extractor", "samples", "measure", "name"),
    [
        ("lite0", 10_000, "", "fid_lite0_10k"),
        ("lite0bf16", 10_000, "", "fid_lite0bf16_10k"),
        ("inception", 50_000, "kid", "kid_inception_50k"),
        ("lite0", 1_437, "", "fid_lite0_1437"),
        ("lite0", 500, "precision", "precision_lite0_500"),
    ],
)
def test_it_names_measure_features_and_count(extractor, samples, measure, name):
    assert metric_name(extractor, samples, measure) == name


@pytest.mark.parametrize(
    ("extractor", "name"),
    [
        ("classifier", "fcd_classifier_1k"),
        ("dinov2-b14", "fd_dinov2-b14_1k"),
        ("dinov2-l14", "fd_dinov2-l14_1k"),
        ("dinov2-l14bf16", "fd_dinov2-l14bf16_1k"),
        ("inception-clean", "fid_inception-clean_1k"),
    ],
)
def test_only_features_of_imagenet_classifiers_make_an_fid(extractor, name):
    assert metric_name(extractor, 1_000) == name


def test_an_unknown_count_is_said_to_be_unknown():
    assert metric_name("inception", 0) == "fid_inception_unknown"
