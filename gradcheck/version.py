# SPDX-License-Identifier: Apache-2.0
"""The version of gradcheck."""

VERSION = "0.1.0"
