"""Every number that a verdict rests on: its name, its value, and the derivation or the measurement behind it."""

from __future__ import annotations

import numpy as np

from gradcheck.differences.assess import Tolerance
from gradcheck.numerics.arrays import Array

# Unit roundoff by dtype (IEEE 754; bfloat16 has 8 bits of mantissa).
ROUNDOFF = {
    "float64": 2.0**-53,
    "complex128": 2.0**-53,
    "float32": 2.0**-24,
    "complex64": 2.0**-24,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
}
HALVES = ("float16", "bfloat16")

# --- A gradient against finite differences in float64 (`make numerics`: no false alarm on 76 functions) ---------------
# Differences in float64 reach 1e-9 typically and 1e-6 at the worst functions; ten times that is allowed.
DIFFERENCE_RTOL = 1e-5
# Differences of a function that computes in float32 or coarser see a percent, or half of a value.
SINGLE_DIFFERENCE_RTOL, HALF_DIFFERENCE_RTOL = 1e-2, 0.5
# Unit roundoffs up to which a function counts as float64 and as float32.
DOUBLE_ROUNDOFF, SINGLE_ROUNDOFF = 2.0**-40, 2.0**-20
# Roundings of the op's own constants that may be in its gradient: they stay rounded when the op is rewritten.
CONSTANT_ROUNDINGS = 16

# --- A gradient against autodiff of the bare forward ------------------------------------------------------------------
# Two formulas in float64 part by conditioning; 1e-4 is ten times the tolerance of differences.
AUTODIFF_RTOL = 1e-4
# With a tolerance of the user's: the roundings that two formulas may part by in any case.
AUTODIFF_ROUNDINGS = 256
# Gradient and autodiff this close are one result, from rules that share no code of the user's.
SAME_RTOL = 1e-6
# The same in float64, for what is compared in order to name a cause.
SAME_IN_FLOAT64 = 1e-9
# A ratio to autodiff that is one at every element is a factor if it is further from one than a constant stored in
# float32 puts it, and so many roundings of the op's own constants.
LEAST_FACTOR, FACTOR_ROUNDINGS = 1e-7, 32
# A difference contradicts both together only if it is so many tolerances and such a share of them away.
CONTRADICTS, CONTRADICTS_RTOL = 10, 1e-3
# A difference this close to the gradient speaks for it, although its own bound is wide.
SPEAKS_FOR = 0.1
# Two looks at one slope may part by this much of it, beside their bounds.
SLOPE_RTOL = 1e-3
# Over long steps differences see a slope to a few percent, whatever is rounded inside.
LONG_STEP_RTOL = 0.02
# Neighbours at which autodiff is taken, how close they are, and how far apart gradients at a tie are.
NEIGHBOURS, NEIGHBOUR_STEP, APART_AT_TIE = 12, 1e-8, 1e-2

# Elements at which a difference alone contradicts gradient and autodiff that are measured again.
MEASURED_AGAIN = 64

# --- Forward values ---------------------------------------------------------------------------------------------------
# A `reference` is another formula of the same value: four digits, of an element or a hundredth of the largest.
VALUE_RTOL, VALUE_FLOOR = 1e-4, 1e-2
# The same where one of them runs in a coarser dtype.
VALUE_ROUNDINGS = 64

# --- Sites: where an op is looked at beside its sample ----------------------------------------------------------------
# Coordinates from which on only the sample itself is affordable.
LARGEST_INPUT = 100_000
# The grid of ordinary values: how far it reaches, how fine it is, and how far from a constant of the op it looks too.
GRID_REACH, GRID_STEP, BESIDE_CONSTANTS = 6.0, 0.2, (-0.3, -0.03, 0.03, 0.3)
# Draws of the inputs, and sites with ordinary values in all.
REDRAWS, ORDINARY_SITES = 8, 24
# Magnitudes that are tried with both signs: where exponentials, squares and cubes leave float32 or vanish in it.
MAGNITUDES = (1e-6, 1e-4, 1e-2, 0.3, 2.0, 4.0, 6.5, 9.0, 15.0, 30.0, 60.0, 100.0, 300.0, 1e3, 1e4)
# How far each is moved at random, the fewest and most sites for them, and coordinates that move at once.
JITTER, FEWEST_FAR_SITES, MOST_FAR_SITES, COORDINATES_MOVED = 0.1, 4, 30, 512
# Shares of the coordinates that are set to zero.
ZEROED = (0.5, 1.0)
# How large biases get (a little, or enough to turn the sign of what they are added to), and whether inputs move
# too: masks and branches look at both together.
VARIABLE_MOVES = ((0.3, False), (1.0, False), (1.0, True))
VARIABLE_FACTORS = (0.6, 1.7)
# Numbers that an input holds where it is to tie, and draws that show what integers may come, with those tried.
LEVELS, INTEGER_DRAWS, INTEGERS_TRIED = 3, 8, 4
# Axes up to which another size is tried.
AXES_RESIZED = 4

