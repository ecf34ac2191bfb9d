# SPDX-License-Identifier: Apache-2.0
"""Run the checks of a case: which ones, in which order, and what they add up to."""
