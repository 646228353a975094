"""Whoever signs as MLflow does wakes the look at the registry; nobody else does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
import requests
from mlflow.webhooks.delivery import _generate_hmac_signature

from ganpipe.errors import GanpipeError
from ganpipe.registry_webhook import FRESH_SECONDS, SECRET_VARIABLE, listening, refusal

SECRET = "a secret of Ada's, ünlike others"  # noqa: S105
BODY = json.dumps({"entity": "model_version_alias", "action": "created", "data": {"name": "ä"}})


def headers(secret: str = SECRET, body: str = BODY, age: int = 0) -> dict[str, str]:
    """Those that MLflow sends, made by its own function."""
    sent = str(int(time.time()) - age)
    return {
        "x-mlflow-delivery-id": "an id",
        "x-mlflow-timestamp": sent,
        "x-mlflow-signature": _generate_hmac_signature(secret, "an id", sent, body),
    }


@pytest.mark.parametrize("age", [0, FRESH_SECONDS - 5, 5 - FRESH_SECONDS])
def test_what_mlflow_signs_is_let_in(age: int) -> None:
    assert refusal(SECRET, headers(age=age), BODY.encode(), time.time()) == ""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (dict, "not signed"),
        (lambda: headers("another secret"), "not signed"),
        (lambda: headers(body=BODY + " "), "not signed"),
        (lambda: {**headers(), "x-mlflow-delivery-id": "another"}, "not signed"),
        (lambda: {**headers(), "x-mlflow-timestamp": str(int(time.time()) + 9)}, "not signed"),
        (lambda: {**headers(), "x-mlflow-signature": "v1,"}, "not signed"),
        (lambda: {**headers(), "x-mlflow-signature": "v1,ü"}, "not signed"),
        (lambda: headers(age=FRESH_SECONDS + 60), "s old"),
        (lambda: headers(age=-FRESH_SECONDS - 60), "s old"),
    ],
)
def test_what_is_unsigned_or_stale_is_refused(
    given: Callable[[], dict[str, str]], told: str
) -> None:
    assert told in refusal(SECRET, given(), BODY.encode(), time.time())


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[float]]]:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    times: list[float] = []
    with listening("127.0.0.1:0", lambda: times.append(time.time())) as url:
        yield url, times


def test_only_a_signed_request_wakes(
    heard: tuple[str, list[float]], caplog: pytest.LogCaptureFixture
) -> None:
    url, times = heard
    with requests.Session() as session:
        session.trust_env = False
        answers = [
            session.post(url, data=BODY.encode(), headers=given, timeout=10).status_code
            for given in ({}, headers("another"), headers(age=FRESH_SECONDS + 60))
        ]
        assert (answers, times) == ([401, 401, 401], [])
        assert SECRET_VARIABLE in caplog.text
        long = session.post(url, data=b" " * 100_000, headers=headers(), timeout=10)
        assert (long.status_code, times) == (413, [])
        assert session.get(url, timeout=10).status_code == 405
        for path in ("", "ganpipe/webhook"):
            answer = session.post(url + path, data=BODY.encode(), headers=headers(), timeout=10)
            assert answer.status_code == 204
    assert len(times) == 2


def test_the_port_is_free_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    with listening("127.0.0.1:0", lambda: None) as url:
        address = url.removeprefix("http://").removesuffix("/")
        taken = f"cannot listen at {address} .*Address already in use"
        with pytest.raises(GanpipeError, match=taken), listening(address, lambda: None):
            pytest.fail("listened twice")
    with listening(address, lambda: None) as again:
        assert again == url


@pytest.mark.parametrize("address", ["8900", ":8900", "127.0.0.1:", "127.0.0.1:http", "::1:99999"])
def test_an_address_that_is_none_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    with pytest.raises(GanpipeError, match="is no HOST:PORT"), listening(address, lambda: None):
        pytest.fail("listened")


def test_without_a_secret_nobody_is_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    with (
        pytest.raises(GanpipeError, match=f"set {SECRET_VARIABLE}"),
        listening("127.0.0.1:0", lambda: None),
    ):
        pytest.fail("listened")
