# SPDX-License-Identifier: Apache-2.0
"""Turn exceptions of the user's code into findings that name the user's own line."""

from __future__ import annotations

import linecache
import os
import re
import traceback
from dataclasses import dataclass, replace

import tensorflow as tf

from gradcheck.backend.tensorflow.recorder import Recorder
from gradcheck.backend.tensorflow.rule_contract import ContractBroken
from gradcheck.backend.tensorflow.runs import OutputsChanged
from gradcheck.files import shown
from gradcheck.results import Finding, Source
from gradcheck.spec.model import Case
from gradcheck.text import FRAME, innermost, shortened, user_files

MAX_MESSAGE, MAX_TRACEBACK = 2_000, 8_000

_HINTS = (
    (
        r"item assignment",
        "tensors cannot be assigned into: build the value with tf.stack, tf.concat or tf.tensor_scatter_nd_update",
    ),
    (
        r"[Pp]redicate.*(?:scalar|rank 0)|non-scalar|truth value of an array|The predicate passed|ambiguous",
        "a condition must be a scalar; choose per element with tf.where",
    ),
    (
        r"Using a symbolic|symbolic tf\.Tensor.*bool|as a Python `?bool",
        "AutoGraph does not reach inside tf.custom_gradient; use tf.cond or tf.where, or close over a Python flag",
    ),
    (r"has no attribute 'numpy'|Cannot convert a symbolic|NumPy call|__array__", "NumPy works in eager only"),
    (
        r"PyFunc",
        "py_function and numpy_function cannot be compiled; leave xla out with `modes: [eager, function]`",
    ),
    (
        r"keywords? arguments only when eager",
        "call the op with positional arguments; in graphs TensorFlow refuses keywords",
    ),
    (
        r"Incompatible shapes between op input and calculated input gradient",
        "a gradient does not have the shape of its input; reduce it over the broadcast axes",
    ),
    (
        r"[Ii]ncompatible shapes|must be equal rank|Dimensions must be equal|Matrix size-incompatible",
        "the shapes do not fit; the message names them",
    ),
    (
        r"attr '\w*(?:indices|segment|ids|Tidx)\w*' of (?:float|double|half)|int(?:32|64)\b.*(?:got|but).*float"
        r"|of type float32 that does not match type int|must be integers? .*float|integer.*expected.*float",
        "an input must hold whole numbers: give it `dtype: int32` and `integers: {low: 0, high: N}`",
    ),
    (
        r"No registered '(?:StringFormat|PrintV2|Print|_Arg)'.*(?:XLA|\n)|DT_STRING.*XLA|XLA.*DT_STRING",
        "XLA compiles neither tf.print nor strings: leave it out with `modes: [eager, function]`",
    ),
    (r"XLA has no kernel|No registered '\w+' OpKernel for XLA", "leave XLA out with `modes: [eager, function]`"),
    (
        r"[Ii]terating over a symbolic|Iterating over `?tf\.Tensor|OperatorNotAllowedInGraphError.*[Ii]terat",
        "Python cannot loop over a tensor in a graph: write tf.while_loop, tf.map_fn or tf.scan",
    ),
    (
        r"'(?:Symbolic)?Tensor' object cannot be interpreted as an integer|cannot be interpreted as an integer",
        "under tf.custom_gradient every argument is a tensor: close over a Python number",
    ),
    (
        r"Node with id \d+ already|Node with id",
        "TensorFlow cannot take this tensor twice: give the ids to tf.IndexedSlices as tf.identity(ids)",
    ),
    (
        r"is not in \[0, \d+\)|[Ll]abel value.*outside the valid range",
        "whole numbers lie outside of what the op takes: give that input `integers: {low: 0, high: N}`",
    ),
    (
        r"Cholesky decomposition was not successful|positive definite|Input is not invertible",
        "the op takes positive definite matrices: give that input `structure: spd`",
    ),
    (
        r"module 'keras\._tf_keras\.[\w.]+' has no attribute",
        "Keras 3 has no such name: what was written for Keras 2 needs tf-keras installed and TF_USE_LEGACY_KERAS=1",
    ),
    (r"found return value of type .*[fF]unction", "swap the decorators: tf.function above tf.custom_gradient"),
    (
        r"convert a value \(None\)|None values not supported|NoneType",
        "a value is None: the upstream of an unused"
        " output may be None, and None as an argument must be bound by a closure",
    ),
    (
        r"while_body.*|cannot be accessed from here|out of scope|inaccessible",
        "a tensor made inside a traced loop or branch is used outside: carry it in the loop or in a tf.TensorArray",
    ),
    (
        r"requires a fixed tensor list size",
        "XLA needs a bound to differentiate a loop: give tf.while_loop `maximum_iterations`",
    ),
    (r"IndexedSlices", "begin grad_fn with upstream = tf.convert_to_tensor(upstream)"),
)

