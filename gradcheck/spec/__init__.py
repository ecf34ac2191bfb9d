# SPDX-License-Identifier: Apache-2.0
"""The spec file: read with locations, validated against one schema, turned into frozen records."""