# --- A gradient away from the sample ----------------------------------------------------------------------------------
# Gradient and autodiff of a set-up made anew, each in the op's own dtype: of an element and of the largest.
ELSEWHERE_RTOL, HALVES_ELSEWHERE_RTOL, ELSEWHERE_FLOOR = 1e-3, 5e-2, 1e-2
# Roundings that a sum of terms which cancel leaves.
ROUNDINGS_OF_A_SUM = 64
# What is tiny beside the gradient at the sample; how many times as large as there a gradient is where what either
# formula loses is large too.
NEGLIGIBLE, AMPLIFIED = 1e-7, 1e6
# A plain forward that fails further out than this fails by overflow, which is no mistake of the gradient; a custom
# gradient that is no number only where TensorFlow's own of the same forward is none either.
PLAIN_REACH, SHARED_REACH = 100.0, 500.0
# Elements that differences look at in one site, sites of ordinary values that they look at, elements blamed far away.
ASKED_AT_ONCE, SITES_CONFIRMED, MOST_BLAMED = 16, 3, 3
# The largest slope that counts as finite in any dtype, and its share of the largest number of the own dtype.
LARGEST_SLOPE, OVERFLOW_MARGIN = 1e32, 1e-6
# The relative gaps from rounding to plainly wrong.
UNSEEN, SEEN = 1e-9, 1e-3
# Where slopes are taken to see whether they follow one another at all: multiples of a narrow and of a wide share of
# the input's size; and how many times as large as at the sample they are where an iteration does not converge.
SLOPES_BESIDE, BESIDE_SHARES, OUTGROWN = tuple(range(-4, 5)), (0.005, 0.03), 10.0
# How close, beside their distance from the sample, two gaps begin that begin at one place.
SAME_ONSET = 0.1
# Inputs smaller than this are not called far.
NEAR_ZERO = 0.02
# Draws of random roundings, and the roundings that each moves everything by.
ROUNDING_DRAWS, ROUNDINGS_TRIED = 4, 4
# The share of a gap that may be left where its reason is taken away.
TAKEN_AWAY = 1e-2

# How many times as far as autodiff of the same graph, or a quarter of what rounding explains, the branch that an op
# takes in half precision may be from the op in float64 (a quarter of 16 roundings: 1.6 % in bfloat16).
BRANCH_MARGIN = 4.0

# The share of the largest difference between TensorFlow's own gradients in two modes that the op's may have.
OWN_SHARE = 10.0

# Inner custom gradients that are tried one by one as the reason for a mismatch.
INNER_RULES = 8

# --- Chaos ------------------------------------------------------------------------------------------------------------
# The growth of a small relative change from which on steps of differences (1e-5) come out of order one; recurrent
# networks with default weights over 32 steps have 1e6, with small ones below 10.
CHAOTIC_GROWTH = 1e4

# --- Whether the outputs depend on the inputs at all ------------------------------------------------------------------
# Pushes of all inputs together, every other one by so many times their size.
PUSHES, PUSH_RANGE = 8, (0.1, 10.0)

# --- Rounding in the op's own dtype -----------------------------------------------------------------------------------
# A result moves by so many times what one rounding of all inputs does (measured: `make verdicts` at 8 blames 3).
CONDITIONING_FACTOR = 16.0
# Each rounding is also one of the largest element: sums leave it in the smallest results.
SHARED_ROUNDING = 0.1


def difference_tolerance(
    roundoff: float, constants_roundoff: float, rtol: float | None, atol: float | None
) -> Tolerance:
    """Return the tolerance for a gradient against finite differences.

    `roundoff` is the one at which both were computed, `constants_roundoff` the one at which
    the op's own constants are stored (they stay rounded when the op is rewritten to float64).
    """
    if rtol is not None or atol is not None:
        return Tolerance(rtol or 0.0, atol or 0.0, given=True)
    if roundoff <= DOUBLE_ROUNDOFF:
        return Tolerance(max(DIFFERENCE_RTOL, CONSTANT_ROUNDINGS * constants_roundoff))
    return Tolerance(SINGLE_DIFFERENCE_RTOL if roundoff <= SINGLE_ROUNDOFF else HALF_DIFFERENCE_RTOL)


def rounding_tolerance(
    gradient: Array, sensitivity: Array, roundoff: float, factor: float = CONDITIONING_FACTOR
) -> Array:
    """Return how far a gradient in its own dtype may be from the same code in float64.

    `sensitivity` is the largest change of the float64 gradient when inputs and upstream move
    by one rounding of the dtype: it measures the conditioning of the gradient itself.
    """
    allowed = np.abs(gradient)
    largest = float(np.fmax.reduce(allowed, initial=0.0)) if np.isfinite(allowed).any() else 0.0
    allowed += SHARED_ROUNDING * largest
    allowed *= roundoff
    allowed += sensitivity
    allowed *= factor
    return allowed
