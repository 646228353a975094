"""A report stands beside the champion's numbers, and only where both have one protocol."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ganpipe import registry
from ganpipe.champion import beside_champion
from ganpipe.evaluation.measure import evaluate
from ganpipe.evaluation.real_images import make_reference
from ganpipe.files import read_json
from ganpipe.params import EvaluateParams
from tests.evaluation.digits import splits, untrained
from tests.registry.shelf import Shelf

PARAMS = EvaluateParams(samples=10, threads=1)
METRIC = "fid_lite0_10"
NAMES = ["index.html", "summary.md"]


class Place:
    """Reports of two generators, a registry, and room for what stands beside."""

    def __init__(self, root: Path) -> None:
        self.shelf = Shelf(root)
        data = splits(root, 12, 24, labelled=False)
        make_reference(*data, PARAMS, root / "reference")
        self.first, self.second = root / "first", root / "second"
        for seed, report in enumerate((self.first, self.second)):
            model = untrained(root / f"model-{seed}", seed)
            evaluate(model, root / "reference", data, PARAMS, report)

    def promote(self, name: str, evaluation: dict[str, Any] | None) -> str:
        """Make a version that was measured so champion; without, one that ganpipe did not make."""
        version = self.shelf.add(name, evaluation)
        self.shelf.client.set_registered_model_alias(name, registry.CHAMPION, version)
        return version

    def beside(self, name: str, folder: Path, report: Path | None = None) -> str:
        target = folder / "beside"
        target.mkdir()
        return beside_champion(self.shelf.uri, name, report or self.second, target)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("champion"))


@pytest.fixture(autouse=True)
def _no_outside_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def evaluation(report: Path, **protocol: Any) -> dict[str, Any]:
    """Its evaluation.json, by another protocol where that is said."""
    found: dict[str, Any] = read_json(report / "evaluation.json")
    return {**found, "protocol": {**found["protocol"], **protocol}}


def _row(page: str, name: str) -> dict[str, str]:
    """The cells of a measure's row in the page's table."""
    row = re.search(rf"<tr><th scope=\"row\"><code>{name}</code>.*?</tr>", page, re.DOTALL)
    assert row
    cells = re.findall(r"<td[^>]*data-name=\"(\w+)\">(.*?)</td>", row[0], re.DOTALL)
    return {key: re.sub(r"<[^>]+>", "", text).strip() for key, text in cells}


def test_every_number_stands_beside_the_champion_s(place: Place, tmp_path: Path) -> None:
    version = place.promote("measured", evaluation(place.first))
    assert place.beside("measured", tmp_path) == f"version {version}"
    assert sorted(path.name for path in (tmp_path / "beside").iterdir()) == NAMES
    page = (tmp_path / "beside" / "index.html").read_text()
    before = (place.second / "index.html").read_text()
    champions = (place.first / "index.html").read_text()
    names = [row["name"] for row in read_json(place.second / "evaluation.json")["measures"]]
    assert len(names) > 5
    for name in names:
        assert _row(page, name)["value"] == _row(before, name)["value"]
        assert _row(page, name)["champion"] == _row(champions, name)["value"]
    assert f"version {version}" in page
    assert "champion" not in _row(before, METRIC)
    summary = (tmp_path / "beside" / "summary.md").read_text()
    assert f"version {version}" in summary
    assert _row(champions, METRIC)["value"] in summary


def test_nothing_but_numbers_changes(place: Place, tmp_path: Path) -> None:
    place.promote("pictures", evaluation(place.first))
    place.beside("pictures", tmp_path)
    kept = []
    for folder in (place.second, tmp_path / "beside"):
        page = (folder / "index.html").read_text()
        for name in ("headline", "measures"):
            page, found = re.subn(rf"<!-- {name} -->.*<!-- /{name} -->", "", page, flags=re.DOTALL)
            assert found == 1
        kept.append(page)
    assert kept[0] == kept[1]
    told = read_json(place.second / "evaluation.json")
    summary = (tmp_path / "beside" / "summary.md").read_text()
    assert told["warnings"][0].split(":")[0] in summary
    assert "Memorisation" in summary


def test_a_champion_of_another_protocol_stands_there_only_once_it_is_measured_anew(
    place: Place, tmp_path: Path
) -> None:
    version = place.promote("other-protocol", evaluation(place.first, seed=99))
    assert place.beside("other-protocol", tmp_path) == ""
    assert list((tmp_path / "beside").iterdir()) == []
    place.shelf.evaluate("other-protocol", version, evaluation(place.first))
    (tmp_path / "anew").mkdir()
    assert place.beside("other-protocol", tmp_path / "anew") == f"version {version}"
    page = (tmp_path / "anew" / "beside" / "index.html").read_text()
    champions = (place.first / "index.html").read_text()
    assert _row(page, METRIC)["champion"] == _row(champions, METRIC)["value"]


def test_without_a_champion_there_is_nothing_beside(place: Place, tmp_path: Path) -> None:
    assert place.beside("nobody", tmp_path) == ""
    assert list((tmp_path / "beside").iterdir()) == []


def test_a_champion_without_any_numbers_is_passed_over(place: Place, tmp_path: Path) -> None:
    place.promote("silent", None)
    assert place.beside("silent", tmp_path) == ""


def test_a_report_without_a_page_stays_as_it_is(place: Place, tmp_path: Path) -> None:
    """Of a pipeline of the user's own, which writes numbers alone."""
    place.promote("own", evaluation(place.first))
    own = tmp_path / "own"
    own.mkdir()
    (own / "metrics.json").write_bytes((place.second / "metrics.json").read_bytes())
    assert place.beside("own", tmp_path, own) == ""
