"""What bfloat16 does to the result: FIDs after the same images, against float32."""

from __future__ import annotations

from statistics import median

from tests.benchmarks.figures import Figure
from tests.benchmarks.training.place import Place
from tests.benchmarks.training.quality import fid
from tests.benchmarks.training.watched import Moments, watched

CONFIGS = ("dcgan", "resnet")
SEEDS = 3
KIMG = 60.0


def measure(place: Place) -> list[Figure]:
    """Each seed in both precisions; a seed's two runs see the same images and latents."""
    dataset = place.fashion()
    kimg = place.kimg or (0.6 if place.quick else KIMG)
    figures = []
    for config in place.configs or CONFIGS:
        fids: dict[str, list[float]] = {"float32": [], "bf16": []}
        minutes: dict[str, list[float]] = {"float32": [], "bf16": []}
        for seed in range(place.seeds or place.size(SEEDS, 1)):
            for precision in fids:
                changes = {"precision": precision, "seed": seed, "kimg": kimg}
                model, train = place.settings(config, **changes)
                name = f"{config}-{precision}-{seed}"
                kept, why = watched(
                    dataset, model, train, place.run("bf16", name, model, train), Moments()
                )
                if why:
                    raise RuntimeError(f"{name}: {why}")
                fids[precision].append(fid(place, kept[-1]))
                minutes[precision].append(kept[-1].minutes)
        figures += [
            Figure(
                f"{config}: fid_lite0_10k after {kimg:g} kimg, {name}",
                median(found),
                "",
                None,
                None,
                found,
            )
            for name, found in fids.items()
        ]
        more = [bf16 - exact for bf16, exact in zip(fids["bf16"], fids["float32"], strict=True)]
        spread = max(fids["float32"]) - min(fids["float32"])
        faster = median(minutes["float32"]) / median(minutes["bf16"])
        figures += [
            Figure(f"{config}: FID of bf16 above float32's", median(more), "", None, None, more),
            Figure(f"{config}: spread of float32 over seeds", spread),
            Figure(f"{config}: speed, bf16 v float32", faster, "x"),
        ]
    return figures
