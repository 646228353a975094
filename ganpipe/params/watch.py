"""What the flow `watch` is asked for: which images, how many, and how far is too far."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ganpipe.params.data import NEEDS_PATH, SourceName
from ganpipe.params.evaluate import Threads
from ganpipe.params.section import Section

AS_TRAINED = "as trained"


class WatchParams(Section):
    """Which images are held against the champion's real ones, and what counts as drift."""

    model: Annotated[
        str,
        Field(
            max_length=200,
            pattern=r"^[^/:%\"']*$",
            description="name in the MLflow model registry; empty: register.model of params.yaml",
        ),
    ] = ""
    source: Annotated[
        Literal["as trained", SourceName],
        Field(
            description="where images come in. as trained: data.source and data.path of the "
            "champion; the others read watch.path, resized as the champion's images were"
        ),
    ] = "as trained"
    path: Annotated[
        str,
        Field(
            max_length=4096,
            description="folder, archive or file of images, or a URL (s3://, gs://, https://); a "
            "relative one lies in the repository",
        ),
    ] = ""
    labels: Annotated[
        Literal["auto", "folders", "file", "none"],
        Field(
            description="where classes come from, as data.labels; where images say none the "
            "reference's classifier tells them"
        ),
    ] = "auto"
    only_new: Annotated[
        bool,
        Field(
            description="count a file once (until its time, size or name changes), and none that "
            "the champion has learnt from; off: look at all files every time"
        ),
    ] = True
    served: Annotated[
        str,
        Field(
            max_length=4096,
            description="folder of `ganpipe serve --keep-samples`: are samples still as good as "
            "the champion was measured; empty: not looked at",
        ),
    ] = ""
    least: Annotated[
        int,
        Field(
            ge=20,
            le=3000,
            description="with fewer images than this nothing is decided, they wait for more",
        ),
    ] = 100
    most: Annotated[
        int,
        Field(
            ge=20,
            le=3000,
            description="images of each side that are compared, chosen at random of more; time "
            "and memory grow with the square",
        ),
    ] = 1000
    distance: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="kernel distance (KID, in the features that the champion was measured by) "
            "beyond which images have drifted, as a share of how much the real images differ "
            "among themselves; chance must not explain it. For served samples added to the "
            "champion's own",
        ),
    ] = 0.005
    shares: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="share of images in another class than was to be expected, beyond which "
            "the classes have drifted, if chance does not explain it",
        ),
    ] = 0.1
    seed: Annotated[int, Field(ge=0, lt=2**63, description="chooses images and deals them out")] = 0
    threads: Threads = 0

    @model_validator(mode="after")
    def _possible(self) -> WatchParams:
        if self.source in NEEDS_PATH and not self.path.strip():
            raise ValueError(f"watch.source={self.source} needs watch.path, where images come in")
        if self.least > self.most:
            raise ValueError(
                f"watch.least={self.least} is more than watch.most={self.most}: lower it"
            )
        return self
