"""The files of a case, packed for another machine, and unpacked where nobody else can have been."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace

import pytest

from gradcheck.executors import parcel
from gradcheck.spec.parse import parse_data


@pytest.fixture
def case(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "ops.py").write_text("x = 1\n")
    spec = parse_data({"module": "ops.py", "cases": {"f": {"inputs": {"x": 1.0}}}}, "s.yaml", tmp_path / "project")
    return spec.cases[0]


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """Return a folder for temporary files that others may write to."""
    (tmp_path / "shared").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "shared"))
    parcel._private_folder.cache_clear()
    yield tmp_path / "shared"
    parcel._private_folder.cache_clear()


def test_a_parcel_is_unpacked_once_in_a_folder_of_the_user(case, shared):
    packed = parcel.pack(case)
    first = parcel.unpack(packed)
    assert (first / "ops.py").read_text() == "x = 1\n"
    assert first.parent.stat().st_mode & 0o777 == 0o700
    assert parcel.unpack(packed) == first


@pytest.mark.parametrize("kind", ["open to others", "link"])
def test_a_folder_that_somebody_has_prepared_is_not_used(case, shared, kind, tmp_path):
    packed = parcel.pack(case)
    usual = shared / f"gradcheck-{os.getuid()}"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        usual.symlink_to(tmp_path / "elsewhere")
    else:
        usual.mkdir()
        usual.chmod(0o777)
    (usual / packed.digest).mkdir()
    (usual / packed.digest / "ops.py").write_text("planted = 1\n")
    assert (parcel.unpack(packed) / "ops.py").read_text() == "x = 1\n"


def test_links_to_nothing_and_pipes_are_left_out(case, tmp_path):
    folder = tmp_path / "project"
    (folder / ".#lock.py").symlink_to(folder / "nothing")
    (folder / "lock.py").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe.py")
    packed = parcel.pack(replace(case))
    assert packed.archive


def test_two_workers_may_unpack_the_same_parcel_at_once(case, shared, monkeypatch):
    packed = parcel.pack(case)
    rename = os.rename

    def slower(source, target):
        # The other worker comes first.
        os.mkdir(target)
        (target / "ops.py").write_text("x = 1\n")
        rename(source, target)

    monkeypatch.setattr(os, "rename", slower)
    assert (parcel.unpack(packed) / "ops.py").read_text() == "x = 1\n"
