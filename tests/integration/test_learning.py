"""It learns: real images, the default network and parameters, a minute of training."""

import pytest

from ganpipe.data.sources.fashion_mnist import DEBIAN_FOLDER, FILES
from ganpipe.files import read_json

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.mark.skipif(
    not (DEBIAN_FOLDER / FILES[0]).exists(), reason="apt-get install dataset-fashion-mnist"
)
def test_fashion_mnist_in_a_minute(tmp_path, checkout_of_this_code):
    """The distance falls to under a third of what 2 kimg leave it at."""
    values = {}
    for kimg in (2, 60):
        checkout = checkout_of_this_code(
            tmp_path / str(kimg),
            [
                "data.source=fashion-mnist",
                "model.width=64",
                f"train.kimg={kimg}",
                "train.threads=0",
                "evaluate.samples=2000",
                "evaluate.precision=bf16",
                "evaluate.threads=0",
            ],
        )
        checkout.call("ganpipe", "refresh")
        checkout.call("dvc", "repro")
        metrics = read_json(checkout.folder / "report" / "metrics.json")
        values[kimg] = metrics["fid_lite0bf16_2k"]
        floor = metrics["floor_fid_lite0bf16_2k"]
    assert floor < values[60] < values[2] / 3, values
