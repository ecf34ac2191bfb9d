# SPDX-License-Identifier: Apache-2.0
"""The files a case needs, packed to travel to a machine that does not share this disk."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import io
import os
import stat
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gradcheck.errors import UsageError
from gradcheck.files import project_root, searched
from gradcheck.spec.model import Case, Input

MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Parcel:
    """Hold a zip archive of the files below `root`, a folder of the machine that packed it."""

    root: str
    archive: bytes

    @property
    def digest(self) -> str:
        """Return the name under which the parcel is unpacked."""
        return hashlib.sha256(self.root.encode() + self.archive).hexdigest()[:16]


def pack(case: Case) -> Parcel:
    """Return the parcel of a case: the Python files beside its module, and its data files.

    Raises UsageError if they are too large to be sent about.
    """
    files = sorted({*_modules(case), *_data(case)})
    root = os.path.commonpath([case.folder, *(str(file.parent) for file in files)])
    stream, total = io.BytesIO(), 0
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            total += file.stat().st_size
            if total > MAX_BYTES:
                raise UsageError(f"{case.id}: the files around {case.module} are larger than {MAX_BYTES >> 20} MiB")
            # A fixed date, so that equal files make equal parcels.
            entry = zipfile.ZipInfo(Path(os.path.relpath(file, root)).as_posix())
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return Parcel(root, stream.getvalue())


def _modules(case: Case) -> Iterator[Path]:
    """Yield the Python files that the case's module may import from its own folder or package."""
    if case.module.endswith(".py"):
        folder = Path(case.module).parent
        while (folder / "__init__.py").exists():
            if not (folder.parent / "__init__.py").exists():
                break
            folder = folder.parent
        yield from _python_files(folder)
        return
    top = case.module.split(".")[0]
    for place in (Path.cwd(), Path(project_root(case.folder) or Path.cwd())):
        beside = place / top
        if beside.is_dir():
            yield from _python_files(beside)
            return
        if beside.with_suffix(".py").exists():
            yield beside.with_suffix(".py")
            return
    if importlib.util.find_spec(top) is None:
        raise UsageError(f"{case.id}: there is no module {top}")


def _python_files(folder: Path) -> Iterator[Path]:
    for place, names in searched(folder):
        # An editor's lock is a link to nothing, and a pipe would never end.
        yield from (place / name for name in names if name.endswith(".py") and (place / name).is_file())


def _parts(spec: Input) -> Iterable[Input]:
    return spec.items.values() if isinstance(spec.items, Mapping) else spec.items or ()


def _data(case: Case) -> Iterator[Path]:
    def of(spec: Input) -> Iterator[Path]:
        if spec.source == "file" and spec.items is None:
            yield (Path(case.folder) / spec.parameters).resolve()
        for part in _parts(spec):
            yield from of(part)

    for spec in case.inputs.values():
        yield from of(spec)
    yield from ((Path(case.folder) / file).resolve() for file in case.upstream)


_unpacking = threading.Lock()


def unpack(parcel: Parcel) -> Path:
    """Return the folder that holds the parcel's files on this machine, unpacked once."""
    with _unpacking:
        folder = _private_folder() / parcel.digest
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
                with zipfile.ZipFile(io.BytesIO(parcel.archive)) as archive:
                    archive.extractall(fresh)
                os.chmod(fresh, 0o700)
                try:
                    os.rename(fresh, folder)
                    os.mkdir(fresh)
                except OSError:
                    # Another worker of this machine was faster.
                    if not folder.exists():
                        raise
    return folder


@functools.cache
def _private_folder() -> Path:
    """Return the user's own folder for parcels: nobody else may have put files there, or put it there."""
    uid = os.getuid() if hasattr(os, "getuid") else 0
    usual = Path(tempfile.gettempdir()) / f"gradcheck-{uid}"
    with contextlib.suppress(OSError):
        usual.mkdir(mode=0o700, exist_ok=True)
        found = os.lstat(usual)
        if stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077:
            return usual
    return Path(tempfile.mkdtemp(prefix="gradcheck-"))


def moved(case: Case, parcel: Parcel, folder: Path) -> Case:
    """Return the case as it is on this machine, with its files in `folder`."""

    def there(path: str) -> str:
        return str(folder / os.path.relpath(path, parcel.root))

    module = there(case.module) if case.module.endswith(".py") else case.module
    return replace(case, module=module, folder=there(case.folder))
