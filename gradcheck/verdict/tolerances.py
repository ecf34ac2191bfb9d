# SPDX-License-Identifier: Apache-2.0
"""Every number that a verdict rests on: its name, its value, and the derivation or the measurement behind it."""

from __future__ import annotations

# Unit roundoff by dtype (IEEE 754; bfloat16 has 8 bits of mantissa).
ROUNDOFF = {"float64": 2.0**-53, "complex128": 2.0**-53, "float32": 2.0**-24, "complex64": 2.0**-24,
            "float16": 2.0**-11, "bfloat16": 2.0**-8}  # fmt: skip
HALVES = ("float16", "bfloat16")

# --- A gradient against finite differences in float64 (`make numerics`: no false alarm on 76 functions) ---------------
# Differences in float64 reach 1e-9 typically and 1e-6 at the worst functions; ten times that is allowed.
DIFFERENCE_RTOL = 1e-5
# Differences of a function that computes in float32 or coarser see a percent, or half of a value.
SINGLE_DIFFERENCE_RTOL, HALF_DIFFERENCE_RTOL = 1e-2, 0.5
# Unit roundoffs up to which a function counts as float64 and as float32; roundings of the op's own constants that may
# be in its gradient: they stay rounded when the op is rewritten.
DOUBLE_ROUNDOFF, SINGLE_ROUNDOFF, CONSTANT_ROUNDINGS = 2.0**-40, 2.0**-20, 16

# --- A gradient against autodiff of the bare forward ------------------------------------------------------------------
# Two formulas in float64 part by conditioning; 1e-4 is ten times the tolerance of differences.
AUTODIFF_RTOL = 1e-4
# With a tolerance of the user's: the roundings that two formulas may part by in any case.
AUTODIFF_ROUNDINGS = 256
# Gradient and autodiff this close are one result, from rules that share no code of the user's; and in float64, for what
# is compared in order to name a cause.
SAME_RTOL, SAME_IN_FLOAT64 = 1e-6, 1e-9
# A ratio to autodiff that is one at every element is a factor if it is further from one than a constant stored in
# float32 puts it, and so many roundings of the op's own constants.
LEAST_FACTOR, FACTOR_ROUNDINGS = 1e-7, 32
# A difference contradicts both together only if it is so many tolerances and such a share of them away.
CONTRADICTS, CONTRADICTS_RTOL = 10, 1e-3
# A difference this close to the gradient speaks for it, although its own bound is wide; a slope whose bound is this
# share of it is a number, and not one that grows as steps get finer; two looks at one slope may part by so much of it.
SPEAKS_FOR, SETTLED_RTOL, SLOPE_RTOL = 0.1, 1e-2, 1e-3
# Over long steps differences see a slope to a few percent; an iteration with a tolerance is off by some of that, but
# by no one factor: ratios that differ by less than this share of what they are off by.
LONG_STEP_RTOL, ITERATION_RTOL, ONE_FACTOR = 0.02, 1e-2, 0.1
# What the last of many contracting steps leaves, beside the largest gradient (6e-8 after 40 steps by 0.65), and what is
# left of it at half of the inputs: 14 steps leave 6e-5.
RESIDUAL_RTOL, RESIDUAL_LEFT = 1e-6, 1e-4
# Neighbours at which autodiff is taken, how close they are, and how far apart gradients at a tie are; elements at
# which a difference alone contradicts both that are measured again.
NEIGHBOURS, NEIGHBOUR_STEP, APART_AT_TIE, MEASURED_AGAIN = 48, 1e-8, 1e-2, 64

# --- Forward values ---------------------------------------------------------------------------------------------------
# A `reference` is another formula of the same value: four digits, of an element or a hundredth of the largest; where
# one of them runs in a coarser dtype so many of its roundings.
VALUE_RTOL, VALUE_FLOOR, VALUE_ROUNDINGS = 1e-4, 1e-2, 64

