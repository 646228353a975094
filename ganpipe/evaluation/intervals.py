"""How sure a measure is: 95 % intervals over the images that happened to be drawn."""

from __future__ import annotations

import math

from ganpipe.evaluation.comparison import Comparison
from ganpipe.evaluation.kernel import KernelDistance
from ganpipe.evaluation.manifold import Manifold
from ganpipe.evaluation.naming import metric_name
from ganpipe.evaluation.results import COVERAGE, KID, PRECISION, RECALL

Z = 1.959964  # of 95 % of a normal distribution

Ends = tuple[float, float]


def intervals_of(comparison: Comparison, extractor: str, samples: int) -> dict[str, Ends]:
    """Low and high ends by the names of `numbers_of`; measures without one are left out."""

    def name(measure: str = "") -> str:
        return metric_name(extractor, samples, measure)

    ends: dict[str, Ends] = {}
    if comparison.interval is not None:
        ends[name()] = (comparison.interval.low, comparison.interval.high)
    if comparison.kernel is not None:
        ends[name(KID)] = of_kernel(comparison.kernel, samples)
    if isinstance(found := comparison.manifold, Manifold):
        ends[name(PRECISION)] = of_share(found.precision, found.generated)
        ends[name(RECALL)] = of_share(found.recall, found.real)
        ends[name(COVERAGE)] = of_share(found.coverage, found.real)
    return ends


def of_share(share: float, count: int) -> Ends:
    """Wilson's interval of a share of `count` images (Journal of the American Statistical
    Association, 1927). The other set of images is taken as given."""
    near = share + Z * Z / (2 * count)
    reach = Z * math.sqrt(share * (1.0 - share) / count + Z * Z / (4 * count * count))
    scale = 1.0 + Z * Z / count
    return max(0.0, (near - reach) / scale), min(1.0, (near + reach) / scale)


def of_kernel(kernel: KernelDistance, samples: int) -> Ends:
    """Of the mean over subsets: as if `samples` images made samples / size separate ones."""
    reach = Z * kernel.std * math.sqrt(min(1.0, kernel.size / max(1, samples)))
    return kernel.mean - reach, kernel.mean + reach
