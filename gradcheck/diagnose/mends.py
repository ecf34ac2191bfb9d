"""Mends that were tried: a line of code with which the gradient passes the whole comparison on fresh draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.recorder import Rule
from gradcheck.differences.assess import assess
from gradcheck.measure.gradients import tolerance_of
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.results import Finding
from gradcheck.scanning.mending import divided
from gradcheck.verdict.tolerances import DENOMINATORS, FRACTION_RTOL, MEND_DRAWS, WEAK

FACTORS = ("constant-factor", "sign-flip")


def with_mend(lab: Lab, finding: Finding) -> Finding:
    """Return a mismatch by one factor with the line that mends it, as it is if no line does."""
    if finding.code != "gradient-mismatch" or finding.cause not in FACTORS or finding.source is None:
        return finding
    measurement = next((m for m in lab.known_measurements if m.slot.name == finding.wrt), None)
    if measurement is None or measurement.declared or not lab.custom or lab.random:
        return finding
    rules = [rule for rule in lab.recorder.rules.values() if finding.wrt in rule.names]
    factor = _factor(measurement)
    if len(rules) != 1 or factor is None or not _holds(lab, measurement, factor):
        return finding
    line = divided(finding.source.text, factor, _position(rules[0], str(finding.wrt)), len(rules[0].names))
    return finding if line is None else replace(finding, fix=line)


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
