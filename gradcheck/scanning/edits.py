# SPDX-License-Identifier: Apache-2.0
"""Small edits of a grad_fn that undo what people get wrong in one place: pure syntax, nothing is run.

An edit replaces part of one line; which of them mends a gradient is for others to try (program repair by
mutation; Weimer and others 2009, Debroy and Wong 2010).
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gradcheck.scanning import arithmetic_edits as arithmetic
from gradcheck.scanning.axis_lists import axes_of_a_line, other_axes, other_orders
from gradcheck.scanning.call_edits import (
    accumulated,
    as_the_forward_sums,
    other_calls,
    other_letters,
    other_results,
    over_the_count,
    sums_over_names,
    taken,
)
from gradcheck.scanning.edit_causes import by_meaning, cause_of, undoes
from gradcheck.scanning.forms import DIVISORS, MASKS, OF_ROWS, RARE_SLOPES, SLOPES
from gradcheck.scanning.index_edits import (
    exchanged_numbers,
    other_indices,
    other_loops,
    other_orders_of_lists,
    other_subscripts,
)
from gradcheck.scanning.line_edits import (
    complemented_names,
    multiplied_names,
    negated_names,
    other_arguments,
    transposed_names,
)
from gradcheck.scanning.name_edits import (
    as_in_a_sum,
    counted,
    counts,
    elements,
    elements_beside,
    handed_on,
    named_instead,
    one_fewer,
    other_names,
    other_names_of_lines,
    unread,
    with_term,
)
from gradcheck.scanning.slices import by_suspicion, that_read
from gradcheck.scanning.syntax import Edit, Syntax, number_of
from gradcheck.scanning.term_edits import (
    with_second_use,
    with_term_of_another_line,
    with_terms,
    with_terms_of_others,
    with_what_goes_past,
)

_Families = tuple[tuple[str, Iterator[Edit]], ...]


@dataclass(frozen=True, slots=True)
class Known:
    """Hold what is known of a mistake.

    `ratio` is what the gradient is to be divided by, where it is one number; `cause` its name, where it has one;
    `wrong` the places of the wrong gradients among the `count` that are returned, none where that is not known;
    `names` those of the line of the forward whose derivative is wrong.
    """

    ratio: float | None = None
    cause: str | None = None
    wrong: tuple[int, ...] = ()
    count: int = 0
    names: frozenset[str] = frozenset()


def edits(syntax: Syntax, known: Known = Known()) -> Iterator[Edit]:
    """Yield edits, likely ones first: in what the wrong gradients have for themselves, those that undo the cause."""
    nodes = syntax.expressions()
    groups = by_suspicion(syntax, nodes, known.wrong, known.count)
    # Edits that reach over several groups come last, with all others once more.
    for group in [*that_read(known.names, groups), *groups, *([nodes] if len(groups) > 1 else [])]:
        # What changes a word explains more than what adds a term that happens to undo it.
        for family, edit in itertools.chain(
            _one_by_one(_in_order(_plain(syntax, group, known.ratio), known.cause)),
            _in_turn(_in_order(_of_names(syntax, group), known.cause)),
            _likely_in_turn(_far_fetched(syntax, group, known.ratio), known.cause),
        ):
            before = syntax.lines[edit.line - 1].encode()[edit.start : edit.end].decode()
            yield replace(edit, cause=cause_of(family, edit.text, before))


def _in_order(families: _Families, cause: str | None) -> _Families:
    """Return families of edits, those that undo a cause first."""
    return tuple(sorted(families, key=lambda pair: not undoes(pair[0], cause)))


def _one_by_one(families: _Families) -> Iterator[tuple[str, Edit]]:
    """Yield the edits of each family after those of the one before."""
    return ((family, edit) for family, found in families for edit in found)


def _in_turn(families: _Families) -> Iterator[tuple[str, Edit]]:
    """Yield one edit of each family after the other: of long lists none comes last as a whole."""
    for row in itertools.zip_longest(*(found for _, found in families)):
        yield from ((families[i][0], edit) for i, edit in enumerate(row) if edit is not None)


def _likely_in_turn(families: _Families, cause: str | None) -> Iterator[tuple[str, Edit]]:
    """Yield one edit after the other of the families that undo a cause, then those of each other family."""
    likely = tuple(pair for pair in families if undoes(pair[0], cause))
    yield from _in_turn(likely)
    yield from _one_by_one(tuple(pair for pair in families if pair not in likely))


def _plain(syntax: Syntax, nodes: Sequence[ast.expr], ratio: float | None) -> _Families:
    """Return the edits that change what stands there."""
    values = syntax.values(nodes)
    numbers = by_meaning([n for n in nodes if number_of(n) is not None], syntax.parents)

    def other_numbers(family: str) -> Iterator[Edit]:
        return (e for node in numbers[family] for e in arithmetic.other_numbers(syntax, node, ratio))

    return (
        *((family, other_numbers(family)) for family in numbers),
        ("axes", (e for node in nodes for e in other_axes(syntax, node))),
        ("axes", axes_of_a_line(syntax, nodes)),
        ("axes", (e for node in nodes for e in other_orders(syntax, node))),
        ("signs", (e for node in values for e in arithmetic.other_signs(syntax, node))),
        ("operators", (e for node in nodes for e in arithmetic.other_operators(syntax, node))),
        ("letters", (e for node in nodes for e in other_letters(syntax, node))),
        ("letters", (e for node in nodes for e in other_results(syntax, node))),
        ("calls", (e for node in nodes for e in other_calls(syntax, node))),
        ("comparisons", (e for node in nodes for e in arithmetic.other_comparisons(syntax, node))),
        ("indices", other_indices(syntax, nodes)),
        ("indices", other_orders_of_lists(syntax, nodes)),
        ("indices", exchanged_numbers(syntax, nodes)),
        ("indices", (e for node in nodes for e in other_subscripts(syntax, node))),
        ("signs", negated_names(syntax, nodes)),
        ("calls", transposed_names(syntax, nodes)),
        ("operators", complemented_names(syntax, nodes)),
        ("indices", other_loops(syntax)),
        ("exchanged", _exchanged(syntax)),
    )


def _of_names(syntax: Syntax, nodes: Sequence[ast.expr]) -> _Families:
    """Return the edits that put a name in the place of another, or a factor beside what stands there."""
    values, inputs, forgotten, sizes = syntax.values(nodes), syntax.inputs(), unread(syntax), counts(syntax)
    inside = [part for node in nodes if (part := accumulated(node)) is not None]
    numbers = by_meaning([n for n in nodes if number_of(n) is not None], syntax.parents)["numbers"]
    return (
        ("terms", (e for node in values for e in with_term(syntax, node, forgotten))),
        ("names", (e for node in nodes for e in other_names(syntax, node))),
        ("names", other_names_of_lines(syntax, nodes)),
        ("names", (e for node in (*numbers, *values) for e in named_instead(syntax, node))),
        ("names", (e for node in nodes for e in as_in_a_sum(syntax, node))),
        ("counts", (e for node in nodes for e in one_fewer(syntax, node, sizes))),
        ("counts", (e for node in nodes for e in sums_over_names(syntax, node, inputs))),
        ("operators", (e for node in nodes for e in arithmetic.complements(syntax, node))),
        ("factors", (e for node in (*values, *inside) for e in arithmetic.multiplied(syntax, node, ("{n}",), inputs))),
        ("factors", (e for node in values for e in arithmetic.divided_by(syntax, node, ("{n}",)))),
        ("factors", (e for node in values for e in counted(syntax, node, sizes))),
        ("factors", multiplied_names(syntax, nodes)),
    )


def _far_fetched(syntax: Syntax, nodes: Sequence[ast.expr], ratio: float | None) -> _Families:
    """Return the edits that put there what was forgotten: a factor, a term, a sum."""
    values, inputs = syntax.values(nodes), syntax.inputs()
    arguments = [part for node in nodes if (part := taken(node)) is not None]
    read, beside, given = elements(syntax), elements_beside(syntax), handed_on(nodes)
    inputs_given = [node for node in given if isinstance(node, ast.Name) and node.id in inputs]
    return (
        ("factors", (e for node in values for e in arithmetic.divided(syntax, node, ratio))),
        ("wraps", (e for node in nodes for e in as_the_forward_sums(syntax, node))),
        ("counts", (e for node in values for e in over_the_count(syntax, node))),
        ("signs", (syntax.put(node, f"-{node.id}") for node in inputs_given)),
        ("terms", (e for node in arguments + values for e in with_term(syntax, node, beside))),
        ("factors", (e for node in arguments for e in arithmetic.multiplied(syntax, node, ("{n}",), inputs))),
        ("terms", (e for node in arguments for e in arithmetic.shifted(syntax, node))),
        ("factors", (e for node in values for e in arithmetic.multiplied(syntax, node, ("{n}",), read))),
        ("factors", (e for node in (*values, *given) for e in arithmetic.times_numbers(syntax, node))),
        ("masks", (e for node in values for e in arithmetic.multiplied(syntax, node, MASKS, inputs))),
        ("masks", (e for node in values for e in arithmetic.where_the_forward_asks(syntax, node))),
        ("slopes", (e for node in values for e in arithmetic.multiplied(syntax, node, SLOPES, inputs))),
        ("derivatives", (e for node in values for e in arithmetic.exchanged_for(syntax, node, SLOPES))),
        ("divisors", (e for node in values for e in arithmetic.over_divisors(syntax, node))),
        ("factors", (e for node in values for e in arithmetic.multiplied(syntax, node, OF_ROWS[1:], inputs))),
        ("matrices", (e for node in values for e in arithmetic.times_matrices(syntax, node))),
        ("terms", (e for node in values for e in with_what_goes_past(syntax, node))),
        ("terms", (e for node in values for e in with_terms(syntax, node))),
        ("terms", (e for node in values for e in with_terms_of_others(syntax, node))),
        ("wraps", (e for node in nodes for e in other_arguments(syntax, node))),
        ("slopes", (e for node in values for e in arithmetic.times_slope_of_silu(syntax, node))),
        ("uses", (e for node in values for e in with_second_use(syntax, node))),
        ("wraps", (e for node in values for e in arithmetic.wrapped(syntax, node))),
        ("factors", (e for node in values for e in arithmetic.divided_by(syntax, node, DIVISORS))),
        ("operators", (e for node in nodes for e in arithmetic.other_operands(syntax, node))),
        ("slopes", (e for node in values for e in arithmetic.multiplied(syntax, node, RARE_SLOPES, inputs))),
        ("uses", (e for node in values for e in with_term_of_another_line(syntax, node))),
    )


def _exchanged(syntax: Syntax) -> Iterator[Edit]:
    """Yield the returned gradients with two of them exchanged."""
    for one, other in itertools.combinations(syntax.returned(), 2):
        if one.lineno == other.end_lineno and syntax.parents.get(one) is syntax.parents.get(other):
            yield syntax.put_all([one, other], [syntax.text(other), syntax.text(one)])
