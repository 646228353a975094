"""The databases of this checkout beside the packages that use them: neither may be older."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ganpipe.doctor.check import Check
from ganpipe.workspace import state_folder

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory


@dataclass(frozen=True)
class Schema:
    """Where a package keeps the steps from one form of its database to the next."""

    name: str
    package: str
    database: str
    """Below the state folder."""
    scripts: str
    """Below the package's folder, as Alembic lays them out."""
    versions: str
    """Below `scripts`."""
    upgrade: str
    """How an older database becomes one of the installed version."""


SCHEMAS = (
    Schema(
        "MLflow's database",
        "mlflow",
        "mlflow/mlflow.db",
        "store/db_migrations",
        "versions",
        "then `mlflow db upgrade sqlite:///{database}`",
    ),
    Schema(
        "Prefect's database",
        "prefect",
        "prefect/prefect.db",
        "server/database/_migrations",
        "versions/sqlite",
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
    scripts = scripts_of(schema)
    if found in scripts.get_heads():
        return Check(schema.name, "ok", f"{database}, of {installed}")
    copy = f"copy {database} while nothing runs"
    if _knows(scripts, found):
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


def scripts_of(schema: Schema) -> ScriptDirectory:
    """The steps that the installed package knows. Raises ModuleNotFoundError without it."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    spec = find_spec(schema.package)  # imports nothing of it
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(schema.package)
    folder = Path(spec.origin).parent / schema.scripts
    config = Config()
    for option, value in (
        ("script_location", folder),
        ("version_locations", folder / schema.versions),
        ("path_separator", "newline"),
    ):
        config.set_main_option(option, str(value).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def _knows(scripts: ScriptDirectory, revision: str) -> bool:
    from alembic.util.exc import CommandError

    try:
        return scripts.get_revision(revision) is not None
    except CommandError:
        return False
