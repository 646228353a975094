"""Agreement with public implementations, fed the same features."""

import warnings

import numpy as np
import pytest
import torch
from cleanfid.fid import frechet_distance as cleanfid_frechet
from cleanfid.fid import kernel_distance as cleanfid_kernel
from prdc import compute_prdc
from pytorch_fid.fid_score import calculate_frechet_distance
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance

from ganpipe.evaluation.distances import frechet_distance, frechet_of_features, moments_of
from ganpipe.evaluation.kernel import kernel_distance, squared_mmd
from ganpipe.evaluation.manifold import manifold


def _features(seed, count, size, shift=0.0):
    """Non-negative and correlated, as the features of a network after its last activation."""
    mix = np.random.default_rng(99).normal(size=(size, size)) / np.sqrt(size)
    noise = np.random.default_rng(seed).normal(size=(count, size))
    return np.maximum(noise @ mix + shift, 0.0).astype(np.float32)


def _torch_fidelity(one, two):
    statistics = [fid_features_to_statistics(torch.from_numpy(side)) for side in (one, two)]
    return fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]


def _torchmetrics(one, two):
    size = one.shape[1]
    network = torch.nn.Flatten()
    network.num_features = size
    metric = FrechetInceptionDistance(network, input_img_size=(1, 1, size)).set_dtype(torch.float64)
    for side, real in ((one, True), (two, False)):
        metric.update(torch.from_numpy(side).double().reshape(-1, 1, 1, size), real=real)
    return float(metric.compute())


def _of_statistics(function):
    def measure(one, two):
        sides = []
        for side in (one, two):
            exact = side.astype(np.float64)
            sides += [exact.mean(axis=0), np.cov(exact, rowvar=False)]
        with warnings.catch_warnings():
            # sqrtm(disp=) goes away with SciPy 1.18, and these two libraries with it
            warnings.simplefilter("ignore", DeprecationWarning)
            return function(*sides)

    return measure


OTHERS = {
    "torch-fidelity": _torch_fidelity,
    "torchmetrics": _torchmetrics,
    "pytorch-fid": _of_statistics(calculate_frechet_distance),
    "clean-fid": _of_statistics(cleanfid_frechet),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize(("count", "tolerance"), [(1000, 1e-6), (40, 1e-4)])
def test_frechet_distance(other, count, tolerance):
    """At full rank (1000 images of 96 features) and below it (40 of 96)."""
    one, two = _features(0, count, 96), _features(1, count, 96, shift=0.2)
    expected = OTHERS[other](one, two)
    assert frechet_of_features(one, two) == pytest.approx(expected, rel=tolerance)
    assert frechet_distance(moments_of(one), moments_of(two)) == pytest.approx(
        expected, rel=tolerance
    )


def test_kernel_distance_of_whole_sets():
    """One subset that holds everything: all draw the same images."""
    one, two = _features(2, 500, 64), _features(3, 500, 64, shift=0.1)
    ours = kernel_distance(one, two, seed=0, subsets=1, size=500).mean
    double = [torch.from_numpy(side).double() for side in (one, two)]
    fidelity = kid_features_to_metric(*double, kid_subsets=1, kid_subset_size=500, verbose=False)
    assert ours == pytest.approx(fidelity["kernel_inception_distance_mean"], rel=1e-5)
    exact = [side.astype(np.float64) for side in (one, two)]
    assert ours == pytest.approx(cleanfid_kernel(*exact, num_subsets=1), rel=1e-5)


def test_kernel_distance_of_the_same_subsets():
    """Mean and deviation over the subsets that torch-fidelity draws from its seed."""
    one, two = _features(4, 400, 64), _features(5, 300, 64, shift=0.1)
    double = [torch.from_numpy(side).double() for side in (one, two)]
    theirs = kid_features_to_metric(
        *double, kid_subsets=7, kid_subset_size=100, rng_seed=2020, verbose=False
    )
    draws = np.random.RandomState(2020)
    values = [
        squared_mmd(
            one[draws.choice(400, 100, replace=False)], two[draws.choice(300, 100, replace=False)]
        )
        for _ in range(7)
    ]
    assert np.mean(values) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)
    assert np.std(values) == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-5)


def test_precision_and_recall():
    real, generated = _features(6, 700, 32), _features(7, 500, 32, shift=0.3)
    ours = manifold(real, generated, k_pr=3)
    # input 1 of torch-fidelity is the generated set
    sides = torch.from_numpy(generated).double(), torch.from_numpy(real).double()
    theirs = prc_features_to_metric(*sides, prc_neighborhood=3, verbose=False)
    assert 0.1 < ours.precision < 0.95
    assert 0.1 < ours.recall < 0.95
    assert ours.precision == pytest.approx(theirs["precision"], abs=1e-5)
    assert ours.recall == pytest.approx(theirs["recall"], abs=1e-5)


def test_density_and_coverage():
    real, generated = _features(8, 700, 32), _features(9, 500, 32, shift=0.3)
    ours = manifold(real, generated, k_pr=5, k_dc=5)
    theirs = compute_prdc(real.astype(np.float64), generated.astype(np.float64), nearest_k=5)
    for measure in ("precision", "recall", "density", "coverage"):
        assert getattr(ours, measure) == pytest.approx(theirs[measure], abs=1e-5)
