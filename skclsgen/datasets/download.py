"""Fetch a file over HTTP once, check what came, and keep it in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, build_opener

from tqdm.auto import tqdm

from ..disk_store import replace_file, share_as_folder
from ..exceptions import DatasetError
from ..model_source import cache_folder

__all__ = ["fetch_file", "local_file"]

#: Bytes read at a time.
BLOCK = 1 << 18


def fetch_file(
    url: str,
    sha256: str | None,
    folder: str,
    data_home: str | os.PathLike[str] | None = None,
    name: str | None = None,
    timeout: float = 30.0,
    verbose: int = 0,
) -> Path:
    """Return the local copy of a file, downloading it where there is none.

    The file appears whole or not at all, and is checked each time it is asked for.

    Parameters
    ----------
    url : str
        Of the scheme http or https.
    sha256 : str or None
        Digest the file must have, 64 hexadecimal digits. ``None`` means *trust on first use*: the
        digest of what came first is written to ``<name>.sha256`` beside the file, and every later
        call must find that one. This notices a file that changed since, not one that was wrong
        from the start.
    folder : str
        Name of the folder below ``data_home``.
    data_home : str or path, optional
        Where data sets are kept; by default ``datasets`` in ``$SKCLSGEN_CACHE`` or in the user's
        cache folder.
    name : str, optional
        Name of the file; by default the last part of ``url``.
    timeout : float, default=30.0
        Seconds to wait for the server, for the first answer and between any two parts.
    verbose : int, default=0
        Show a progress bar from 1 up.

    Returns
    -------
    Path

    Raises
    ------
    DatasetError
        If the home cannot be reached, the transfer breaks off, or the digest is another; nothing
        is kept then.
    ValueError
        If ``url`` is not of HTTP, or ``sha256`` or ``name`` is malformed.

    Examples
    --------
    A file that is there is checked, and nothing is requested:

    >>> home = Path(tempfile.mkdtemp())
    >>> (home / "demo").mkdir()
    >>> _ = (home / "demo" / "a.txt").write_bytes(b"abc")
    >>> digest = hashlib.sha256(b"abc").hexdigest()
    >>> fetch_file("https://example.org/a.txt", digest, "demo", home).read_text()
    'abc'
    """
    address = urlsplit(url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError(f"url={url!r} is not an address of HTTP; give one with http or https.")
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"sha256={sha256!r} is no SHA-256; give 64 hexadecimal digits, or None.")
    name = unquote(address.path.rpartition("/")[2]) if name is None else name
    if name in ("", ".", "..") or Path(name).name != name:
        raise ValueError(f"name={name!r} names no file; give a file name without folders.")
    home = cache_folder() / "datasets" if data_home is None else Path(data_home).expanduser()
    target = home / folder / name
    if target.is_file():
        _check_kept(target, sha256)
        return target
    _download(url, target, sha256, timeout, verbose)
    return target


def local_file(folder: str | os.PathLike[str], names: Sequence[str]) -> Path:
    """Return the first of ``names`` that ``folder`` has.

    Raises
    ------
    DatasetError
        If it has none.

    Examples
    --------
    >>> here = Path(tempfile.mkdtemp())
    >>> _ = (here / "test_set.csv").write_text("")
    >>> local_file(here, ["test.csv", "test_set.csv"]).name
    'test_set.csv'
    """
    root = Path(folder).expanduser()
    for name in names:
        if (root / name).is_file():
            return root / name
    raise DatasetError(
        f"folder={str(root)!r} has no file {' or '.join(names)}; put it there, or leave folder "
        "out to fetch it from its home."
    )


class _SafeRedirects(HTTPRedirectHandler):
    """Follow redirects to HTTP only, and never from HTTPS to something that can be read along."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and (scheme != "http" or req.type == "https"):
            raise URLError(f"redirected to {newurl}, which is not safe to follow")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(url: str, target: Path, sha256: str | None, timeout: float, verbose: int) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    except OSError as error:
        raise DatasetError(
            f"{target.parent} cannot be written to ({error}); give another data_home."
        ) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            found = _transfer(url, stream, target, timeout, verbose)
        _check_new(found, url, target, sha256)
        share_as_folder(Path(scratch))
        os.replace(scratch, target)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _transfer(url: str, stream: BinaryIO, target: Path, timeout: float, verbose: int) -> str:
    """Write what ``url`` answers to ``stream``; return its digest."""
    digest = hashlib.sha256()
    try:
        with closing(build_opener(_SafeRedirects).open(url, timeout=timeout)) as reply:
            size = int(reply.headers.get("Content-Length") or 0)
            with tqdm(
                total=size or None,
                desc=target.name,
                unit="B",
                unit_scale=True,
                disable=verbose < 1,
            ) as bar:
                while block := reply.read(BLOCK):
                    digest.update(block)
                    stream.write(block)
                    bar.update(len(block))
        # A connection closed early looks like the end of the file.
        if size and stream.tell() != size:
            raise OSError(f"broke off after {stream.tell()} of {size} bytes")
    except (OSError, HTTPException, ValueError) as error:
        raise DatasetError(
            f"{url} could not be downloaded ({type(error).__name__}: {error}); download it "
            f"elsewhere and save it as {target}, or pass folder= with a local copy."
        ) from error
    return digest.hexdigest()


def _check_new(found: str, url: str, target: Path, sha256: str | None) -> None:
    expected = sha256 or _recorded(target)
    if expected is None:
        # Before the file itself, so that no file is ever without.
        _write_record(target, found)
    elif found != expected.lower():
        accept = "" if sha256 else f"; to accept it, delete {_record(target)}"
        raise DatasetError(
            f"{url} has the SHA-256 {found}, not {expected.lower()}; nothing was kept. Try again; "
            f"if that does not help, the file at its home is another one now{accept}."
        )


def _check_kept(target: Path, sha256: str | None) -> None:
    with target.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    expected = sha256 or _recorded(target)
    if expected is None:  # put there by hand, perhaps where only its owner may write
        with suppress(OSError):
            _write_record(target, found)
    elif found != expected.lower():
        raise DatasetError(
            f"{target} has the SHA-256 {found}, not {expected.lower()}: it was changed; delete it "
            "to download it anew."
        )


def _record(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _write_record(target: Path, digest: str) -> None:
    replace_file(_record(target), f"{digest}  {target.name}\n".encode())


def _recorded(target: Path) -> str | None:
    try:
        return _record(target).read_text(encoding="utf-8").split()[0]
    except FileNotFoundError:
        return None
    except (IndexError, ValueError) as error:
        raise DatasetError(f"{_record(target)} holds no digest; delete it.") from error
