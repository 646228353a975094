"""The one schema: params.yaml is its dump, the Prefect form its JSON schema, `--set` its keys."""

from ganpipe.params.compute import ComputeParams
from ganpipe.params.data import NEEDS_PATH, DataParams, SourceName
from ganpipe.params.evaluate import EvaluateParams
from ganpipe.params.files import PARAMS_FILE, load, override, to_yaml, validate, write
from ganpipe.params.model import ModelParams
from ganpipe.params.register import RegisterParams
from ganpipe.params.section import Section
from ganpipe.params.train import TrainParams
from ganpipe.params.whole import Params

__all__ = [
    "NEEDS_PATH",
    "PARAMS_FILE",
    "ComputeParams",
    "DataParams",
    "EvaluateParams",
    "ModelParams",
    "Params",
    "RegisterParams",
    "Section",
    "SourceName",
    "TrainParams",
    "load",
    "override",
    "to_yaml",
    "validate",
    "write",
]
