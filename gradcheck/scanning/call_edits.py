# SPDX-License-Identifier: Apache-2.0
"""Edits of the calls of a grad_fn: other functions, switches, arguments and letters."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence

from gradcheck.scanning.forms import COUNT_OF_SEGMENT
from gradcheck.scanning.function_names import ACCUMULATING, BOTH_SWITCHES, SWITCHES, others_of
from gradcheck.scanning.syntax import Edit, Syntax

# The most letters of one operand of an einsum of which two are exchanged.
LETTERS_TRIED = 5


def other_calls(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield edits of a call: a switch, another function, arguments exchanged, its argument alone."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    name, arguments = node.func.attr, [syntax.text(a) for a in (*node.args, *(k.value for k in node.keywords))]
    yield from switched(syntax, node, name)
    if name == "matmul" and not node.keywords and len(node.args) == 2:
        for flags in ("", ", transpose_a=True", ", transpose_b=True"):
            yield syntax.put(node, f"{syntax.text(node.func)}({arguments[1]}, {arguments[0]}{flags})")
    if name == "gather" and len(node.args) > 1:
        yield syntax.put(node.args[1], syntax.own(f"tf.argsort({arguments[1]}, -1)"))
    stop = node.func.end_col_offset or 0
    for other in others_of(name):
        yield Edit(node.lineno, stop - len(name.encode()), stop, other)
    for one, next_one in itertools.pairwise(node.args):
        yield syntax.put_all([one, next_one], [syntax.text(next_one), syntax.text(one)])
    if node.args:
        yield syntax.put(node, arguments[0])


def switched(syntax: Syntax, node: ast.Call, name: str) -> Iterator[Edit]:
    """Yield a call with one of its switches turned, then with both on."""
    yield from (with_switch(syntax, node, switch) for switch in SWITCHES.get(name, ()))
    if name in BOTH_SWITCHES and not node.keywords and node.args:
        end = (node.end_col_offset or 1) - 1
        yield Edit(node.lineno, end, end, BOTH_SWITCHES[name])


def with_switch(syntax: Syntax, node: ast.Call, switch: str) -> Edit:
    """Return a call with a switch turned: one that is not given is off."""
    value = next((keyword.value for keyword in node.keywords if keyword.arg == switch), None)
    if value is not None:
        off = isinstance(value, ast.Constant) and value.value is True
        return syntax.put(value, "False" if off else "True")
    end = (node.end_col_offset or 1) - 1
    return Edit(node.lineno, end, end, f", {switch}=True")


def accumulated(node: ast.expr) -> ast.expr | None:
    """Return what a call that sums or scatters takes, None for what is another thing."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
        return None
    return node.args[0] if any(word in node.func.attr for word in ACCUMULATING) else None


def taken(node: ast.expr) -> ast.expr | None:
    """Return what a function of one argument takes, None for what is another thing."""
    one = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) == 1
    return node.args[0] if isinstance(node, ast.Call) and one and not node.keywords else None


def other_letters(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield an einsum with two letters exchanged, of one operand or of the result: a matrix transposed."""
    equation, inner = _equation(syntax, node)
    if equation is None:
        return
    quote = syntax.text(equation)[0]
    at = 0
    for part in inner.replace("->", ",,").split(","):
        for one, other in itertools.combinations(range(min(len(part), LETTERS_TRIED)), 2):
            letters = list(inner)
            letters[at + one], letters[at + other] = letters[at + other], letters[at + one]
            yield syntax.put(equation, f"{quote}{''.join(letters)}{quote}")
        at += len(part) + 1


def _equation(syntax: Syntax, node: ast.expr) -> tuple[ast.expr | None, str]:
    """Return the equation of an einsum that stands in quotes as it is, and its letters; None for another node."""
    equation = node.args[0] if isinstance(node, ast.Call) and _is_einsum(node.func) and node.args else None
    if not (isinstance(equation, ast.Constant) and isinstance(equation.value, str)):
        return None, ""
    as_it_is = syntax.text(equation)[1:-1] == equation.value
    return equation if as_it_is else None, equation.value


def other_results(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield an einsum with another letter of its operands in the place of one of its result."""
    equation, text = _equation(syntax, node)
    if equation is None:
        return
    quote, (operands, _, result) = syntax.text(equation)[0], text.partition("->")
    for place, letter in enumerate(result):
        for other in dict.fromkeys(c for c in operands if c.isalpha() and c != letter and c not in result):
            found = f"{operands}->{result[:place]}{other}{result[place + 1 :]}"
            yield syntax.put(equation, f"{quote}{found}{quote}")


def sums_over_names(syntax: Syntax, node: ast.expr, names: Sequence[str]) -> Iterator[Edit]:
    """Yield a sum divided by a tensor in the place of a mean: over those of a row that count."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reduce_mean":
        whole = syntax.text(node).replace("reduce_mean", "reduce_sum", 1)
        yield from (syntax.put(node, f"{whole} / {name}") for name in names)


def _is_einsum(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "einsum"


def as_the_forward_sums(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a sum that goes over the segments of the forward, and back to the rows of these."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
        return
    if node.func.attr not in ("reduce_sum", "reduce_mean"):
        return
    for function, ids, more in _segments(syntax.outside):
        yield syntax.put(node, syntax.own(f"tf.gather({function}({syntax.text(node.args[0])}, {ids}{more}), {ids})"))


def _segments(outside: Sequence[ast.expr]) -> list[tuple[str, str, str]]:
    """Return the functions that sum over segments in the forward, with their ids and the count of segments."""
    found: dict[tuple[str, str, str], None] = {}
    for node in outside:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) > 1:
            name = node.func.attr
            if "segment_sum" in name or "segment_mean" in name:
                more = "".join(f", {ast.unparse(a)}" for a in node.args[2:])
                found[ast.unparse(node.func).replace("mean", "sum"), ast.unparse(node.args[1]), more] = None
    return list(found)


def over_the_count(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a value divided by the count of the segment in which each row is, where the forward takes their mean."""
    means = [n for n in syntax.outside if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    for call in (n for n in means if "segment_mean" in ast.unparse(n.func) and len(n.args) > 1):
        x, ids, *more = map(ast.unparse, call.args)
        sums = ast.unparse(call.func).replace("mean", "sum")
        count = COUNT_OF_SEGMENT.format(c=sums, x=x, i=ids, more="".join(f", {size}" for size in more))
        yield syntax.put(node, f"{syntax.as_factor(node)} / {syntax.own(count)}")