_NO_KERNEL = re.compile(r"\b(\w{1,80}) \(No registered '\w{1,80}' OpKernel for XLA")


@dataclass(frozen=True, slots=True)
class Place:
    """Give a file and a line of the user's code."""

    file: str
    line: int


class Stopped(Exception):
    """End the check of a case with a finding that makes further checks meaningless."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def stopped_by_spec(case: Case, code: str, message: str, hint: str | None = None) -> Stopped:
    """Return what ends a case because of what its spec says, with the line of the case."""
    finding = Finding(code, message, hint=hint)
    if os.path.isfile(case.spec):
        source = Source(shown(case.spec), case.line, "", linecache.getline(case.spec, case.line).strip())
        finding = replace(finding, file=source.file, line=source.line, source=source)
    return Stopped(finding)


def said(error: BaseException) -> str:
    """Return what an exception says; the user's own may fail even at that."""
    try:
        return str(error)
    except Exception:
        return "(its text cannot be read)"


def first_line(error: BaseException) -> str:
    """Return the telling line of an exception, without TensorFlow's frames around it."""
    text = shortened(said(error), 20 * MAX_MESSAGE) or type(error).__name__
    text = re.sub(r"\{\{(?:function_node|node) [^}]*\}\}\s*", "", text)
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lacking = _NO_KERNEL.findall(text)
    if lacking:
        return f"{type(error).__name__}: XLA has no kernel for {', '.join(dict.fromkeys(lacking))}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # Keras says first in which layer, and what below that.
    last = max((i for i, line in enumerate(lines) if "Exception encountered when calling" in line), default=-1)
    lines = lines[last + 1 :] or lines
    telling = [line for line in lines if re.match(r"\w+(?:Error|Exception): ", line)]
    chosen = telling[-1] if "in user code" in text and telling else (lines[0] if lines else text)
    name = type(error).__name__
    chosen = re.sub(r" \[Op:\w*\](?: name:.*)?$", "", chosen)
    chosen = shortened(chosen, MAX_MESSAGE)
    return chosen if re.match(r"\w+(?:Error|Exception): ", chosen) else f"{name}: {chosen}"


def user_place(error: BaseException) -> Place | None:
    """Return the innermost line of user code in the traceback or in TensorFlow's message."""
    frames = [(f.filename, f.lineno or 0) for f in traceback.extract_tb(error.__traceback__)]
    frames += [(file, int(line)) for file, line in FRAME.findall(said(error))]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno or 0))
    place = innermost(frames)
    return None if place is None else Place(*place)


def raised_by_user(error: BaseException) -> bool:
    """Return whether a line of the user's code was running when the exception came up."""
    return bool(user_files([frame.filename for frame in traceback.extract_tb(error.__traceback__)]))


def user_traceback(error: BaseException) -> str:
    """Return the user's own lines of a traceback, or all of it if there are none."""
    entered, quoted = traceback.extract_tb(error.__traceback__), FRAME.findall(said(error))
    files = user_files([*(frame.filename for frame in entered), *(file for file, _ in quoted)])
    lines = traceback.format_list([frame for frame in entered if frame.filename in files])
    if isinstance(error, SyntaxError) and error.filename:
        files.add(error.filename)
        # The line that cannot be read, with a caret below it.
        lines = traceback.format_exception_only(error)[:-1]
    elif not lines:
        lines = [f'  File "{file}", line {number}\n' for file, number in quoted if file in files]
    lacking = _NO_KERNEL.search(shortened(said(error), 20 * MAX_MESSAGE))
    last = first_line(error) if lacking else f"{type(error).__name__}: {said(error)}"
    text = shortened("".join([*lines, last]).rstrip(), MAX_TRACEBACK)
    return "\n".join(_without_library_frames(re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines(), files))


