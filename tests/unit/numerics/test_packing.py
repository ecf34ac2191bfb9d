"""Tensors pack into reals and back; gradients are projected on the tangent space of a structure."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.numerics.packing import Coordinates, make_slot

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("structure", [None, "symmetric", "spd", "lower-triangular"])
def test_unpack_inverts_pack(structure):
    value = RNG.normal(size=(2, 3, 3))
    if structure == "lower-triangular":
        value = np.tril(value)
    elif structure:
        value = value + np.swapaxes(value, -1, -2)
    slot = make_slot("x", value, "float64", structure)
    assert np.allclose(slot.unpack(slot.pack(value)), value)


@pytest.mark.parametrize("structure", ["symmetric", "spd"])
def test_unpack_inverts_pack_of_hermitian_matrices(structure):
    value = RNG.normal(size=(2, 3, 3)) + 1j * RNG.normal(size=(2, 3, 3))
    value = value + np.conj(np.swapaxes(value, -1, -2))
    slot = make_slot("z", value, "complex128", structure)
    assert np.allclose(slot.unpack(slot.pack(value)), value)


def test_the_projected_gradient_is_the_derivative_along_the_structure():
    gradient = RNG.normal(size=(3, 3))
    slot = make_slot("x", gradient, "float64", "symmetric")
    for k in range(slot.width):
        direction = np.zeros(slot.width)
        direction[k] = 1.0
        assert np.isclose(slot.project(gradient)[k], np.sum(gradient * slot.unpack(direction)))


def test_complex_numbers_are_two_reals():
    value = RNG.normal(size=4) + 1j * RNG.normal(size=4)
    slot = make_slot("z", value, "complex64")
    assert slot.width == 8
    assert np.allclose(slot.unpack(slot.pack(value)), value)


def test_several_tensors_share_one_vector():
    a, b = RNG.normal(size=(2, 2)), RNG.normal(size=3)
    packed = Coordinates((make_slot("a", a, "float64"), make_slot("b", b, "float64", None, (0.0, 1.0))))
    assert np.allclose(packed.unpack(packed.pack([a, b]))[1], b)
    assert packed.bounds()[0].tolist() == [-np.inf] * 4 + [0.0] * 3
    assert np.allclose(packed.project([None, b]), [0, 0, 0, 0, *b])


def test_a_gradient_of_another_shape_is_no_number():
    slot = make_slot("a", np.zeros((2, 2)), "float64")
    assert np.isnan(slot.project(np.zeros(2))).all()