# --- Sites: where an op is looked at beside its sample ----------------------------------------------------------------
# Coordinates from which on only the sample itself is affordable.
LARGEST_INPUT = 100_000
# The grid of ordinary values: how far it reaches, how fine it is, and how far from a constant of the op it looks too.
GRID_REACH, GRID_STEP, BESIDE_CONSTANTS = 6.0, 0.2, (-0.3, -0.03, 0.03, 0.3)
# Draws of the inputs, and sites with ordinary values in all; of each kind those at which the modes are compared.
REDRAWS, ORDINARY_SITES, MODE_DRAWS, MODE_GRID_POINTS = 16, 32, 2, 6
# Magnitudes that are tried with both signs: where squares and cubes leave float32 or vanish in it, and exponentials
# (beyond 88.7; a plain op is looked at up to 100).
MAGNITUDES = (1e-6, 1e-4, 1e-2, 0.3, 2.0, 4.0, 6.5, 9.0, 15.0, 30.0, 60.0, 95.0, 300.0, 1e3, 1e4)
# How far each is moved at random, the fewest and most sites for them, and coordinates that move at once.
JITTER, FEWEST_FAR_SITES, MOST_FAR_SITES, COORDINATES_MOVED = 0.05, 4, 30, 512
# Shares of the coordinates that are set to zero.
ZEROED = (0.5, 1.0)
# How large biases get (a little, or enough to turn the sign of what they are added to), and whether inputs move
# too: masks and branches look at both together.
VARIABLE_MOVES = ((0.3, False), (1.0, False), (1.0, True))
VARIABLE_FACTORS = (0.6, 1.7)
# Numbers at a tie; draws of integers, with those tried; shuffles of given ones, of up to so many; other constants.
LEVELS, INTEGER_DRAWS, INTEGERS_TRIED, SHUFFLES, LITERALS_SHUFFLED, HELD_DRAWS = 3, 8, 4, 3, 10_000, 2
# Axes up to which another size is tried, sizes beyond numbers that are written in the op, the least first, and by how
# much a size grows that several axes have: odd ones stay odd.
AXES_RESIZED, SIZES_TRIED, SHARED_MORE = 4, 3, 2
# Set-ups that turn a condition; draws of the inputs with each switch; looks at these, and at pairs of switches; draws
# in which integers that are given come twice.
SWITCHES_TRIED, SWITCH_DRAWS, SWITCH_LOOKS, REPEATED_DRAWS = 12, 4, 48, 2

# --- A gradient away from the sample ----------------------------------------------------------------------------------
# Gradient and autodiff of a set-up made anew, each in the op's own dtype: of an element and of the largest. A size
# that is written down is off by one part in a thousand at one row more of forty.
ELSEWHERE_RTOL, HALVES_ELSEWHERE_RTOL, ELSEWHERE_FLOOR = 1e-4, 5e-2, 1e-2
ROUNDINGS_OF_A_SUM = 64  # What is left of a sum of terms that cancel.
# Upstreams with which a declared gradient is compared, as factors of the sample's, and points at which it is.
DECLARED_FACTORS, DECLARED_POINTS = (1.0, 10.0, 100.0, 0.1), 8
# What is tiny beside the gradient at the sample; how many times as large as there a gradient is where what either
# formula loses is large too.
NEGLIGIBLE, AMPLIFIED = 1e-7, 1e6
# A plain forward that fails further out than this fails by overflow, which is no mistake of the gradient; a custom
# gradient that is no number only where TensorFlow's own of the same forward is none either.
PLAIN_REACH, SHARED_REACH = 100.0, 40.0
# Elements that differences look at in one site, sites of ordinary values that they look at, elements blamed far away.
ASKED_AT_ONCE, SITES_CONFIRMED, MOST_BLAMED = 16, 3, 3
# The largest slope that counts as finite in any dtype, and its share of the largest number of the own dtype.
LARGEST_SLOPE, OVERFLOW_MARGIN = 1e32, 1e-6
# The relative gaps from rounding to plainly wrong.
UNSEEN, SEEN = 1e-9, 1e-3
# Where slopes are taken to see whether they follow one another: multiples of a narrow and a wide share of the input.
SLOPES_BESIDE, BESIDE_SHARES = tuple(range(-4, 5)), (0.005, 0.03)
# Where they are taken: shares of the way from the sample to the place at which a gap begins, beyond that place.
BEYOND_ONSET = (0.25, 0.5, 0.75, 1.0)
# How many times as large a relative change comes out where an iteration does not converge (30 steps: 1e8; a wave
# whose frequency grows with the input has 2e4 at 100), or how many times the middle slope the steepest is.
DISORDER, HEAVY = 1e5, 1e4
# How close, beside their distance from the sample, two gaps begin that begin at one place; inputs that are not far.
SAME_ONSET, NEAR_ZERO = 0.1, 0.02
# Draws of random roundings, the roundings that each moves by, by how much an upstream grows that shows them (little:
# one that is clipped changes by as little), the share of a gap left where its reason is gone; how far inputs move until
# roundings inside have another sign, the share of the gap then; by how much a rounding moves a singular matrix's slope.
ROUNDING_DRAWS, ROUNDINGS_TRIED, LARGER_BY, TAKEN_AWAY = 4, 4, 1e-3, 1e-2
NEARBY_SHARES, OTHER_SIDE, UNLIKE = (1e-3, 1e-2, 2e-2, 3e-2, 5e-2, 8e-2), 0.1, 0.1
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

