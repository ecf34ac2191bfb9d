# SPDX-License-Identifier: Apache-2.0
"""How far a written constant may be from the number that is meant: a third, pi, or a decimal that was cut."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
from flint import arb

from gradcheck.exact.balls import Dual, lift, objects

# A binary fraction of few of its dtype's bits is meant as it is: a rounding rarely ends in that many zeros.
SHORT_SHARE = 0.3
# From as many digits on a decimal may be one that was cut; one with fewer is meant as it is, but for its binary form.
CUT_DIGITS = 7
# Digits that a float64 always keeps.
SURE_DIGITS = 15
# By how much more than half of its last bit a float32 may be off that was rounded twice, by float64.
TWICE = 1.0 + 2.0**-20
# Roundings of a number that Python has computed: sqrt(2 / pi) takes three.
ROUNDINGS = 4
_BITS = {"float32": 24, "float16": 11, "bfloat16": 8}
_DOUBLE, _SINGLE = 53, 24


def widened(numbers: Any) -> Dual:
    """Return constants as balls that hold the numbers they may stand for; complex ones are taken as they are."""
    array = np.asarray(numbers)
    if np.iscomplexobj(array):
        return lift(array)
    bits = _BITS.get(str(array.dtype), _DOUBLE)
    exact = lift(array)
    reach = np.frompyfunc(lambda value: arb(0, _reach(float(value), bits)), 1, 1)(array.astype(np.float64))
    return Dual(objects(exact.value + objects(reach)))


def _reach(value: float, bits: int) -> float:
    """Return how far from a constant the number may be for which it stands."""
    whole = value == 0.0 or not math.isfinite(value) or value.is_integer()
    if whole or _is_short(value, int(SHORT_SHARE * min(bits, _SINGLE))):
        return 0.0
    if _is_short(value, _SINGLE):
        return TWICE * abs(value) * 2.0 ** -min(bits, _SINGLE)
    return max(ROUNDINGS * abs(value) * 2.0**-_DOUBLE, _cut(value))


def _is_short(value: float, bits: int) -> bool:
    mantissa, _ = math.frexp(value)
    return math.ldexp(mantissa, bits).is_integer()


def _cut(value: float) -> float:
    """Return half a unit of a decimal's last digit, nothing where it has few or all digits."""
    _, digits, exponent = Decimal(repr(value)).as_tuple()
    if not CUT_DIGITS <= len(digits) <= SURE_DIGITS or not isinstance(exponent, int):
        return 0.0
    return 0.5 * 10.0**exponent
