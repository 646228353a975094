"""The databases of this checkout beside the packages that use them: neither may be older."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from ganpipe.doctor.check import Check
from ganpipe.workspace import state_folder

NAMED = re.compile(r"""^(revision|down_revision)\b[^=\n]*= *["'](\w+)["']""", re.MULTILINE)


@dataclass(frozen=True)
class Schema:
    """Where a package keeps the steps from one form of its database to the next."""

    name: str
    package: str
    database: str
    """Below the state folder."""
    steps: str
    """Below the package's folder, as Alembic lays them out: a file for each."""
    upgrade: str
    """How an older database becomes one of the installed version."""


SCHEMAS = (
    Schema(
        "MLflow's database",
        "mlflow",
        "mlflow/mlflow.db",
        "store/db_migrations/versions",
        "then `mlflow db upgrade sqlite:///{database}`",
    ),
    Schema(
        "Prefect's database",
        "prefect",
        "prefect/prefect.db",
        "server/database/_migrations/versions/sqlite",
        "then start it: Prefect upgrades it by itself",
    ),
)


def databases(repo: Path) -> Iterator[Check]:
    """Those of this checkout, where there are some. Opens them for reading alone."""
    state = state_folder(repo)
    for schema in SCHEMAS:
        database = state / schema.database
        if database.is_file():
            yield _compared(schema, database)


def _compared(schema: Schema, database: Path) -> Check:
    found, installed = _revision(database), f"{schema.package} {version(schema.package)}"
    if found is None:
        remedy = f"start what uses it, or move {database} away if it is not {schema.name}"
        return Check(schema.name, "warn", f"{database} is empty", remedy)
    steps = steps_of(schema)
    if found in steps.keys() - set(steps.values()):
        return Check(schema.name, "ok", f"{database}, of {installed}")
    copy = f"copy {database} while nothing runs"
    if found in steps:
        upgrade = schema.upgrade.format(database=database)
        return Check(
            schema.name, "fail", f"{database} is older than {installed}", f"{copy}, {upgrade}"
        )
    return Check(
        schema.name,
        "fail",
        f"{database} is newer than {installed} (revision {found})",
        "install the packages that wrote it (the requirements.lock of then), or bring back a copy",
    )


def _revision(database: Path) -> str | None:
    """Which form a database has; None for one without any."""
    from sqlalchemy import create_engine, inspect, text

    engine = create_engine(f"sqlite:///file:{quote(str(database))}?mode=ro&uri=true")
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
            return found
    finally:
        engine.dispose()


def steps_of(schema: Schema) -> dict[str, str]:
    """The forms that the installed package knows, each with the one before it.

    Read, not imported: a step imports its package, which other checks do in threads of their own.
    """
    spec = find_spec(schema.package)  # imports nothing of it
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(schema.package)
    folder = Path(spec.origin).parent / schema.steps
    found = {}
    for file in folder.glob("*.py"):
        named = dict(NAMED.findall(file.read_text(encoding="utf-8")))
        if "revision" in named:
            found[named["revision"]] = named.get("down_revision", "")
    return found
