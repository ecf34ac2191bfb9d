"""Each side of a condition is looked for: at the sample, at special rows, and by steps toward it."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from gradcheck.backend.tensorflow.conditions import Condition, Sides
from gradcheck.sites.branches import searched
from gradcheck.sites.special import special_rows
from tests.unit.sites.ops import Leaf, sampled


@dataclass
class Margins:
    """Conditions in NumPy: each is true where its margin, a number of x with its slopes, is positive."""

    margins: dict
    size: int = 30
    only_in_grad: tuple = ()

    def sides(self, x):
        found = {}
        for name, margin in self.margins.items():
            value, _ = margin(x)
            condition = Condition(("", name, ""), "Greater", "ops.py", 3)
            found["", name, ""] = Sides(condition, value > 0, value <= 0, max(-value, 0.0), max(value, 0.0))
        return found

    def toward(self, key, side):
        def look(x, depth):
            value, slopes = self.margins[key[1]](x)
            gap = max(depth - value, 0.0) if side else max(value + depth, 0.0)
            return gap == 0, gap, np.where(gap > 0, -slopes if side else slopes, 0.0)

        return look


def search(margins, lab):
    lab.own = None
    lab.steering, lab.movable = None, frozenset()
    lab.case = SimpleNamespace(timeout=120.0)
    lab.gradients = SimpleNamespace(state=SimpleNamespace(variables=(), values=()))
    for leaf in lab.leaves:
        leaf.whole_range = None
    return searched(lab, Margins(margins))


X = np.array([[0.3, -0.7, 1.1], [0.2, 0.5, -0.4]])


def total(x):
    return x.sum() - 25.0, np.ones(x.size)


def positive(x):
    return x[0], np.eye(x.size)[0]


def never(x):
    return -1.0 - float(x @ x), -2 * x


def test_a_side_that_no_draw_reaches_is_reached_by_steps():
    found = search({"total": total}, sampled(X))
    assert found.reach().reached == 2
    assert any(site.condition is not None and site.x.sum() > 25 for site in found.sites)


def test_a_side_that_cannot_be_reached_is_named_with_its_line():
    reach = search({"never": never, "positive": positive}, sampled(X)).reach()
    assert (reach.sides, reach.reached) == (4, 3)
    (missed,) = reach.unreached
    assert (missed.file, missed.line, missed.side) == ("ops.py", 3, True)


def test_the_domain_is_kept():
    found = search({"total": total}, sampled(Leaf(np.abs(X), domain=(0.0, 3.0))))
    assert found.reach().reached == 1
    assert all((site.x >= 0).all() and (site.x <= 3).all() for site in found.sites)


def test_an_op_without_conditions_is_looked_at_once():
    found = search({}, sampled(X))
    assert found.looks == 1
    assert not found.sites


def test_a_slow_op_is_looked_at_within_its_share_of_the_time(monkeypatch):
    now = iter(range(0, 10**6, 3))
    monkeypatch.setattr("gradcheck.sites.branches.time.perf_counter", lambda: next(now))
    found = search({"never": never}, sampled(X))
    assert found.looks < 5
    assert "no time" in found.reach().unreached[0].why


def test_looks_are_bounded():
    many = {str(k): never for k in range(60)}
    assert search(many, sampled(X)).looks < 2000


@pytest.mark.parametrize("array", [X, X[0], np.float64(2.0)])
def test_special_rows_keep_the_shape(array):
    lab = sampled(np.asarray(array))
    for x in special_rows(lab):
        assert x.shape == (np.size(array),)
        assert np.isfinite(x).all()


def test_special_rows_hold_equal_ordered_and_one_sided_ones():
    rows = [x.reshape(X.shape) for x in special_rows(sampled(X))]
    assert any((x == x[:1]).all() for x in rows)
    assert any((np.diff(x, axis=1) >= 0).all() for x in rows)
    assert any((np.diff(x, axis=1) <= 0).all() for x in rows)
    assert any((x > 0).all() for x in rows)
    assert any((x < 0).all() for x in rows)
    assert any(np.count_nonzero(x) == len(x) for x in rows)
