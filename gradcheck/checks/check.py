# SPDX-License-Identifier: Apache-2.0
"""What a check is: one question about an op, what it needs, and the findings after which its answer means nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gradcheck.findings import ERROR
from gradcheck.measure.lab import Lab
from gradcheck.results import Comparison, Cost, Exact, Exempted, Finding, Note, Reach, Skipped

Item = Finding | Comparison | Skipped | Exempted | Reach | Note | Cost | Exact


@dataclass(frozen=True, slots=True)
class Need:
    """Say what a check needs of an op, and why it does not run without; `option`: the case has to ask for it."""

    met: Callable[[Lab], bool]
    otherwise: str
    option: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """Ask one question about an op.

    `ask(lab, found)` yields what it finds; `found` are the findings so far.  `phase` is the name
    under which its time is reported.  After an error of one of the codes in `pointless_after` it
    is skipped.  An `exploring` check looks where the sample does not reach; one of `estimates` has something to say of
    a gradient that is right in expectation only.
    """

    name: str
    phase: str
    ask: Callable[[Lab, Sequence[Finding]], Iterator[Item]]
    needs: tuple[Need, ...] = ()
    pointless_after: frozenset[str] = frozenset()
    exploring: bool = False
    estimates: bool = False

    def reason_to_skip(self, lab: Lab, found: Sequence[Finding]) -> str | None:
        """Return why the check does not run, None if it does."""
        missing = next((need.otherwise for need in self.needs if not need.met(lab)), None)
        if missing is not None:
            return missing
        if lab.case.expectation is not None and not self.estimates:
            return "the gradient is right in expectation only (`expectation`)"
        code = next((f.code for f in found if f.level == ERROR and f.code in self.pointless_after), None)
        return None if code is None else f"{code} was found before"

    def is_asked_for(self, lab: Lab) -> bool:
        """Return whether the case asks for the check, if it has to."""
        return all(need.met(lab) for need in self.needs if need.option)


def blamed_before(lab: Lab, found: Sequence[Finding]) -> set[str | None]:
    """Return the inputs and variables that earlier findings blame: of exchanged gradients every variable."""
    # That a use of the op does not run its rule says nothing of the rule.
    blamed = {f.wrt for f in found if f.level == ERROR and f.code != "rule-bypassed"}
    if any(f.code == "variables-order" for f in found):
        blamed |= {variable.name for variable in lab.variables}
    return blamed


CUSTOM = Need(lambda lab: lab.custom, "the op has no custom gradient")
RULE = Need(
    lambda lab: lab.custom or bool(lab.case.surrogate) or lab.facts.registered,
    "the op has no gradient of its own and the case declares none",
)
OUTPUTS = Need(lambda lab: lab.layout.outputs.width > 0, "the op has no floating output")
INPUTS = Need(lambda lab: lab.layout.inputs.width > 0, "there is no input or variable to differentiate")
TENSORS = Need(lambda lab: bool(lab.sources), "there is no floating input to differentiate")
FIXED = Need(lambda lab: not lab.random, "the op draws random numbers")
DERIVATIVE = Need(lambda lab: not lab.case.expected_vjp, "`expected_vjp` declares the gradient")
VARIABLES = Need(lambda lab: bool(lab.variables), "the op has no variables to differentiate")
OWN_SLOPE = Need(lambda lab: not lab.case.surrogate, "a surrogate declares the gradient")
