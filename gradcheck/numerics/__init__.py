"""Finite differences, tolerances and diagnosis: decisions in pure NumPy, no TensorFlow."""
