"""Parameters: one schema, and every mistake is named before any work starts."""

import pytest
import yaml

from ganpipe import params
from ganpipe.errors import GanpipeError
from ganpipe.params import Params


def test_params_yaml_in_the_repository_has_every_key_with_its_description(repository_root):
    text = (repository_root / "params.yaml").read_text()
    assert text == params.to_yaml(params.load(repository_root / "params.yaml"))


def test_the_form_names_and_explains_every_key_as_params_yaml_does():
    for section in Params.model_json_schema()["$defs"].values():
        assert section["description"]
        for key, field in section["properties"].items():
            assert field["title"] == key
            assert field["description"]


@pytest.mark.parametrize(
    ("section", "key", "bounds"),
    [
        ("DataParams", "test_fraction", "its own (at least 0.01, at most 0.5)"),
        ("TrainParams", "kimg", "in thousand images (above 0, at most 1,000,000)"),
        ("TrainParams", "beta2_final", "null keeps it (at least 0, below 1)"),
        ("TrainParams", "seed", "every random draw (at least 0)"),
        ("ModelParams", "architecture", "without classes"),
    ],
)
def test_the_form_tells_bounds_which_prefect_does_not_show(section, key, bounds):
    field = Params.model_json_schema()["$defs"][section]["properties"][key]
    assert field["description"].endswith(bounds)


def test_the_form_offers_all_choices_of_conditional_in_one_list():
    field = Params.model_json_schema()["$defs"]["ModelParams"]["properties"]["conditional"]
    assert field["enum"] == ["auto", True, False]
    for choice in field["enum"]:
        assert params.validate({"model": {"conditional": choice}}).model.conditional == choice


def test_written_parameters_read_back_equal(tmp_path):
    chosen = params.override(Params(), ["train.lr=3e-4", "data.source=folder", "data.path=007"])
    params.write(chosen, tmp_path / "params.yaml")
    assert params.load(tmp_path / "params.yaml") == chosen
    assert chosen.train.lr == 3e-4
    assert chosen.data.path == "007"


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("train.kimgg=3", ["train.kimgg", "did you mean kimg", "batch"]),
        ("train.kimg=-1", ["train.kimg=-1", "greater than 0"]),
        ("train.kimg=nan", ["train.kimg"]),
        ("train.batch=many", ["train.batch=many", "integer"]),
        ("data.source=mnits", ["data.source=mnits", "fashion-mnist"]),
        ("data.source=folder", ["data.path"]),
        ("training.kimg=3", ["training", "train"]),
        ("train.kimg=[1", ["train.kimg=[1"]),
        ("data.resolution=@x", ["data.resolution=@x"]),
        ("train.lr_final=1e-4", ["train.lr_final=0.0001", "train.schedule=linear or cosine"]),
        ("train.augment=diffaugment", ["train.augment_strength=0", "train.augment=none"]),
        ("train.snapshot_samples=0 train.stop_kimg=9", ["train.stop_kimg=9", "snapshot_samples"]),
        ("model.conditional=maybe", ["model.conditional=maybe", "auto, true or false"]),
        ("kimg=3", ["section.key=value"]),
        ("train.kimg", ["section.key=value"]),
        ("register.model=a/b", ["register.model=a/b"]),
    ],
)
def test_a_bad_assignment_names_key_value_and_what_is_allowed(assignment, words):
    with pytest.raises(GanpipeError) as caught:
        params.override(Params(), assignment.split())
    for word in words:
        assert word in str(caught.value)


def test_a_typo_in_params_yaml_is_named_with_the_file(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("train:\n  kmig: 3\n")
    with pytest.raises(GanpipeError, match=r"params\.yaml: train\.kmig .*did you mean kimg"):
        params.load(path)


def test_text_that_is_no_yaml_is_an_error_not_a_crash(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("train: [")
    with pytest.raises(GanpipeError, match="no YAML"):
        params.load(path)


def test_a_missing_params_yaml_says_how_to_make_one(tmp_path):
    with pytest.raises(GanpipeError, match="ganpipe init"):
        params.load(tmp_path / "params.yaml")


def test_every_field_has_a_description_and_a_default():
    for section in Params.model_fields.values():
        for name, field in section.annotation.model_fields.items():
            assert field.description, name
            assert not field.is_required(), name


def test_the_schema_is_flat_enough_for_a_form():
    for section in yaml.safe_load(params.to_yaml(Params())).values():
        for value in section.values():
            parts = value if isinstance(value, list) else [value]
            assert all(not isinstance(part, dict | list) for part in parts)


@pytest.mark.parametrize(
    ("text", "shape"),
    [("0", None), ("32", (32, 32)), ("[48, 64]", (48, 64)), ("[28]", (28, 28))],
)
def test_a_resolution_is_one_number_or_two(text, shape):
    chosen = params.override(Params(), [f"data.resolution={text}"])
    assert chosen.data.shape == shape
    assert params.validate(yaml.safe_load(params.to_yaml(chosen))) == chosen


@pytest.mark.parametrize("text", ["-1", "x", "[1", "[0, 5]", "[1, 2, 3]", "9999", "64.5"])
def test_a_bad_resolution_is_named_with_what_is_allowed(text):
    with pytest.raises(GanpipeError) as caught:
        params.override(Params(), [f"data.resolution={text}"])
    assert "data.resolution=" in str(caught.value)
    assert "[height, width]" in str(caught.value)


def test_only_a_local_path_is_anchored_below_the_repository(tmp_path):
    for path, expected in [
        ("pictures", str(tmp_path / "pictures")),
        ("/elsewhere", "/elsewhere"),
        ("s3://bucket/pictures", "s3://bucket/pictures"),
        ("", ""),
    ]:
        chosen = Params(data=params.DataParams(path=path))
        assert chosen.anchored(tmp_path).data.path == expected


def test_a_cluster_needs_an_address_and_a_kind_of_source_its_place():
    for bad, key in [("compute.engine=dask", "compute.address"), ("data.source=npz", "data.path")]:
        with pytest.raises(GanpipeError, match=key):
            params.override(Params(), [bad])
