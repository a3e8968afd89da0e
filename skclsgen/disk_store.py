"""A folder of small files, bounded in bytes, that processes may share."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import time
import warnings
from pathlib import Path

from .exceptions import FallbackWarning

__all__ = ["DEFAULT_CAPACITY", "DiskStore", "replace_file", "share_as_folder"]

#: Bytes kept in a folder.
DEFAULT_CAPACITY = 20 * 1024**3
#: Where there is too much, files go until this share of the capacity is left, so that not every
#: new file has to look at all others.
LEFT = 0.9
#: Seconds after which writing is tried again where it failed.
RETRY = 60.0


class DiskStore:
    """Contents by name, one file each; those unused for longest go first.

    A file appears whole or not at all, so other processes may read and write the same folder. If
    the folder cannot be written to, a warning says so, and it is tried again a minute later. No
    more is written than the capacity in one session: what comes later would only push out what came
    first.

    Parameters
    ----------
    folder : Path
        Made when something is first kept.
    capacity : int, default=20 GiB
        Bytes beyond which files are removed; what others write meanwhile may come on top.

    Examples
    --------
    >>> import tempfile
    >>> store = DiskStore(Path(tempfile.mkdtemp()))
    >>> store.keep("a1b2", b"content")
    >>> store.find("a1b2"), store.find("c3d4")
    (b'content', None)
    """

    def __init__(self, folder: Path, capacity: int = DEFAULT_CAPACITY) -> None:
        self.folder = folder
        self.capacity = capacity
        self._nbytes: int | None = None  # counted at the first write
        self._written = 0
        self._failed = -math.inf  # when writing last failed

    def find(self, name: str) -> bytes | None:
        """Return what is kept under a name, or None."""
        file = self._file(name)
        try:
            content = file.read_bytes()
        except OSError:
            return None
        with contextlib.suppress(OSError):  # not ours, or a folder that may only be read
            os.utime(file)  # used now
        return content

    def keep(self, name: str, content: bytes) -> None:
        """Keep ``content`` under a name, in place of what was there."""
        if self._written + len(content) > self.capacity:
            return
        if time.monotonic() < self._failed + RETRY:
            return
        file = self._file(name)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, content, private=True)  # words of texts can be read in it
            self._written += len(content)
            if self._nbytes is None:
                self._nbytes = sum(size for _, size, _ in self._files())
            else:
                self._nbytes += len(content)
            if self._nbytes > self.capacity:
                self._make_room()
        except OSError as error:
            self._failed = time.monotonic()
            warnings.warn(
                f"memory={str(self.folder)!r} cannot be written to ({error}); what is computed "
                "is not kept there. Give another folder, or make room.",
                FallbackWarning,
                stacklevel=2,
            )

    def _file(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def _files(self) -> list[tuple[float, int, Path]]:
        """Time of last use, size and path of every file, the longest unused first."""
        found = []
        for file in self.folder.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):  # removed by another process meanwhile
                stat = file.stat()
                found.append((stat.st_mtime, stat.st_size, file))
        return sorted(found)

    def _make_room(self) -> None:
        files = self._files()
        total = sum(size for _, size, _ in files)
        enough = LEFT * self.capacity if total > self.capacity else total
        for _, size, file in files:
            if total <= enough:
                break
            with contextlib.suppress(PermissionError):  # another user's, or open on Windows
                file.unlink(missing_ok=True)
                total -= size
        self._nbytes = total


def share_as_folder(file: Path) -> None:
    """Let those read and write a file who may do so with its folder."""
    file.chmod(file.parent.stat().st_mode & 0o666)


def replace_file(file: Path, content: bytes, private: bool = False) -> None:
    """Write a file at once: a killed process leaves the old one or none.

    Parameters
    ----------
    file : Path
    content : bytes
    private : bool, default=False
        Only this user may read it; by default whoever may read the folder's own entries.
    """
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as scratch:
        try:
            scratch.write(content)
            scratch.close()
            if not private:
                share_as_folder(Path(scratch.name))
            os.replace(scratch.name, file)
        except BaseException:
            Path(scratch.name).unlink(missing_ok=True)
            raise