# --- Linearity in the upstream ----------------------------------------------------------------------------------------
# What counts as zero beside the gradient and the upstream in float64.
LINEAR_NOTHING = 1e-12
# A gradient in float64 is linear to seven digits, or so many roundings of a coarser one; float32 inside to 16 of its.
LINEAR_RTOL, LINEAR_ROUNDINGS, LINEAR_SINGLE_ROUNDINGS = 1e-7, 256, 16
# Of what float32 sums leave: a rounding of the largest; in float64 a thousandth of it.
LINEAR_FLOOR = 1e-3
# Large and small factors of the upstream, as loss scaling and means make them: in float64, with half precision inside,
# and in the op's own dtype.
WIDE_SCALE, HALF_SCALE, OWN_SCALE = 2.0**20, 2.0**10, 2.0**4
# What half precision inside a gradient may leave of its linearity, a change of the upstream that it does not see at
# this share of the elements, and the steps of upstreams that it adds without rounding.
COARSE, UNSEEN_BY_HALF, UNCHANGED_SHARE, HALF_STEPS = 2.0**-6, 2.0**-14, 0.5, 16.0
# The scale of the loss with which mixed precision training begins (Keras' LossScaleOptimizer).
LOSS_SCALE = 2.0**15
# Gathered rows: one gradient in the own dtype, taken in two ways.
GATHERED_RTOL, GATHERED_FLOOR = 1e-2, 1e-3

# --- Variables --------------------------------------------------------------------------------------------------------
# Gradients of variables handed over in another order: the same numbers in the own dtype.
ORDER_RTOL, ORDER_ATOL = 1e-3, 1e-6

# --- What is shown ----------------------------------------------------------------------------------------------------
# Names of ops, places and indices in one sentence.
NAMED, PLACES_NAMED, INDICES_NAMED = 3, 4, 5
# Elements and step curves in a picture.
PICTURED, CURVES = 4096, 3
# Digits with which the border of a region is tried, the fewest first.
BORDER_DIGITS = (1, 2, 3, 4)
# Worst elements per finding that are kept.
SHOWN = 10
# Characters of a line of the user's that stand in a message; whole numbers up to this size are written as such.
LONGEST_LINE, WRITTEN_WHOLE = 60, 2**24

# --- Modes ------------------------------------------------------------------------------------------------------------
# Draws of inputs moved a little, by a share of their size, to see whether a difference between modes is a tie; half
# precision keeps its tolerance, which is all there is, float32 gets eight times as much.
NUDGES, NUDGED, TIE_SAFETY = 2, 1e-2, 8.0
# Roundings of one that XLA's special functions are off by near zero (lgamma at 1: 8, digamma at its root: 20), and how
# far from their limit its iterations for eigenvectors may stop, relative (3e-8 in float64; their own bound is 1e-6).
SPECIAL_ROUNDINGS, XLA_FACTORS_RTOL = 64, 1e-5
# A difference between two modes that cannot be overlooked, and the share of it that the right mode may be off.
PLAIN_GAP, RIGHT_MODE = 1e-3, 0.1
# Tangents of forward mode for each input; numbers of a Jacobian that is made whole.
TANGENTS, JACOBIAN_NUMBERS = 2, 1_000_000

