"""Names of measures: each says what was measured, by which features, on how many images."""

from __future__ import annotations

DISTANCES = {"classifier": "fcd", "dinov2-b14": "fd", "dinov2-l14": "fd"}
"""The Fréchet distance in other features than those of ImageNet classifiers is no FID."""


def base(extractor: str) -> str:
    """The feature network's own name: `inception` of `inceptionbf16`."""
    return extractor.removesuffix("bf16")


def metric_name(extractor: str, samples: int, measure: str = "") -> str:
    """`fid_lite0_10k`, or `kid_lite0_10k` with measure `kid`.

    Of somebody's statistics the number of images is not known: `fid_inception_unknown` for 0.
    """
    count = f"{samples // 1000}k" if samples % 1000 == 0 else f"{samples}"
    count = count if samples else "unknown"
    return f"{measure or DISTANCES.get(base(extractor), 'fid')}_{extractor}_{count}"
