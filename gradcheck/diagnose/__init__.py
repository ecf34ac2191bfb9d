# SPDX-License-Identifier: Apache-2.0
"""Name the mistake behind a wrong gradient and write the finding."""