# --- Lost digits ------------------------------------------------------------------------------------------------------
# Roundings that a gradient in its own dtype may lose beside its conditioning, and times what that explains; what is
# left where all terms cancel, in roundings of what comes in.
LOST_ROUNDINGS, LOST_MARGIN, ROUNDINGS_LEFT = 64.0, 4, 4
# A smaller element is compared with the largest (it is what larger terms left); numbers within this factor of the
# largest of a dtype are not called finite in it.
SMALLEST, NEAR_OVERFLOW = 1e-3, 16
# The share of a factor that autodiff or a trace shows where it shares it.
SHARED_BY_AUTODIFF, SHARED_BY_TRACE = 1 / 4, 1 / 2

# --- Repeatability ----------------------------------------------------------------------------------------------------
# Calls of a freshly imported module that show whether it counts them.
COUNTED_CALLS = 3
# Roundings by which two runs of one program may part, as threads add up in another order; two modes may part by more.
REPEATED_ROUNDINGS, OTHER_MODE_ROUNDINGS = 64.0, 1e5
# The shares of the largest element of a result, and of all results, that count for each.
REPEATED_FLOOR = 0.1
# By what variables are multiplied to see who reads them, and the share of inputs that change their sign.
ASSIGNED_FACTOR, FLIPPED = 0.75, 0.4

# --- Second derivatives -----------------------------------------------------------------------------------------------
# Elements whose second derivative is differenced, other sides of conditions where it is, and roundings that are left.
SECOND_LIMIT, SECOND_SITES, SECOND_ROUNDINGS = 512, 3, 256
# Second derivatives in the own dtype: to a percent, in half precision to ten.
SECOND_RTOL, HALF_SECOND_RTOL = 1e-2, 0.1
# A second derivative smaller than this is none.
SECOND_NOTHING = 1e-6
# The step along all inputs, as a share of their size.
SECOND_STEP = 2.0**-17

# --- Slopes at the sample ---------------------------------------------------------------------------------------------
# Outputs that are looked at one by one, and how far a gradient is from autodiff that is worth a look at one alone.
OUTPUTS_ALONE, ALONE_RTOL, ALONE_FLOOR = 8, 1e-4, 1e-2

# --- Unknown sizes ----------------------------------------------------------------------------------------------------
# A function traced for any size beside eager, in the own dtype: of an element and of the largest of all.
UNKNOWN_RTOL, HALF_UNKNOWN_RTOL, UNKNOWN_FLOOR = 1e-3, 5e-2, 1e-2
# Times what the own dtype was seen to lose.
UNKNOWN_LOSS = 4

