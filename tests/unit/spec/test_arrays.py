"""The header of a .npy file is read as NumPy wrote it, and what is no such file is told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.spec.arrays import npy_shape

DTYPES = ["float16", "float32", "float64", "complex64", "int8", "uint64", "bool", ">f4"]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=4), st.booleans())
def test_the_shape_is_the_one_that_was_saved(tmp_path_factory, dtype, shape, fortran):
    path = tmp_path_factory.getbasetemp() / "saved.npy"
    np.save(path, np.asarray(np.zeros(shape, dtype), order="F" if fortran else "C"))
    assert npy_shape(path) == tuple(shape)


@pytest.mark.parametrize("count", [0, 5, 11, 60, -1])
def test_a_file_that_was_cut_is_refused(tmp_path, count):
    path = tmp_path / "cut.npy"
    np.save(path, np.ones((3, 4)))
    path.write_bytes(path.read_bytes()[:count])
    with pytest.raises(ValueError, match=r"is no .npy|damaged|ends too early"):
        npy_shape(path)


@pytest.mark.parametrize("values", [np.array([{1: 2}], dtype=object), np.array(["a"]), np.zeros(2, [("a", "f4")])])
def test_what_is_no_plain_number_is_refused(tmp_path, values):
    np.save(tmp_path / "odd.npy", values, allow_pickle=True)
    with pytest.raises(ValueError, match="no plain numbers"):
        npy_shape(tmp_path / "odd.npy")


def test_an_archive_is_refused(tmp_path):
    np.savez(tmp_path / "several.npz", a=np.ones(2))
    with pytest.raises(ValueError, match="archive"):
        npy_shape(tmp_path / "several.npz")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_other_bytes_are_refused_in_words(tmp_path_factory, rest):
    path = tmp_path_factory.getbasetemp() / "any.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + rest)
    with pytest.raises(ValueError, match=r"is no .npy|damaged|no plain numbers|ends too early"):
        npy_shape(path)


HEADERS = {
    "three bytes": "{'descr': '<f3', 'fortran_order': False, 'shape': (2,)}",
    "no order": "{'descr': '<f4', 'shape': (2,)}",
    "more keys": "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
    "a list": "{'descr': '<f4', 'fortran_order': False, 'shape': [2]}",
    "many axes": f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(1,) * 65}}}",
    "too many numbers": "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 10**0, 100000000000000000000)}",
    "below zero": "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_numpy_would_not_write_is_refused(tmp_path, name):
    header = HEADERS[name].encode()
    path = tmp_path / "odd.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    with pytest.raises(ValueError, match=r"damaged|no plain numbers"):
        npy_shape(path)


def test_a_version_that_is_none_is_refused(tmp_path):
    np.save(tmp_path / "new.npy", np.ones(2))
    raw = bytearray((tmp_path / "new.npy").read_bytes())
    raw[6] = 9
    (tmp_path / "new.npy").write_bytes(bytes(raw))
    with pytest.raises(ValueError, match="damaged"):
        npy_shape(tmp_path / "new.npy")
