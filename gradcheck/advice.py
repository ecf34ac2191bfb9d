# SPDX-License-Identifier: Apache-2.0
"""What is worth knowing of each finding: why it matters, what the check cannot see, how it is accepted.

`gradcheck explain CODE` and the pages of the documentation print it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_EXPECT = "`expect: [{code}]` with a `reason` records it, and fails as soon as it is gone."
_MEND_ONLY = "There is no right op with this finding: mend it."


@dataclass(frozen=True, slots=True)
class Advice:
    """Hold sentences on a finding; `accept` says how a case that is right all the same is written."""

    matters: str
    limits: str
    accept: str = _MEND_ONLY


ADVICE: Mapping[str, Advice] = {
    "bad-return": Advice(
        "TensorFlow raises at the first call, with a message that does not name your function.",
        "Only functions that the case calls are looked at.",
    ),
    "gradient-count": Advice(
        "TensorFlow raises in training, or pairs gradients with the wrong arguments.",
        "Arguments that the case leaves to their defaults count only if the op passes them on.",
    ),
    "gradient-shape": Advice(
        "In eager TensorFlow accepts the shape silently, and an optimizer broadcasts it into the variable.",
        "Only the shapes of the case, and other numbers of rows, are seen.",
    ),
    "gradient-dtype": Advice(
        "Mixed dtypes raise in some optimizers and cost precision in others.",
        "An inner function whose gradient TensorFlow casts again is a warning only.",
    ),
    "gradient-missing": Advice(
        "The optimizer skips the variable, or the layers below learn nothing.",
        "None for an input that does not matter at the sample is right and not reported.",
        "`differentiate: none` for an input that has no gradient on purpose.",
    ),
    "gradient-nonfinite": Advice(
        "One NaN spreads to every weight in a single step.",
        "Inputs far out are tried up to what float32 holds; a NaN at one single number in between can be missed.",
        "`domain: [low, high]` for inputs that never go there.",
    ),
    "gradient-mismatch": Advice(
        "Training goes on with it, more slowly or to another place, and nothing raises.",
        "An error smaller than the tolerance (1e-5 of a float32 op, checked in float64), or in a place that no input"
        " reached, is not seen: see *What is not found*.",
        "`surrogate` or `expected_vjp` if another gradient is meant; `rtol` for an approximation.",
    ),
    "upstream-nonlinear": Advice(
        "The gradient is right in a test with an upstream of ones and wrong behind any other layer.",
        "Four relations are tested at random upstreams.",
        "`expected_vjp` for clipping and noise that are meant.",
    ),
    "nondeterministic": Advice(
        "A run cannot be repeated, and a recomputed mask gives a gradient of another function.",
        "Two runs are compared; what differs in one run of a thousand is not seen.",
        "`expectation: {samples: 1000}` for a gradient that is a random estimate.",
    ),
    "stale-state": Advice(
        "The gradient belongs to another call: with two towers, gradient accumulation or recomputation it is wrong.",
        "One further call with other inputs, and one assignment to variables, are tried between forward and backward.",
        "A warning for a variable that is read again needs no action if training assigns after the backward pass.",
    ),
    "precision-loss": Advice(
        "The right formula gives noise in float32, so that small gradients are wrong by percents.",
        "Measured at the sample, against what the conditioning of the op explains; in float64 beside autodiff, where a"
        " line of the gradient passes through float32.",
        "Choose inputs at which the op is used; a warning does not fail the case without `--strict`.",
    ),
    "second-order-mismatch": Advice(
        "Gradient penalties, meta-learning and Hessian products use it.",
        "Checked along random directions, at the sample.",
        "Leave out `order: 2` if no second derivative is offered.",
    ),
    "second-order-missing": Advice(
        "A gradient penalty through this op is zero without a word.",
        "Checked along random directions, at the sample.",
        "Leave out `order: 2` if no second derivative is offered.",
    ),
    "value-mismatch": Advice(
        "Gradients of two different functions cannot be compared.",
        "Four digits are compared.",
    ),
    "mode-mismatch": Advice(
        "The op trains in a notebook and not in `model.fit`, or the other way round.",
        "Only the modes, tapes and devices of the case are run.",
        "`modes: [...]` for an op that is made for some of them.",
    ),
    "mode-unsupported": Advice(
        "`tf.function` or `jit_compile=True` is turned on one day, and the op raises.",
        "Where TensorFlow itself cannot do it, the message says so and it is a warning.",
        "`modes: [eager, function]` for an op that is not made for XLA.",
    ),
    "dynamic-shape": Advice(
        "The last batch of an epoch is smaller, and a shape that was written into the trace is wrong.",
        "The first axis is varied, and other axes where the op takes it.",
        "`dynamic_shapes: false` for an op that has one shape.",
    ),
    "sparse-upstream": Advice(
        "Behind `tf.gather` the upstream is a tf.IndexedSlices, and arithmetic on it raises.",
        "Only outputs with rows are tried.",
        "A warning does not fail the case without `--strict`.",
    ),
    "device-fallback": Advice(
        "A comparison between devices compares a device with itself.",
        "Where TensorFlow places single ops inside is not seen.",
        "`devices: [cpu:0]`.",
    ),
    "variables-keyword": Advice(
        "TensorFlow raises at the first gradient.", "Only variables that the case's call reads are seen."
    ),
    "variables-count": Advice(
        "TensorFlow raises, or leaves weights without a gradient.",
        "Only variables that the case's call reads are seen.",
    ),
    "variables-order": Advice(
        "The gradients of two weights are exchanged in some runs and right in others.",
        "Variables of different shapes show as gradient-shape first.",
    ),
    "variable-untracked": Advice(
        "No optimizer updates it: it stays as it was initialized.",
        "Only variables that reach the output at the sample are seen.",
        "`trainable=False` on a variable that is not to be learnt.",
    ),
    "captured-tensor": Advice(
        "No gradient reaches what made the tensor.",
        "Tensors of the module that never change are captured on purpose often: it is a warning.",
        "A warning does not fail the case without `--strict`.",
    ),
    "rule-bypassed": Advice(
        "Training uses another gradient than the one that was written.",
        "Forward mode, vectorized and saved programs are run only if `modes` name them.",
        "Use the op where TensorFlow uses its rule; leave the mode out.",
    ),
    "no-gradient": Advice(
        "Everything below this op stays as it was initialized.",
        "Zero at the sample by chance (a relu that is off) is not reported if it is not zero elsewhere.",
        "A warning does not fail the case; a step that is meant gets a `surrogate`.",
    ),
    "unconnected": Advice(
        "A pass says nothing: no gradient was compared.", "Seen at the sample.",
    ),
    "keywords-ignored": Advice(
        "The custom gradient is not used, and nothing raises.",
        "Only calls inside of the op are seen: your own call of it is not.",
    ),
    "state-changed": Advice(
        "The gradient is that of the value after the update.",
        "Counters and moving averages that the gradient does not read are left alone.",
    ),
    "forward-nonfinite": Advice(
        "Where the value is no number there is no gradient to compare.",
        "Those elements are left out, the others are checked.",
        "`domain` and a source of numbers inside of it.",
    ),
    "inconclusive": Advice(
        "The element was not judged by finite differences.",
        "Where autodiff of the forward exists it decides instead.",
        "`avoid: [0.0]` keeps drawn numbers away from a kink.",
    ),
    "import-error": Advice("The case could not be checked.", "The message is Python's."),
    "op-error": Advice("The case could not be checked.", "The message is that of your op, or of TensorFlow."),
    "gradient-error": Advice("The gradient cannot be taken at all.", "The message is that of your grad_fn."),
    "crashed": Advice(
        "The case's process ended; other cases go on.", "The last line of Python is named, not that of native code."
    ),
    "timeout": Advice(
        "The case was ended; what was found before stays.",
        "The report names the line that was running.",
        "`timeout: 600`."
    ),
    "out-of-memory": Advice(
        "The case was ended before the machine ran out of memory.", "gradcheck does not limit the memory of a GPU.",
        "`--memory-limit`, or smaller inputs.",
    ),
}  # fmt: skip


# What to do about each cause; the message of a finding says where.
CAUSES: Mapping[str, str] = {
    "sign-flip": "Change the sign of what grad_fn returns. For a gradient reversal that is meant, declare"
    " `surrogate: FUNCTION`, a function that returns -x.",
    "constant-factor": "Find the factor that is too much or too little: of x**3 the derivative is 3 x**2.",
    "swapped-inputs": "Return the gradients in the order of the op's arguments.",
    "transposed": "Of y = a @ b the gradients are u @ b^T and a^T @ u: see which factor is transposed.",
    "region": "Look at what grad_fn does where the input is in that range: a mask, a threshold, a clip that is not the"
    " forward's.",
    "elements": "Look at how grad_fn treats these indices: first, last, padding, an index that occurs twice.",
    "one-output": "Each output has an upstream of its own: add what comes through the one that is named.",
    "missing-term": "Add the term that is left out: the other factor of a product, the sum of a softmax, the variance"
    " of a normalization.",
    "zero": "Return the gradient of this input.",
    "mean-not-sum": "A broadcast input gets the sum over the broadcast axes; the gradient of a mean is divided by the"
    " number of elements.",
    "conjugate": "TensorFlow's gradient of a holomorphic function is the upstream times the conjugate of the"
    " derivative.",
    "straight-through": "If it is meant, declare the function whose gradient it is: `surrogate: identity`, and define"
    " `identity` in the module. If not, the op has no gradient: return zeros.",
    "stopped": "Let the gradient through the op that is named, or put tf.stop_gradient into the forward as well.",
    "bypassed": "Multiply by the derivative of the op that is named.",
    "mask": "Multiply by the mask of the op that is named: tf.cast(x > 0, x.dtype).",
    "inner-factor": "Correct the derivative of the op that is named by the factor that the message names.",
    "operand": "Take the derivative of the op that is named at its input, not at its output or at another tensor.",
    "axis": "Sum over the axis that is named, or do not.",
    "index": "Reverse or shift what is named back: the gradient of a cumulative sum is a reversed one.",
    "no-effect": "Return None or zeros for it; declare an index or a flag with `differentiate: none`.",
    "ignored-input": "Use the input that is named as the forward does: labels, lengths, a mask, an exponent.",
    "approximate": "Differentiate the formula that the forward has; if the approximation is meant, allow it by `atol`.",
    "unknown": "Compare the columns of the table at one element by hand.",
    "unreduced-broadcast": "Sum over the axes along which the input was broadcast: tf.reduce_sum(g, axis=0).",
    "over-reduced": "Leave out the sum over an axis that the input has.",
    "ignores-upstream": "Multiply the derivative by the upstream.",
    "nonlinear": "Use the upstream as a factor, once. Declare clipping that is meant with `expected_vjp`.",
    "redrawn": "Draw the mask in the forward and close over it.",
    "kink": "Keep drawn numbers away from it: `avoid: [0.0]`.",
    "jump": "Draw elsewhere, or declare the function whose gradient is meant with `surrogate`.",
    "domain": "Say where the op is defined: `domain: [low, high]`.",
    "noise": "Compute the forward in a finer dtype, or give an `rtol`.",
    "chaotic": "Draw smaller weights, or check fewer steps.",
    "exact": "Leave `--strict-exact` out, or write the op with TensorFlow ops that are known exactly.",
    "internal": "Please report it, with the op and the spec.",
}


def accepted(code: str) -> str:
    """Return how a finding is accepted where it is not a mistake, and how it is recorded until it is corrected."""
    return f"{ADVICE[code].accept} {_EXPECT.format(code=code)}"