# --- Causes -----------------------------------------------------------------------------------------------------------
# Two gradients are one to a thousandth, and hardly any of the error is left over; two factors that differ by half a
# percent of what they are off by are two; by how much inputs move that may be ignored, and how many may be.
CLOSE, LEFT_OVER, FACTOR_LEFT_OVER, IGNORED_MOVE, IGNORED_AT_MOST = 1e-3, 0.02, 0.005, 0.1, 2
# What is zero beside the largest element, and in itself.
ZERO_RTOL, ZERO_ATOL = 1e-9, 1e-12
# Elements smaller than this share of the largest say nothing of a factor.
WEAK = 1e-3
# The fractions that people write have denominators up to this, and a ratio is one to so many digits.
DENOMINATORS, FRACTION_RTOL = 12, 1e-4
# Terms that are taken apart, and the fewest numbers that are no multiples of anything by chance.
MAX_TERMS, LONG_ENOUGH = 8, 3
# The fewest elements that count as a number of elements where all of them have one output each; what a formula that
# stands for another is off by, beside the largest element, and the draws at which it is.
COUNTABLE, APPROXIMATE_RTOL, APPROXIMATE_DRAWS = 5, 0.05, 6
# Edits of a grad_fn: how many are tried in how many seconds of the processor (fewer for a mistake with a name; one that
# loops), of how many coordinates; how many right ones are compared as a whole, what is right and kept, fresh points.
EDITS_TRIED, EDIT_SECONDS, NAMED_SECONDS, LOOP_SECONDS, EDITED_SIZE = 4000, 8.0, 6.0, 0.5, 20_000
EDITS_VERIFIED, EDITED_RTOL, EDITS_KEPT, MEND_DRAWS = 4, 1e-3, 10_000_000, 2
# Axes beyond which nobody looks for the ones that a mean left out.
MOST_AXES = 6
# Steps, as shares of an input's size, over which a fine staircase looks like the smooth function that it stands for.
STAIRS_STEPS = (2.0**-3, 1.3 * 2.0**-4)
# How close the gradient is to that slope, and how much closer than fine differences are.
STAIRS_RTOL, STAIRS_SHARE = 0.05, 0.2
# Wrong and right values that separate a region, the share of elements at which an error may fade, and of those that
# are right by a zero that any formula has.
SEPARATED, FADING, SELDOM, SIDES_DRAWS = 3, 0.02, 0.05, 3
# The largest exponent in float64; the smallest matrix whose diagonal is looked at by itself.
LARGEST_EXPONENT, SMALLEST_MATRIX = 700.0, 3
# Further draws for a diagnosis, the widest input that is drawn whole, entries that stand for a larger one.
TRIALS, TRIAL_LIMIT, SAMPLED = 4, 256, 16
# Relative gaps to autodiff: plainly wrong; of the usual relative error, what is little; beside the largest, as good as
# zero.  The correlation in rank, and the ratio, of gaps of other values that grow towards wrong ones: they fade away.
CLEARLY, FAINT, VANISHING, FADES_IN_RANK, FADES_BY = 1e-2, 1e-2, 1e-6, -0.8, 10.0
# How a trial draws: factors of the values at hand, and the least spread; how a push does.
TRIAL_FACTORS, LEAST_SPREAD = (0.5, 1.5), 1e-3

# --- The budget of a case ---------------------------------------------------------------------------------------------
# Evaluations that move every coordinate once, and numbers that go in and out of them, beyond which directions are
# taken.
EVALUATIONS, NUMBERS = 2500, 2**25
# Shares of the time that a case has: for moving every coordinate once, for all ladders, and for what only
# sharpens the name of a mistake.
FULL_SHARE, LADDERS_SHARE, CAUSES_SHARE = 1 / 24, 1 / 6, 1 / 120
# Evaluations of a ladder, and ladders that are climbed however long it takes.
RUNGS, FEWEST_LADDERS = 26, 4
# So few evaluations are timed one by one; so many are timed together, as they are taken together.
TIMED_ALONE, TIMED_TOGETHER = 32, 64
# What an evaluation takes at least, on a clock that stands still.
LEAST_SECONDS = 1e-6

# --- Noise of the own dtype -------------------------------------------------------------------------------------------
# Draws of inputs moved by their last digit, and times what these move that is noise (measured: 8 blames rounding).
NOISE_DRAWS, NOISY = 4, 16.0

# --- Rows and points beside those of the sample -----------------------------------------------------------------------
# The first row alone gives its own outputs, but for rounding.
ROW_RTOL, ROW_FLOOR = 1e-2, 1e-3
# New rows lie between two that are there, as this mixture; of a single row they are scaled.
MIXTURE, SCALED_ROW, SCALED_IN_DOMAIN = (0.625, 0.375), 0.8, 1.1
# By what inputs are scaled for another point.
POINT_FACTORS = (0.6, 0.9)

# --- The way to a site ------------------------------------------------------------------------------------------------
# Tries to leave out coordinates, and halvings of the way.
PATH_BUDGET, HALVINGS = 48, 24
# A branch goes from right to wrong in a narrow stretch of the way, even if it is continuous; a term in proportion to
# the way from its first thousandth on, by a gap that is no rounding, at an order that is this close to one or two.
NARROW, PROPORTIONAL_POWERS, SEEN_CLEARLY, NEAR_ORDER = 0.03, (9, 10, 11, 12, 13), 1e-7, 0.15
# The change between neighbours, beside the larger of both, that counts as wild, and how often they must turn.
WILD, TURNS = 0.3, 3

# --- Which precision --------------------------------------------------------------------------------------------------
# How far values and gradient of a trace may be from those of eager before the trace counts as another op (in half
# precision), and before a forward is evaluated in eager alone.
SAME_OP, SAME_HALF_OP, SAME_TRACED = 1e-4, 2e-2, 1e-6
# Values in float64 are those of the own dtype if most are this close, of themselves and of the largest.
SAME_VALUE_RTOL, SAME_VALUE_FLOOR, MOST_VALUES = 0.05, 0.02, 0.5

