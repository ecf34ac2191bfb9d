# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all, and the files that are a project's own."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Windows has neither.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


_ROOT_MARKS = ("pyproject.toml", "setup.cfg", ".git")


def project_root(folder: str) -> str | None:
    """Return the nearest folder from `folder` upwards that is the root of a project, None if there is none."""
    for place in (Path(folder).absolute(), *Path(folder).absolute().parents):
        if any((place / mark).exists() for mark in _ROOT_MARKS):
            return str(place)
    return None


def shown(path: str | Path) -> str:
    """Return a path as messages show it: from the current folder, if it lies below it."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):
        return str(path)
    return Path(path if relative.startswith("..") else relative).as_posix()


# Folders that hold what others wrote, or what can be made again.
_NOT_SEARCHED = {"__pycache__", "node_modules", "site-packages", "dist-packages"}


def searched(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield the folders below one that hold a project's own files, each with the sorted names of its files.

    Hidden folders, virtual environments and installed packages are left out.
    """
    for place, folders, names in os.walk(root):
        here = Path(place)
        own = (f for f in folders if not f.startswith(".") and f not in _NOT_SEARCHED)
        folders[:] = sorted(f for f in own if not (here / f / "pyvenv.cfg").exists())
        yield here, sorted(names)


def write_whole(path: Path, text: str) -> None:
    """Write a text file under a temporary name and move it into place.

    A link is written through, a device or pipe is written to directly.  Raises OSError.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    put_in_place(path.resolve(), text)


def put_in_place(path: Path, text: str) -> None:
    """Write a text file under a temporary name and move it to `path`, also where a link or a pipe was.

    What a link points to is left alone.  Raises OSError.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp gives 0600; a report is a file like any other.
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def read_regular(path: Path, limit: int) -> str:
    """Return the text of a regular file of at most `limit` bytes.

    Raises OSError for a link, a pipe or a device, and ValueError for a longer file or one that is no UTF-8.
    """
    handle = os.open(path, os.O_RDONLY | _NO_LINK | _NO_WAIT)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path} is not a regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path} is longer than {limit} bytes")
    return data.decode("utf-8")


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
