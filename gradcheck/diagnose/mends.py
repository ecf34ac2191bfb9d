"""Mends that were tried: a line of code with which the gradient passes the whole comparison on fresh draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.recorder import Rule
from gradcheck.differences.assess import assess
from gradcheck.files import shown
from gradcheck.measure.edited import Mend, Wanted, mend_at
from gradcheck.measure.gradients import tolerance_of
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.numerics.arrays import Array
from gradcheck.results import Finding, Source
from gradcheck.scanning.mending import divided
from gradcheck.scanning.returns import line_at
from gradcheck.verdict.tolerances import DENOMINATORS, FRACTION_RTOL, MEND_DRAWS, WEAK

FACTORS = ("constant-factor", "sign-flip")


def with_mend(lab: Lab, finding: Finding) -> Finding:
    """Return a mismatch at the sample with the line that mends it, as it is if no line is found that does."""
    if finding.code != "gradient-mismatch" or finding.fix or not _may_be_mended(lab):
        return finding
    measurement = next((m for m in lab.known_measurements if m.slot.name == finding.wrt), None)
    if measurement is None or measurement.declared or not measurement.wrong.any():
        return finding
    factor = _factor(measurement) if finding.cause in FACTORS else None
    alone = sum(bool(m.wrong.any()) for m in lab.known_measurements) == 1
    line = _divided(lab, finding, measurement, factor) if factor is not None and alone else None
    return replace(finding, fix=line) if line else _edited(lab, finding, measurement, factor)


def with_mend_at(lab: Lab, finding: Finding, x: Array) -> Finding:
    """Return a mismatch at other inputs with the line that mends it there, as it is if no line is found that does."""
    wanted = lab.autodiff(replace(lab.precision.point, x=x)) if _may_be_mended(lab) else None
    place = next((i for i, slot in enumerate(lab.slots) if slot.name == finding.wrt), None)
    if wanted is None or place is None or not np.isfinite(wanted).all():
        return finding
    part = lab.layout.inputs.ranges()[place]
    mend = mend_at(lab, Wanted(x, wanted, np.arange(part.start, part.stop)), None)
    return finding if mend is None else _mended(lab, finding, mend)


def _may_be_mended(lab: Lab) -> bool:
    return lab.custom and not lab.random and not (lab.case.surrogate or lab.case.expected_vjp)


def _divided(lab: Lab, finding: Finding, measurement: Measurement, factor: float) -> str | None:
    rules = [rule for rule in lab.recorder.rules.values() if finding.wrt in rule.names]
    if len(rules) != 1 or finding.source is None or not _holds(lab, measurement, factor):
        return None
    return divided(finding.source.text, factor, _position(rules[0], str(finding.wrt)), len(rules[0].names))


def _edited(lab: Lab, finding: Finding, measurement: Measurement, factor: float | None) -> Finding:
    wanted = np.full(lab.layout.inputs.width, np.nan)
    for known in lab.known_measurements:
        wanted[known.part] = np.where(known.decided, known.wanted, np.nan)
    decided = np.flatnonzero(measurement.decided & np.isfinite(measurement.wanted))
    mend = mend_at(lab, Wanted(lab.vector(), wanted, decided + measurement.part.start), factor)
    return finding if mend is None else _mended(lab, finding, mend)


def _mended(lab: Lab, finding: Finding, mend: Mend) -> Finding:
    """Return the finding with the mended line, and the line that it takes the place of."""
    rule = next(iter(lab.recorder.rules.values()))
    line = line_at(rule.file, mend.edit.line)
    source = Source(shown(rule.file), line.line, rule.function, line.text)
    return replace(finding, fix=mend.line, source=source, file=source.file, line=source.line)


def _position(rule: Rule, name: str) -> int:
    return rule.names.index(name)


def _factor(measurement: Measurement) -> float | None:
    """Return what the gradient is a multiple of its reference by, as a fraction that people write if it is one."""
    g, w = measurement.gradient, measurement.wanted
    strong = measurement.decided & np.isfinite(g) & (np.abs(w) > WEAK * np.abs(w).max(initial=0.0))
    if not strong.any():
        return None
    ratio = float(np.median(g[strong] / w[strong]))
    for denominator in range(1, DENOMINATORS + 1):
        nearest = round(ratio * denominator) / denominator
        if nearest and abs(ratio - nearest) <= FRACTION_RTOL * abs(ratio):
            return nearest
    return ratio or None


def _holds(lab: Lab, measurement: Measurement, factor: float) -> bool:
    """Return whether the gradient divided by a factor passes the differences at fresh points with fresh upstreams."""
    precision, coordinates = lab.precision, np.arange(lab.layout.inputs.width)[measurement.part]
    for number in range(MEND_DRAWS):
        rng = lab.rng("mend", str(number))
        point = precision.point
        moved = point.clipped((point.x + point.sizes * rng.uniform(-1.0, 1.0, point.x.size))[None])[0]
        values = precision.op.value(moved)
        if not np.isfinite(values).all():
            return False
        there = point.elsewhere(moved, values, rng.normal(size=point.cotangent.size), rng)
        gradient = lab.gradient_near(there)
        if gradient is None:
            return False
        mended = gradient.copy()
        mended[measurement.part] /= factor
        found = assess(there, mended, tolerance_of(lab, precision), rng, coordinates, precision.trusted)
        if found.wrong.any() or not found.decided.any():
            return False
    return True
