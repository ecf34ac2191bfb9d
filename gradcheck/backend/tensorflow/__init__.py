# SPDX-License-Identifier: Apache-2.0
"""Run TensorFlow code under check: load it, call it in every mode, bypass its custom gradients."""