# --- Gradients that are right in expectation --------------------------------------------------------------------------
# Draws if the case says nothing, and the fewest whose variance means anything; the chance that one of all elements of
# a right gradient is as far off, twice in a row; a bias smaller than this share of the reference is that of sums.
DRAWS, FEWEST_DRAWS, FALSE_ALARM, LEAST_BIAS = 1000, 100, 1e-4, 1e-4
# Standard errors within which the means of all elements have one factor to their reference.
STANDARD_ERRORS = 4

# --- What a gradient costs --------------------------------------------------------------------------------------------
# The fewest runs whose median counts, the seconds in which more are made, and the bytes from which on memory is told.
# The last is the exponent of two of the unit in which Linux tells memory.
COST_REPEATS, COST_SECONDS, LEAST_MEMORY, KILO = 15, 0.5, 2**20, 10

# --- Random numbers ---------------------------------------------------------------------------------------------------
# The seed under which ops that draw random numbers run, so that every run draws the same.
RANDOM_SEED = 1701

# --- Two results of one dtype -----------------------------------------------------------------------------------------
# Factors closer to one than this are nobody's mistake; of fewer elements a factor has to be plain.
SHARED_FACTOR, ENOUGH, FEW_SHARED = 1e-4, 4, 0.1
# A mean ratio counts beside its spread and a rounding from here on; a loss is one factor if it does so clearly.
FACTOR_SPREADS, SYSTEMATIC = 4, 10
# Times what one way loses that another way may lose, by another path.
LOSS_MARGIN = 8

# --- Counterfactual diagnosis ---------------------------------------------------------------------------------------
# Coordinates of all sources: each takes two evaluations of the whole graph.
CHANGED_COORDINATES = 400
# Of the discrepancy (and where the gradient is known to float32 only), and of the whole gradient: central differences
# of a long graph err by less, and a wrong explanation misses by far more than a millionth.
CHANGED_RTOL, CHANGED_LOW_RTOL, CHANGED_SCALE = 1e-6, 1e-3, 1e-8
# How far the second point is moved (enough for another gradient, near enough for the same branches), and simple changes
# that are tried two by two: 20,000 sums of vectors take 0.1 s; rules that see another value; lines changed as a whole.
CHANGED_MOVE, CHANGED_PAIRS, OTHER_OPERANDS, LINES_CHANGED, SEARCH_SECONDS = 0.1, 200, 20_000, 2000, 8.0
BLOCKS, CANCELLED = (2, 3, 4), 1e-12  # Beside its upstream, what comes back in float64 and cancels is rounding.
LEAST_INNER_FACTOR = 1e-6  # A factor of one, of zero and of minus one are changes of their own.

# --- Conditions: branches of the forward and of grad_fn that are driven to both sides ---------------------------------
# Ops that are followed for one case (a small op has 30, so that 0.5 s hold 150 looks), and the fewest and most looks.
FOLLOWED_OPS, FEWEST_LOOKS, MOST_LOOKS = 40_000, 40, 1200
# The share of a case's time that the search takes at most, and of a domain's width that it stays away from its ends.
SEARCH_SHARE, INSIDE = 0.05, 1e-4
# Pairs of conditions that are looked for together (many cannot hold at once), and starts for each.
JOINTS_TRIED, JOINT_STARTS = 16, 2
# Starts from which a side is looked for, nearest first, and how alike two least distances are that are one; factors
# by which draws are made wider; sites compared.
STARTS, SAME_LEAST, WIDENED, SITES_REACHED = 3, 0.02, (0.1, 3.0, 10.0), 64
# A counterexample: inputs up to this size are made small, digits that are tried, numbers that are rounded one by one,
# and coordinates that are tried alone.
SHRUNK_SIZE, SHRUNK_DIGITS, SHRUNK_NUMBERS, SHRUNK_ALONE = 2000, (0, 1, 2, 3), 8, 2
# Sites at which differences look, of those where gradient and autodiff differ.
BRANCHES_CONFIRMED = 8
