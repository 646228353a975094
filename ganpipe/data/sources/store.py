"""A file system behind a URL: what lies there, what identifies it, why it cannot be read."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import unquote, urlsplit

from ganpipe.addresses import LOOPBACK
from ganpipe.data.sources.base import HIDDEN, LARGEST_FILE, Entry
from ganpipe.data.sources.names import distinct, is_left_out, is_unsafe
from ganpipe.errors import GanpipeError

Task = TypeVar("Task")
Done = TypeVar("Done")

_IN_FLIGHT = 16
_BYTES_IN_FLIGHT = 2**28
_WAITS = (0.5, 1.0, 2.0)  # seconds before a store is asked again
_DEEPEST = 100  # folders: some web servers show the same page below every address
_BLOCK = 2**22  # bytes that are read ahead in an archive
# what changes with the content, the most certain first; every store has its own names
_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "generation", "version_id", "mtime")
_TIMES = ("LastModified", "last_modified", "Last-Modified", "updated", "modified", "created")
_WAYS_OUT = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE (a public bucket: "
    "FSSPEC_S3_ANON=true), and AWS_ENDPOINT_URL for a store that is not Amazon's",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or log in with gcloud",
    "az": "set AZURE_STORAGE_CONNECTION_STRING",
}


class Store:
    """The file system of a URL, and the place in it. Raises GanpipeError when it is unknown."""

    def __init__(self, url: str) -> None:
        import fsspec  # type: ignore[import-untyped]

        self.shown = re.sub(r"//[^/@]*@", "//", url)
        self.protocol = url.partition("://")[0]
        self.is_web = self.protocol in ("http", "https")
        # listings of earlier runs in the same process would hide what is new
        options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
        if self.is_web:
            options |= {"simple_links": False, "client_kwargs": _web_client(url)}
        try:
            self.fs, self.place = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise GanpipeError(
                f"data.path={self.shown}: {error}{_package(self.protocol)}"
            ) from error

    @property
    def where_files_are(self) -> str:
        if self.is_web:
            return "the server must show an index page that links to them"
        return "check the bucket and the folder in it, and upload images there"

    def listed(self) -> tuple[list[Entry], dict[str, str]]:
        """Every file below the place, ordered by path and without classes.

        Also the name in the file system of each path. None where the place itself is a file.
        Raises GanpipeError when it cannot be listed.
        """
        base = self.place.rstrip("/") + "/"
        try:
            found = self._walk_pages(base) if self.is_web else self._find()
        except GanpipeError:
            raise
        except Exception as error:
            raise problem(error, self.shown) from error
        names = sorted(name for name in found if name.startswith(base) and len(name) > len(base))
        paths = distinct([self._text(name.removeprefix(base)) for name in names])
        real = dict(zip(paths, names, strict=True))
        about = [(path, name, found[name]) for path, name in real.items()]
        entries = self._asked(about) if self.is_web else [self._entry(item) for item in about]
        return sorted(entries, key=lambda entry: entry.path), real

    def _asked(self, about: list[tuple[str, str, dict[str, Any]]]) -> list[Entry]:
        """The entries of a web server, which is asked about each file."""
        try:
            return list(work_in_flight(self._entry, about, lambda _: 0))
        except Exception as error:
            raise problem(error, self.shown) from error

    def fetch(self, name: str) -> bytes:
        """All bytes of a file, by its name in the file system; asks a few times."""
        return cast(bytes, _patiently(lambda: self.fs.cat_file(name)))

    def info(self, name: str) -> tuple[int | None, str]:
        """Size in bytes (None where the store does not say) and tag of a file."""
        try:
            about = _patiently(lambda: self._info(name))
        except Exception as error:
            raise problem(error, self.shown) from error
        return about.get("size"), tag_of(about)

    def open(self, name: str, streaming: bool) -> BinaryIO:
        """A file to read in pieces; streaming web files cannot seek."""
        block = 0 if streaming and self.is_web else _BLOCK
        return cast(BinaryIO, self.fs.open(name, "rb", block_size=block, cache_type="readahead"))

    def _info(self, name: str) -> dict[str, Any]:
        try:
            return cast(dict[str, Any], self.fs.info(name))
        except FileNotFoundError as error:
            # for web servers fsspec says so whatever the failure was
            raise (error.__cause__ if self.is_web and error.__cause__ else error) from None

    def _find(self) -> dict[str, Any]:
        kind = type(self.fs)
        walks = getattr(kind, "_find", kind.find).__module__ in ("fsspec.asyn", "fsspec.spec")
        # a file system that walks its folders leaves out unreadable ones unless told otherwise
        strict = {"on_error": "raise"} if walks else {}
        found = self.fs.find(self.place, detail=True, **strict)
        # stores without folders have empty files that stand for them
        return {name: about for name, about in found.items() if not name.endswith("/")}

    def _walk_pages(self, base: str) -> dict[str, Any]:
        """Files that the index pages below `base` link to."""
        found: dict[str, Any] = {}
        waiting, seen = [base], {base}
        while waiting:
            page = waiting.pop()
            if page.count("/") - base.count("/") > _DEEPEST:
                raise GanpipeError(
                    f"{self.shown} goes on for more than {_DEEPEST} folders, at {page}: set "
                    f"data.path to the page that links to the images"
                )
            for about in self.fs.ls(page, detail=True):
                name = about["name"]
                if name in seen or not name.startswith(base) or "?" in name[len(base) :]:
                    continue  # a link to another order of the same page
                seen.add(name)
                if name.endswith("/"):
                    waiting.append(name)
                else:
                    found[name] = about
        return found

    def _text(self, name: str) -> str:
        return unquote(name, errors="backslashreplace") if self.is_web else name

    def _entry(self, item: tuple[str, str, dict[str, Any]]) -> Entry:
        path, name, about = item
        if is_left_out(path) and not is_unsafe(path):
            return Entry(path, 0, "", status=HIDDEN)
        if self.is_web:
            try:
                about = _patiently(lambda: self._info(name))
            except Exception as error:
                if is_transient(error):
                    raise
                missing = isinstance(error, FileNotFoundError) or _http_status(error) == 404
                return Entry(path, 0, "", status="missing" if missing else "not-readable")
        size = about.get("size") or 0
        status = "too-large" if size > LARGEST_FILE else ""
        return Entry(path, size, tag_of(about), status="unsafe-name" if is_unsafe(path) else status)


def tag_of(about: dict[str, Any]) -> str:
    """What a listing says that changes with the content."""
    for key in _TAGS + _TIMES:
        if about.get(key):
            return str(about[key]).strip('"')
    return str(about.get("size") or "")


def is_transient(error: Exception) -> bool:
    """Whether asking again may help."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return False
    status = _http_status(error)
    return not 400 <= status < 500 or status in (408, 429)


