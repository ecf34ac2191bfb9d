"""Which calls of a custom gradient are kept."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gradcheck.calls import MOST_SIGNATURES, Kept, Place, Signature, Site, titled


def kept(number):
    return Kept(lambda x: x, ((), {}), (number,))


def run(calls, samples, seed):
    signature, rng = Signature("x"), random.Random(seed)
    for number in range(calls):
        slot = signature.slot(samples, rng)
        if slot is not None:
            signature.keep(slot, kept(number))
    return [call.leaves[0] for call in signature.kept]


@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 5))
def test_the_first_call_is_kept_and_as_many_as_asked_for(calls, samples, seed):
    numbers = run(calls, samples, seed)
    assert numbers[0] == 0
    assert len(numbers) == min(calls, samples)
    assert len(set(numbers)) == len(numbers)


def test_each_later_call_has_the_same_chance():
    drawn = Counter(run(11, 2, seed)[1] for seed in range(5000))
    assert set(drawn) == set(range(1, 11))
    assert max(drawn.values()) < 1.35 * min(drawn.values())


def from_a_graph(calls, samples, seed):
    site, kept_calls = Site(0, "ops.py", 1, "f", "top level", "custom_gradient"), []
    place, left, wanted = Place(site, samples, random.Random(seed)), 0, 0
    for number in range(calls):
        left -= 1
        if left < 0:
            signature, slot = place.called(wanted - left - 1, "x", lambda: "x")
            if slot is not None:
                signature.keep(slot, kept(number))
            kept_calls.append(number)
            left = wanted = place.pause()
    place.count(wanted - left)
    return site, kept_calls


@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 5))
def test_a_graph_counts_each_call_and_calls_back_only_for_what_is_kept(calls, samples, seed):
    site, called = from_a_graph(calls, samples, seed)
    signature = site.signatures["x"]
    numbers = [call.leaves[0] for call in signature.kept]
    assert site.calls == signature.count == calls
    assert numbers[0] == 0
    assert len(set(numbers)) == len(numbers) == min(calls, samples)
    assert set(numbers) <= set(called)


def test_each_later_call_of_a_graph_has_the_same_chance():
    drawn = Counter(from_a_graph(11, 2, seed)[0].signatures["x"].kept[1].leaves[0] for seed in range(5000))
    assert set(drawn) == set(range(1, 11))
    assert max(drawn.values()) < 1.35 * min(drawn.values())


def test_ten_thousand_calls_of_a_graph_need_few_callbacks():
    assert len(from_a_graph(10_000, 2, 0)[1]) < 40


def test_endless_signatures_are_counted_and_not_kept():
    site = Site(0, "ops.py", 1, "f", "top level", "custom_gradient")
    known = [site.signature(number, lambda: "x") for number in range(MOST_SIGNATURES + 5)]
    assert known[-1] is None
    assert site.further == 5
    assert site.signature(0, lambda: "x") is known[0]


def test_a_site_of_an_installed_package_is_checked_in_the_program():
    def site(file, module="m"):
        return Site(0, file, 1, "f", "top level", "custom_gradient", module=module)

    assert site("/home/me/ops.py").checked_apart
    assert not site("/home/me/ops.py", None).checked_apart
    assert not site("/venv/lib/site-packages/pkg/ops.py").checked_apart


def test_what_a_wrapper_makes_is_called_by_what_it_wraps():
    assert titled("square", "") == "square"
    assert titled("make.<locals>.f", "") == "make.<locals>.f"
    assert titled("wrap.<locals>.inner", "forward") == "inner of forward"
