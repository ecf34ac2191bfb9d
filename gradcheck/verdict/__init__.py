"""Decide what a difference between gradients means: the one rounding model, the exemptions, the tolerances."""
