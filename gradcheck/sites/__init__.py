# SPDX-License-Identifier: Apache-2.0
"""Where an op is looked at beside its sample: other values, magnitudes, ties, variables, integers and sizes."""
