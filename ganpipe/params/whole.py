"""All sections together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ganpipe.params.compute import ComputeParams
from ganpipe.params.data import DataParams
from ganpipe.params.evaluate import EvaluateParams
from ganpipe.params.model import ModelParams
from ganpipe.params.register import RegisterParams
from ganpipe.params.section import Section
from ganpipe.params.train import TrainParams


class Params(Section):
    """All parameters of a run, one section for each stage or step."""

    data: DataParams = DataParams()
    model: ModelParams = ModelParams()
    train: TrainParams = TrainParams()
    evaluate: EvaluateParams = EvaluateParams()
    # BaseModel already has an attribute `register` (from ABCMeta), hence the alias
    registration: Annotated[RegisterParams, Field(alias="register")] = RegisterParams()
    compute: ComputeParams = ComputeParams()

    def anchored(self, repo: Path) -> Params:
        """The same with an absolute data.path and evaluate.weights."""
        sections = {"data": self.data.anchored(repo), "evaluate": self.evaluate.anchored(repo)}
        return self.model_copy(update=sections)

    def dump(self) -> dict[str, Any]:
        """The parameters as params.yaml spells them."""
        return self.model_dump(mode="json", by_alias=True)
