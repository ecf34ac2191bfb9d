# SPDX-License-Identifier: Apache-2.0
"""The catalogue of finding codes: what each means, the usual mistake, and the way out.

Console, `gradcheck explain` and the spec schema read it, so that they use the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ERROR, WARNING = "error", "warning"
INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class CodeInfo:
    """Describe one finding code; `causes` maps each cause to the test that decides it."""

    level: str
    meaning: str
    mistake: str
    remedy: str
    causes: Mapping[str, str] = field(default_factory=dict)
    errored: bool = False


MISMATCH_CAUSES = {
    "sign-flip": "the gradient equals minus the reference",
    "constant-factor": "gradient / reference is one number at every element",
    "swapped-inputs": "the gradient equals the reference of another input, and the other way round",
    "transposed": "the gradient equals the reference with two axes exchanged",
    "region": "the error is confined to a range of the input",
    "elements": "the error is confined to a few indices or rows",
    "one-output": "the error appears only with the upstream of one of several outputs",
    "missing-term": "the gradient equals the reference without the part of some outputs or terms",
    "zero": "the gradient is zero everywhere, the reference is not",
    "mean-not-sum": "gradient and reference differ by the number of elements",
    "conjugate": "the gradient equals the complex conjugate of the reference",
    "straight-through": "the forward is constant or a staircase here and the gradient is not zero",
    "stopped": "the gradient is right except that nothing comes through one op of the forward",
    "bypassed": "the gradient is right except that it ignores the derivative of one op of the forward",
    "mask": "the gradient is right except that it ignores or inverts the mask of one op (relu, where, maximum)",
    "inner-factor": "the gradient is right except that what comes through one op of the forward has a constant factor",
    "operand": "the gradient is right except that the derivative of one op is taken with another factor",
    "axis": "the gradient is right except that a part of it is summed or averaged along an axis",
    "index": "the gradient is right except that a part of it is reversed or shifted along an axis",
    "ignored-input": "the gradient stays the same when another input changes, and the reference does not",
    "approximate": "the gradient is near the reference everywhere and equals it nowhere",
    "no-effect": "the outputs do not depend on this input, however it changes, and the gradient is not zero",
    "unknown": "none of the stated tests is met",
}

CATALOGUE: dict[str, CodeInfo] = {
    "bad-return": CodeInfo(
        ERROR,
        "the function under tf.custom_gradient does not return (output, grad_fn)",
        "returning only the output, or several outputs without putting them in a tuple",
        "return exactly two things: the output (a tuple if there are several) and grad_fn",
    ),
    "gradient-count": CodeInfo(
        ERROR,
        "grad_fn returns more or fewer gradients than the op has arguments",
        "forgetting the gradient of a side argument: every positional argument counts, also Python numbers",
        "return one gradient per positional argument, None for those that need none",
    ),
    "gradient-shape": CodeInfo(
        ERROR,
        "a gradient's shape is not the shape of its input",
        "not summing over the axes along which the input was broadcast; TensorFlow accepts this silently in eager",
        "sum the gradient over the broadcast axes, or keep the axis that was summed away",
        causes={
            "unreduced-broadcast": "summing over some axes gives the input's shape",
            "over-reduced": "the input's shape has axes or sizes that the gradient lost",
            "transposed": "exchanging the axes gives the input's shape",
        },
    ),
    "gradient-dtype": CodeInfo(
        ERROR,
        "a gradient's dtype is not the dtype of its input",
        "NumPy constants or casts that turn float32 into float64, or a cast inside the op that is not undone",
        "cast the gradient to the input's dtype: tf.cast(g, x.dtype)",
    ),
    "gradient-missing": CodeInfo(
        ERROR,
        "the gradient is None although the output depends on this input",
        "grad_fn without a return statement, or None returned for an input that matters",
        "return the gradient of this input; if none is meant, write `differentiate: none` in the spec",
    ),
    "gradient-nonfinite": CodeInfo(
        ERROR,
        "the gradient is NaN or infinite where the slope is finite",
        "an exponential that overflows in grad_fn, or 0 * inf where tf.where hides one branch of the value only",
        "rewrite the formula so that no intermediate overflows; guard the input, not the result, of the bad branch",
    ),
    "gradient-mismatch": CodeInfo(
        ERROR,
        "the gradient differs from the reference",
        "a wrong formula in grad_fn",
        "compare the columns of the table: the message says which of them agree",
        causes=MISMATCH_CAUSES,
    ),
    "upstream-nonlinear": CodeInfo(
        ERROR,
        "grad_fn is not linear in the upstream gradient",
        "returning the local derivative without multiplying by upstream, or clipping it",
        "multiply by upstream exactly once; declare clipping on purpose with `expected_vjp`",
        causes={
            "ignores-upstream": "another upstream gives the same gradient",
            "nonlinear": "g(0) = 0, g(-u) = -g(u), g(c u) = c g(u) or g(u+v) = g(u) + g(v) does not hold",
        },
    ),
    "nondeterministic": CodeInfo(
        ERROR,
        "two runs on the same inputs differ",
        "Python or NumPy random numbers inside the op, or a grad_fn that draws a mask again",
        "draw with tf.random (gradcheck seeds it alike) or pass the random numbers in",
        causes={"redrawn": "grad_fn draws random numbers of its own, which are not those of the forward"},
    ),
    "stale-state": CodeInfo(
        ERROR,
        "the gradient depends on an earlier call, on a second forward pass, or on values frozen or changed meanwhile",
        "keeping values for grad_fn in an attribute, a list or a global instead of the closure",
        "let grad_fn close over the tensors of its own forward call",
    ),
    "precision-loss": CodeInfo(
        WARNING,
        "the gradient is right in float64 but loses digits in the case's own dtype",
        "subtracting nearly equal numbers in grad_fn",
        "use the stable form: expm1, log1p, sigmoid, or an algebraic rewrite",
    ),
    "second-order-mismatch": CodeInfo(
        ERROR,
        "the gradient of the gradient differs from the reference",
        "grad_fn computed from values that hide the dependence on the input",
        "compute grad_fn with TensorFlow ops of the inputs, or give it a custom gradient of its own",
    ),
    "second-order-missing": CodeInfo(
        ERROR,
        "there is no second derivative (None) although it is not zero",
        "tf.stop_gradient, .numpy() or numpy_function in grad_fn",
        "remove it, or set `order: 1` if no second derivative is offered",
    ),
    "value-mismatch": CodeInfo(
        ERROR,
        "the forward value differs between the op and its reference, or between modes",
        "the two forwards are not the same function",
        "make the forward values agree before looking at gradients",
    ),
    "mode-mismatch": CodeInfo(
        ERROR,
        "the gradient differs between modes, tapes or devices by more than rounding explains",
        "code that asks tf.executing_eagerly(), or state that a traced function freezes",
        "make the op a function of its tensors only",
    ),
    "mode-unsupported": CodeInfo(
        ERROR,
        "the op works in eager and raises in another mode",
        "NumPy, Python `if` on tensors, or py_function: eager or graph only",
        "use TensorFlow ops, or leave the mode out with `modes:`",
    ),
    "dynamic-shape": CodeInfo(
        ERROR,
        "the op fails or differs when it is traced with unknown dimensions",
        "x.shape[0] (None while tracing) where tf.shape(x)[0] is needed",
        "use tf.shape, or set `dynamic_shapes: false` if shapes are always known",
    ),
    "sparse-upstream": CodeInfo(
        WARNING,
        "grad_fn fails when its upstream is tf.IndexedSlices, as after tf.gather",
        "arithmetic on the upstream as it comes",
        "begin grad_fn with upstream = tf.convert_to_tensor(upstream)",
    ),
    "device-fallback": CodeInfo(
        ERROR,
        "the case asked for a device and ran elsewhere",
        "soft placement moves ops without a kernel silently",
        "give the op a kernel for that device, or leave the device out with `devices:`",
    ),
    "variables-keyword": CodeInfo(
        ERROR,
        "the op uses variables and its grad_fn has no `variables` keyword",
        "def grad(upstream): in an op that reads a tf.Variable",
        "def grad(upstream, variables=None): return input_gradients, [gradient of each variable]",
    ),
    "variables-count": CodeInfo(
        ERROR,
        "grad_fn returns another number of variable gradients than there are variables",
        "leaving out one, or returning only the gradients of the inputs",
        "return (input gradients, [one gradient for each of `variables`])",
    ),
    "variables-order": CodeInfo(
        ERROR,
        "grad_fn pairs gradients with the wrong variables",
        "relying on the order of `variables`: a set in eager, sorted by name in graphs",
        "look each variable up: [by_ref[v.ref()] for v in variables]",
    ),
    "variable-untracked": CodeInfo(
        WARNING,
        "a variable reaches the output but is not among the layer's trainable variables",
        "a plain tf.Variable as attribute of a Keras 3 layer: no optimizer updates it",
        "create it with self.add_weight",
    ),
    "captured-tensor": CodeInfo(
        WARNING,
        "a captured tensor reaches the output but gets no gradient",
        "using a tensor of the surrounding scope inside the op",
        "make it an argument of the op",
    ),
    "rule-bypassed": CodeInfo(
        WARNING,
        "TensorFlow does not use the custom gradient here, and what it uses differs",
        "forward mode or tf.vectorized_map around the op, a SavedModel without custom gradients, or a gradient that was"
        " registered too late or under another name",
        "use tape.gradient and tf.map_fn, save with SaveOptions(experimental_custom_gradients=True), or register the"
        " gradient before the op is traced, under the name of the op",
    ),
    "no-gradient": CodeInfo(
        WARNING,
        "the gradient is None or zero for every input and variable although the output changes with them",
        "tf.round, tf.argmax or a cast to integers in the forward: nothing can be learnt through it",
        "use a smooth form, or give the step a gradient with tf.custom_gradient and say so with `surrogate`",
    ),
    "unconnected": CodeInfo(
        WARNING,
        "the output does not depend on any input or variable",
        "returning a constant, or an input that is never used",
        "compute the output from the inputs, or leave the case out",
    ),
    "keywords-ignored": CodeInfo(
        WARNING,
        "called with keyword arguments, TensorFlow drops the custom gradient silently",
        "op(x=x) in eager code",
        "call the op with positional arguments",
    ),
    "state-changed": CodeInfo(
        ERROR,
        "the op changes a variable that its own gradient reads",
        "assigning to a variable in the forward and reading it again in grad_fn",
        "read the variable once, before the assignment, and close over that tensor",
    ),
    "forward-nonfinite": CodeInfo(
        WARNING,
        "the forward value is NaN or infinite at the sampled inputs",
        "inputs outside the domain, or an overflow in the forward",
        "choose inputs inside the domain, or correct the forward",
    ),
    "inconclusive": CodeInfo(
        WARNING,
        "the finite difference cannot decide at some elements",
        "inputs exactly at a kink, a jump or the edge of the domain, or a noisy forward",
        "keep inputs away with `avoid` or `domain`; the other references still decide if they can",
        causes={
            "kink": "the slopes from the left and from the right differ; any slope between them is accepted",
            "jump": "the value jumps there",
            "domain": "one side is outside the domain, or the slope is infinite; or, on the way to inputs far from the"
            " sample, gradient and autodiff part little by little (an iteration that does not converge there)",
            "noise": "rounding or noise of the forward hides the slope",
            "chaotic": "a change of one rounding grows to order one on its way through the op",
            "exact": "exact arithmetic cannot follow the op, or cannot tell two numbers apart (--strict-exact)",
        },
    ),
    "import-error": CodeInfo(
        ERROR,
        "the module could not be imported, or has no such op",
        "an exception at import, or a misspelt name",
        "see the traceback",
        errored=True,
    ),
    "op-error": CodeInfo(
        ERROR, "the op raised in its forward pass", "inputs it cannot take", "see the traceback", errored=True
    ),
    "gradient-error": CodeInfo(
        ERROR,
        "grad_fn raised",
        "shapes that do not fit, or tensors treated as arrays",
        "see the traceback",
        errored=True,
    ),
    "crashed": CodeInfo(
        ERROR,
        "the case's process died",
        "a native crash, os._exit or a signal",
        "run the op alone under a debugger",
        causes={INTERNAL: "gradcheck itself failed, not the op (exit 3)"},
        errored=True,
    ),
    "timeout": CodeInfo(
        ERROR,
        "the case ran too long",
        "an endless loop, or a large case",
        "raise `timeout`, or make the inputs smaller",
        errored=True,
    ),
    "out-of-memory": CodeInfo(
        ERROR,
        "the case hit its memory limit",
        "inputs too large",
        "make the inputs smaller, or use `coverage: directional`",
        errored=True,
    ),
}
