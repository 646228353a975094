"""The flow `promote` on a real server with a worker: asked, answered, not answered, overtaken."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry
from prefect.utilities.callables import parameter_schema

from flows import deploy, locks, services
from flows.prefect_server import command, settings, shared_server
from flows.processes import stop
from flows.promote import DEPLOYMENT, ask_person, promote
from flows.registry_events import emit_move
from ganpipe import registry, tracking, workspace
from ganpipe.errors import GanpipeError
from ganpipe.params import RegisterParams
from ganpipe.registry import CHAMPION, PREVIOUS, Decision, Move
from ganpipe.registry.audit import now
from ganpipe.registry.place import Place
from tests.flows.registered import Repository

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GOOD = {"decision": "approve", "name": "Ada", "reason": "sharper"}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> Iterator[Repository]:
    """A checkout with what `ganpipe deploy` puts on a server, that server, and its worker."""
    folder = tmp_path_factory.mktemp("approval")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "GANPIPE_STATE", "GIT_DIR"):
            patch.delenv(name, raising=False)
        made = Repository(folder / "a repository", repository_root)
        with shared_server(made.state) as url, temporary_settings({PREFECT_API_URL: url}):
            env = {**workspace.environment(made.folder), **settings(made.state, url)}
            env["GANPIPE_REPOSITORY"] = str(made.folder)
            deploy.deploy(made.folder, "ganpipe", env)
            deploy.deploy(made.folder, "ganpipe", env)  # and again, which must change nothing
            worker = services.start(
                "the Prefect worker",
                command("worker", "start", "--pool", "ganpipe", "--type", "process"),
                state=made.state,
                cwd=made.folder,
                env={**env, "PREFECT_WORKER_QUERY_SECONDS": "2"},
            )
            try:
                yield made
            finally:
                stop(worker.process)


@pytest.fixture
def client(repo: Repository) -> Iterator[SyncPrefectClient]:
    del repo
    with get_client(sync_client=True) as found:
        yield found


@pytest.fixture
def model(repo: Repository, request: pytest.FixtureRequest) -> str:
    """A model whose version 1 is champion, and whose version 2 waits."""
    name = re.sub(r"\W", "-", request.node.name)
    asked = (f"register.model={name}", "register.approval=person")
    repo.register(1, 20.0, f"register.model={name}")
    assert repo.register(2, 10.0, *asked).move.action == "waiting"  # type: ignore[union-attr]
    return name


def start(model: str, **parameters: Any) -> UUID:
    given = {"model": model, "version": "2", "approval": "person", **parameters}
    run: Any = run_deployment(DEPLOYMENT, parameters=given, timeout=0)
    return UUID(str(run.id))


def wait(
    client: SyncPrefectClient, run: UUID, condition: Callable[[FlowRun], bool], seconds: float = 90
) -> FlowRun:
    deadline = time.monotonic() + seconds
    while not condition(found := client.read_flow_run(run)):
        assert time.monotonic() < deadline, found.state
        time.sleep(0.5)
    return found


def is_asking(run: FlowRun) -> bool:
    assert run.state is not None
    assert not run.state.is_final(), run.state
    return run.state.is_paused()


def question(run: FlowRun) -> str | None:
    assert run.state is not None
    return run.state.state_details.pause_key


def is_over(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def ask(client: SyncPrefectClient, model: str, **parameters: Any) -> UUID:
    run = start(model, **parameters)
    wait(client, run, is_asking)
    return run


def answer(client: SyncPrefectClient, run: UUID, **given: str) -> FlowRun:
    told = client.resume_flow_run(run, run_input={**GOOD, **given})
    assert told.status == "ACCEPT", told
    return wait(client, run, is_over)


def last(repo: Repository, model: str) -> Move:
    return registry.history(repo.uri, model)[-1]


def shown(client: SyncPrefectClient, run: UUID) -> list[str]:
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    return [str(each.data) for each in client.read_artifacts(artifact_filter=wanted)]


def events(client: SyncPrefectClient, name: str, model: str) -> list[dict[str, Any]]:
    wanted = EventFilter(event=EventNameFilter(name=[name]))
    found = client.read_events(wanted, limit=50).events
    return [each.payload for each in found if each.resource.id == f"ganpipe.model.{model}"]


def test_approved_by_a_person_who_saw_both(
    repo: Repository, client: SyncPrefectClient, model: str
) -> None:
    run = ask(client, model, reason="the run of the morning")
    assert repo.aliases(model)[CHAMPION] == "1", "nothing moves before somebody decides"
    (text,) = shown(client, run)
    assert text.count("](data:image/") == 2
    for told in ("Promote", "the run of the morning", "better", "recall", "10.0", "20.0", "pass"):
        assert told in text
    assert "every byte that it was made of can be had again" in text
    over = answer(client, run)
    assert over.state is not None
    assert (over.state.name, over.state.is_completed()) == ("Promoted", True)
    assert repo.aliases(model) | {"candidate": ""} == {
        CHAMPION: "2",
        PREVIOUS: "1",
        "candidate": "",
    }
    move = last(repo, model)
    assert (move.action, move.by, move.reason) == ("promoted", "Ada", "sharper")
    assert len(shown(client, run)) == 1
    deadline = time.monotonic() + 30
    while not (found := events(client, "ganpipe.model.promoted", model)):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert [(each["version"], each["previous"], each["by"]) for each in found] == [
        ("2", "1", "Ada")
    ]


def test_rejected_by_a_person(repo: Repository, client: SyncPrefectClient, model: str) -> None:
    over = answer(client, ask(client, model), decision="reject", reason="all sixes")
    assert over.state is not None
    assert (over.state.name, over.state.is_completed()) == ("Refused", True)
    assert repo.aliases(model)[CHAMPION] == "1"
    move = last(repo, model)
    assert (move.action, move.by, move.reason) == ("refused", "Ada", "all sixes")
    assert move.decision.passed, "the gate's own word stays on record"


def test_an_answer_that_is_none_leaves_the_question_open(
    repo: Repository, client: SyncPrefectClient, model: str
) -> None:
    run = ask(client, model)
    wrong = [{"name": " "}, {"name": "x" * 101}, {"reason": ""}, {"decision": "perhaps"}, {}]
    for given in wrong:
        told = client.resume_flow_run(run, run_input={**GOOD, **given} if given else None)
        assert told.status == "REJECT", given
        assert is_asking(client.read_flow_run(run))
    assert answer(client, run).state.name == "Promoted"  # type: ignore[union-attr]


def test_a_champion_that_changed_meanwhile_is_another_question(
    repo: Repository, client: SyncPrefectClient, model: str
) -> None:
    run = ask(client, model)
    third = repo.register(3, 15.0, f"register.model={model}")
    assert (third.version, third.alias) == ("3", CHAMPION)
    client.resume_flow_run(run, run_input=GOOD)
    wait(client, run, lambda each: is_asking(each) and question(each) == "version-2-over-3")
    assert repo.aliases(model)[CHAMPION] == "3", "the first answer was to another question"
    assert answer(client, run, name="Bob").state.name == "Promoted"  # type: ignore[union-attr]
    assert (repo.aliases(model)[PREVIOUS], last(repo, model).by) == ("3", "Bob")


def test_the_gate_says_no_and_a_person_says_so_all_the_same(
    repo: Repository, client: SyncPrefectClient, model: str
) -> None:
    repo.register(3, 30.0, f"register.model={model}")
    over = answer(client, ask(client, model, version="3"))
    assert over.state.name == "Refused"  # type: ignore[union-attr]
    over = answer(client, ask(client, model, version="3"), decision="approve against the gate")
    assert over.state.name == "Promoted"  # type: ignore[union-attr]
    assert not last(repo, model).decision.passed
    over = answer(client, ask(client, model, action="rollback"), name="Bob")
    assert over.state.name == "Rolled-back"  # type: ignore[union-attr]
    assert (repo.aliases(model)[CHAMPION], last(repo, model).by) == ("1", "Bob")


def not_promoted(repo: Repository, model: str, why: str) -> None:
    deadline = time.monotonic() + 90
    while (move := last(repo, model)).by != "nobody":
        assert time.monotonic() < deadline, move
        time.sleep(1)
    assert (move.action, move.version) == ("refused", "2")
    assert why in move.reason
    assert repo.aliases(model)[CHAMPION] == "1"


def test_nobody_decides_in_time(repo: Repository, client: SyncPrefectClient, model: str) -> None:
    run = ask(client, model, hours=0.001)
    not_promoted(repo, model, "nobody decided in time")
    assert client.read_flow_run(run).state.is_failed()  # type: ignore[union-attr]


def test_cancelled_while_it_waits(repo: Repository, client: SyncPrefectClient, model: str) -> None:
    from prefect.states import Cancelling

    run = ask(client, model)
    client.set_flow_run_state(run, Cancelling())
    not_promoted(repo, model, "it was cancelled before anybody decided")
    assert client.read_flow_run(run).state.is_cancelled()  # type: ignore[union-attr]


def test_without_a_person_the_gate_decides(
    repo: Repository, client: SyncPrefectClient, model: str
) -> None:
    repo.register(3, 30.0, f"register.model={model}")
    over = wait(client, start(model, version="3", approval="auto", reason="try"), is_over)
    assert over.state.name == "Refused"  # type: ignore[union-attr]
    over = wait(client, start(model, approval="auto", reason="better"), is_over)
    assert over.state.name == "Promoted"  # type: ignore[union-attr]
    over = wait(client, start(model, version="7", approval="auto", reason="x"), is_over)
    assert over.state is not None
    assert over.state.is_failed()
    assert "has no version 7: versions 1, 2, 3" in str(over.state.message)
    assert len(registry.history(repo.uri, model)) == 5


def test_a_run_that_is_started_again_moves_nothing_twice(
    repo: Repository, client: SyncPrefectClient, model: str
) -> None:
    """As after a crash between the move and the end of the run."""
    wait(client, start(model, approval="auto", reason="better"), is_over)
    back = start(model, action="rollback", approval="auto", reason="it repeats itself")
    wait(client, back, is_over)
    known = registry.history(repo.uri, model)
    client.set_flow_run_state(back, AwaitingRetry(), force=True)
    over = wait(client, back, lambda run: run.run_count == 2 and is_over(run))
    assert over.state.name == "Rolled-back"  # type: ignore[union-attr]
    assert registry.history(repo.uri, model) == known
    assert known[-1].request == str(back)
    assert registry.aliases(tracking.connect(repo.uri), model)[CHAMPION] == "1"


def test_a_candidate_is_asked_about_once(
    repo: Repository, client: SyncPrefectClient, model: str
) -> None:
    version = tracking.connect(repo.uri).get_model_version(model, "2")
    passed = Decision(True, "it passed the gate")
    waiting = Move("waiting", model, "2", "1", "gate", now(), passed.reason, passed)
    run = ask_person(version, waiting)
    assert run is not None
    assert ask_person(version, waiting) == run
    wait(client, run, is_asking)
    assert "it passed the gate" in shown(client, run)[0]
    # nobody decided, it was registered anew, and waits anew
    assert ask_person(version, replace(waiting, at=now())) != run


def test_deploying_twice_makes_one_of_each(repo: Repository, client: SyncPrefectClient) -> None:
    (automation,) = client.read_automations_by_name("ganpipe promotion not decided")
    assert automation.enabled
    client.pause_automation(automation.id)
    deploy.automate(client, repo.folder / deploy.AUTOMATIONS)
    (again,) = client.read_automations_by_name("ganpipe promotion not decided")
    assert (again.id, again.enabled) == (automation.id, False)
    client.resume_automation(automation.id)
    limit = client.read_global_concurrency_limit_by_name(locks.LIMIT)
    assert (limit.limit, limit.active) == (1, True)
    form = client.read_deployment_by_name(DEPLOYMENT)
    assert form.parameters == {"model": "ganpipe", "approval": "auto"}


def test_a_command_on_a_terminal_tells_the_server_too(
    repo: Repository, client: SyncPrefectClient, model: str
) -> None:
    url = str(client.api_url)
    env = {**workspace.environment(repo.folder), **settings(repo.state, url)}
    command = [
        sys.executable,
        "-P",
        "-m",
        "ganpipe",
        "promote",
        "2",
        "--reason",
        "by hand of a shell",
    ]
    done = subprocess.run(
        [*command, "--model", model], cwd=repo.folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "version 2 became champion after version 1" in done.stdout
    deadline = time.monotonic() + 30
    while not (found := events(client, "ganpipe.model.promoted", model)):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert [(each["version"], each["reason"]) for each in found] == [("2", "by hand of a shell")]


def test_a_number_is_a_version_and_the_form_stays_one_field_of_text() -> None:
    assert promote.validate_parameters({"version": 3})["version"] == "3"
    assert parameter_schema(promote).properties["version"]["type"] == "string"


def test_a_hand_that_comes_between_is_told_to_the_server(
    repo: Repository, client: SyncPrefectClient, model: str
) -> None:
    """The flow judges version 2 against 1, and 3 becomes champion in MLflow meanwhile."""
    repo.register(3, 30.0, f"register.model={model}")
    mlflow = tracking.connect(repo.uri)

    class Overtaken(Place):
        def verify(self, version: ModelVersion) -> list[str]:
            mlflow.set_registered_model_alias(model, CHAMPION, "3")
            return super().verify(version)

    asked = RegisterParams()
    overtaken = Overtaken(repo.folder, repo.uri, model, asked, locks.promotion_lock, emit_move)
    with pytest.raises(GanpipeError, match=r"version 3 of .* has become champion meanwhile"):
        overtaken.promote("2", "sharper")
    deadline = time.monotonic() + 30
    while not (found := events(client, "ganpipe.model.promoted", model)):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert [(each["action"], each["version"]) for each in found] == [("by-hand", "3")]
