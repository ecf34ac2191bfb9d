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


def test_each_coordinate_of_a_plain_tensor_is_one_entry():
    slot = make_slot("x", np.zeros((2, 3)), "float64", domain=(0.0, 2.0))
    assert slot.plain
    assert (slot.width, slot.low, slot.high) == (6, 0.0, 2.0)
    assert [slot.where(k) for k in range(6)] == [(i, j) for i in range(2) for j in range(3)]


def test_the_two_coordinates_of_a_complex_number_have_one_place():
    slot = make_slot("z", np.zeros((2, 2), complex), "complex64")
    assert [slot.where(k) for k in (1, 5)] == [(0, 1), (0, 1)]
    assert slot.pack(np.array([[1 + 5j, 2 + 6j], [3 + 7j, 4 + 8j]])).tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_single_number_has_the_empty_place():
    slot = make_slot("x", np.float64(3.0), "float64")
    assert slot.where(0) == ()
    assert slot.pack(3.0).tolist() == [3.0]


@pytest.mark.parametrize(
    ("structure", "given"), [("lower-triangular", [[1, 0], [2, 3]]), ("symmetric", [[1, 2], [2, 3]])]
)
def test_entries_on_and_below_the_diagonal_are_the_coordinates(structure, given):
    slot = make_slot("x", np.stack([given, given]), "float64", structure)
    assert not slot.plain
    assert slot.width == 6
    assert slot.unpack(np.array([1.0, 2, 3, 4, 5, 6]))[0].tolist() == given
    assert [slot.where(k) for k in range(6)] == [(b, i, j) for b in (0, 1) for i, j in ((0, 0), (1, 0), (1, 1))] or (
        structure == "symmetric" and slot.where(1) == (0, 0, 1)
    )


def test_of_a_symmetric_tensor_the_entries_below_the_diagonal_count_where_both_differ():
    slot = make_slot("x", np.zeros((2, 2)), "float64", "symmetric")
    assert slot.pack([[1.0, 9.0], [9.0, 3.0]]).tolist() == [1.0, 9.0, 3.0]


def test_the_projected_gradient_of_a_triangular_matrix_leaves_out_what_is_above_the_diagonal():
    slot = make_slot("x", np.zeros((2, 2)), "float64", "lower-triangular")
    assert slot.project([[1.0, 5.0], [2.0, 3.0]]).tolist() == [1.0, 2.0, 3.0]


def test_the_projected_gradient_of_a_hermitian_matrix_is_the_derivative_along_it():
    value = RNG.normal(size=(2, 3, 3)) + 1j * RNG.normal(size=(2, 3, 3))
    gradient = RNG.normal(size=(2, 3, 3)) + 1j * RNG.normal(size=(2, 3, 3))
    slot = make_slot("z", value, "complex128", "symmetric")
    projected, start = slot.project(gradient), slot.unpack(np.zeros(slot.width))
    for k in range(slot.width):
        direction = slot.unpack(np.eye(slot.width)[k]) - start
        assert np.isclose(projected[k], np.sum((np.conj(gradient) * direction).real)), k


def test_a_missing_gradient_is_zero_and_no_gradient_is_a_negative_zero():
    slot = make_slot("a", np.zeros(3), "float64")
    assert slot.project(None).tolist() == [0.0] * 3
    assert not np.signbit(slot.project(-np.zeros(3))).any()


def test_without_tensors_and_domains_the_vector_is_empty_and_unbounded():
    assert Coordinates(()).pack([]).size == 0
    low, high = Coordinates((make_slot("a", np.zeros(2), "float64"),)).bounds()
    assert (low.tolist(), high.tolist()) == ([-np.inf] * 2, [np.inf] * 2)


def test_one_bound_is_enough_to_bound():
    packed = Coordinates((make_slot("a", np.zeros(1), "float64", None, (-np.inf, 4.0)),))
    assert [b.tolist() for b in packed.bounds()] == [[-np.inf], [4.0]]


def test_empty_batches_of_structured_matrices_have_no_coordinates():
    slot = make_slot("x", np.zeros((0, 2, 2)), "float64", "symmetric")
    assert slot.width == 0
    assert slot.unpack(np.zeros(0)).shape == (0, 2, 2)