def _http_status(error: Exception) -> int:
    status = getattr(error, "status", 0)
    return status if isinstance(status, int) else 0


def _patiently(ask: Callable[[], Done]) -> Done:
    for wait_for in _WAITS:
        try:
            return ask()
        except Exception as error:
            if not is_transient(error):
                raise
            time.sleep(wait_for)
    return ask()


def problem(error: Exception, shown: str) -> GanpipeError:
    """What to tell the user when a store as a whole cannot be read."""
    way_out = _WAYS_OUT.get(shown.partition("://")[0], "check the credentials for it")
    reason = f"{type(error).__name__}: {error}".strip(": ")
    status = _http_status(error)
    if isinstance(error, FileNotFoundError) or status == 404:
        return GanpipeError(f"{shown} does not exist ({reason}): check data.path")
    if isinstance(error, PermissionError) or "Credentials" in reason or status in (401, 403):
        return GanpipeError(f"{shown} may not be read ({reason}): {way_out}")
    return GanpipeError(f"{shown} cannot be reached ({reason}): check the network, or {way_out}")


def work_in_flight(
    work: Callable[[Task], Done], tasks: Iterable[Task], cost: Callable[[Task], int]
) -> Iterator[Done]:
    """The results of up to 16 threads as they are ready; `cost` is the bytes of one result."""
    flying: dict[Future[Done], int] = {}
    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        for task in tasks:
            price = cost(task)
            while flying and (
                len(flying) >= _IN_FLIGHT or sum(flying.values()) + price > _BYTES_IN_FLIGHT
            ):
                yield from _landed(flying)
            flying[pool.submit(work, task)] = price
        while flying:
            yield from _landed(flying)


def _landed(flying: dict[Future[Done], int]) -> Iterator[Done]:
    for future in wait(flying, return_when=FIRST_COMPLETED).done:
        del flying[future]
        yield future.result()


def _web_client(url: str) -> dict[str, Any]:
    import aiohttp

    # aiohttp ends every request after five minutes, which large archives take longer than
    patience = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
    return {"timeout": patience, "trust_env": urlsplit(url).hostname not in LOOPBACK}


def _package(protocol: str) -> str:
    """What to install for a protocol that fsspec knows, but cannot speak here."""
    from fsspec.registry import known_implementations  # type: ignore[import-untyped]

    known = known_implementations.get(protocol, {}).get("class", "").partition(".")[0]
    if known == "fsspec":
        return ""
    return f" (pip install {known})" if known else " (known: s3, gs, az, https, file and others)"