def _without_library_frames(lines: list[str], files: set[str]) -> list[str]:
    """Drop the frames of TensorFlow and of gradcheck that TensorFlow quotes in its messages."""
    kept, dropped = [], None
    for line in lines:
        frame, indent = FRAME.search(line), len(line) - len(line.lstrip())
        if frame is not None and frame.group(1) not in files:
            dropped = indent
        elif dropped is None or frame is not None or indent <= dropped:
            # The line that a dropped frame quotes, which stands further in, goes with it.
            dropped = None
            kept.append(line)
    return [line for line in kept if line.strip()]


def hint_for(error: BaseException) -> str | None:
    """Return what to change, for the mistakes people make most."""
    text = f"{type(error).__name__}: {shortened(said(error), 20 * MAX_MESSAGE)}"
    return next((hint for pattern, hint in _HINTS if re.search(pattern, text)), None)


def outputs_changed(error: OutputsChanged) -> Finding:
    """Return the finding for an op whose floating outputs are not those of its first call."""
    return Finding(
        "nondeterministic",
        f"two runs on the same inputs differ: {error}",
        hint="let the inputs alone decide how many outputs there are, and their shapes and dtypes",
        mode="eager",
    )


def _broken_by_a_registered_rule(text: str) -> Finding | None:
    """Return the finding for what TensorFlow says of a registered gradient that does not fit its op."""
    counts = re.search(r"Num gradients (\d+) generated for op name.*do not match num inputs (\d+)", text, re.DOTALL)
    if counts:
        return Finding(
            "gradient-count",
            f"the registered gradient returns {counts[1]} gradient{'s' * (counts[1] != '1')} for an op with {counts[2]}"
            " inputs",
            hint="return one gradient for each input of the op, None where there is none",
        )
    shapes = re.search(
        r"Incompatible shapes between op input and calculated input gradient.*Input index: (\d+)\. Original input"
        r" shape: (\(.*?\))\.\s+Calculated input gradient shape: (\(.*?\))", text, re.DOTALL,
    )  # fmt: skip
    if shapes:
        return Finding(
            "gradient-shape",
            f"the registered gradient of input {shapes[1]} of the op has shape {shapes[3]}, the input {shapes[2]}",
            hint="sum over the axes along which the input was broadcast, or keep those that it has",
        )
    return None


def finding_from(error: BaseException, code: str, recorder: Recorder | None = None) -> Finding:
    """Return the finding for an exception; a broken contract or missing `variables` has its own code."""
    broken = error if isinstance(error, ContractBroken) else (recorder.broken if recorder else None)
    place = user_place(error)
    where = {"file": place.file, "line": place.line} if place else {}
    if broken is not None:
        return Finding(broken.code, broken.message, hint=broken.hint, wrt=broken.wrt, **where)  # type: ignore[arg-type]
    if "must accept keyword argument 'variables'" in said(error):
        names = ", ".join(re.findall(r"<(?:tf\.)?Variable '([^':]+)", said(error))) or "variables"
        message = f"grad_fn has no `variables` keyword although the op uses {names}"
        hint = "def grad(upstream, variables=None): return input_gradients, [gradient of each variable]"
        return Finding("variables-keyword", message, hint=hint, **where)  # type: ignore[arg-type]
    registered = _broken_by_a_registered_rule(said(error)) if code == "gradient-error" else None
    if registered is not None:
        return registered
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
        code = "out-of-memory"
    at = f" ({os.path.basename(place.file)}:{place.line})" if place else ""
    return Finding(
        code,
        first_line(error) + at,
        hint=hint_for(error),
        traceback=user_traceback(error),
        **where,  # type: ignore[arg-type]
    )
