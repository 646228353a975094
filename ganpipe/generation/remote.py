"""A destination behind a URL of any file system that fsspec knows and can write."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ganpipe.errors import GanpipeError
from ganpipe.generation.place import AGAIN, DESCRIPTION, UNFINISHED
from ganpipe.training.state_store import S3_PATIENCE, WAYS_OUT

Done = TypeVar("Done")

WITHOUT_FOLDERS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https")


class Remote:
    """Files below a URL. They come under their final names, DESCRIPTION last: stores rename by
    copying. Credentials and endpoint come from the environment, as for data.path."""

    def __init__(self, url: str) -> None:
        import fsspec  # type: ignore[import-untyped]

        # without the name and password that it may carry
        self.shown = re.sub(r"//[^/@]*@", "//", url).rstrip("/")
        self.protocol = url.partition("://")[0]
        # listings of earlier runs in the same process would hide what is new
        options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
        if self.protocol == "s3":
            options["config_kwargs"] = S3_PATIENCE
        self.fs, place = self._named(lambda: fsspec.core.url_to_fs(url, **options))
        self.place = place.rstrip("/")
        if self.protocol not in WITHOUT_FOLDERS:
            self._named(lambda: self.fs.makedirs(f"{self.place}/{UNFINISHED}", exist_ok=True))

    def finished(self) -> dict[str, int]:
        found = self._named(lambda: self.fs.find(self.place, detail=True))
        start = f"{self.place}/"
        return {
            name.removeprefix(start): int(about["size"])
            for name, about in found.items()
            if name.startswith(start) and name != start
        }

    def description(self) -> Any:
        return self._json(DESCRIPTION)

    def begun(self) -> dict[str, int]:
        return self.finished()

    def noted(self, name: str) -> Any:
        return self._json(f"{UNFINISHED}/{name}")

    def note(self, name: str, value: Any) -> None:
        self.write({f"{UNFINISHED}/{name}": json.dumps(value).encode()})

    def write(self, files: Mapping[str, bytes]) -> None:
        named = {f"{self.place}/{name}": content for name, content in files.items()}
        self._named(lambda: self.fs.pipe(named))

    def stream(self, name: str, content: Iterable[bytes]) -> None:
        with _spooled(content) as path:
            self._named(lambda: self.fs.put_file(str(path), f"{self.place}/{name}"))

    def remove(self, names: Iterable[str]) -> None:
        # one by one, in the given order: the description goes before what it describes
        for name in names:
            self._named(lambda name=name: self.fs.rm_file(f"{self.place}/{name}"))  # type: ignore[misc]

    def publish(self) -> None:
        self.remove(name for name in self.finished() if name.startswith(f"{UNFINISHED}/"))

    def close(self) -> None:
        pass

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None where it is not there."""
        try:
            return bytes(self.fs.cat_file(f"{self.place}/{name}"))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._problem(error) from error

    def _json(self, name: str) -> Any:
        content = self.read(name)
        try:
            return None if content is None else json.loads(content)
        except ValueError as error:
            raise GanpipeError(f"{self.shown}/{name} is damaged ({error}): remove it") from None

    def _named(self, work: Callable[[], Done]) -> Done:
        try:
            return work()
        except Exception as error:
            raise self._problem(error) from error

    def _problem(self, error: Exception) -> GanpipeError:
        reason = f"{type(error).__name__}: {error}".strip(": ")
        way_out = WAYS_OUT.get(self.protocol, "check the place and the credentials for it")
        return GanpipeError(
            f"{self.shown} cannot be written ({reason}): {way_out}; then {AGAIN}, or name another "
            "place with --out"
        )


@contextmanager
def _spooled(content: Iterable[bytes]) -> Iterator[Path]:
    """Bytes in a file of this machine while they are sent elsewhere."""
    with tempfile.TemporaryDirectory(prefix="ganpipe-") as folder:
        path = Path(folder) / "file"
        with path.open("wb") as file:
            file.writelines(content)
        yield path
