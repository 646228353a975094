"""The script that MLflow runs to load a registered generator ("models from code"): no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray

from ganpipe.errors import GanpipeError
from ganpipe.files import sha256
from ganpipe.networks import load_generator
from ganpipe.networks.generator import WEIGHTS
from ganpipe.serving import generate


class GeneratorModel(PythonModel):
    """Makes images uint8 [n, H, W, C] from the parameters n, seed, label and truncation."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the generator. Raises GanpipeError when its weights are not those registered."""
        folder = Path(context.artifacts["generator"])
        found, wanted = sha256(folder / WEIGHTS), context.model_config["generator_sha256"]
        if found != wanted:
            raise GanpipeError(
                f"{folder / WEIGHTS} is damaged: its sha256 is {found}, not {wanted}; fetch this "
                "model again"
            )
        self.generator = load_generator(folder)

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> NDArray[np.uint8]:
        """A generator has no input: `model_input` is not read, everything is in `params`."""
        try:
            return generate(self.generator, **(params or {}))
        except GanpipeError as error:  # the scoring server answers 400 instead of 500
            raise MlflowException.invalid_parameter_value(str(error)) from error


set_model(GeneratorModel())
