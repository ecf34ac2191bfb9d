# SPDX-License-Identifier: Apache-2.0
"""Finite differences, tolerances and diagnosis: decisions in pure NumPy, no TensorFlow."""
