"""Look for a spec that the reader does not answer, guided by the coverage of its code (needs atheris).

python -m tests.fuzz.guided [CORPUS] [-max_total_time=SECONDS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gradcheck"]):
    from gradcheck.errors import SpecError
    from gradcheck.spec.parse import parse

FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-")
PATH = Path(FOLDER.name) / "spec.yaml"


def read(data: bytes) -> None:
    """Parse bytes as a spec; anything but records or a SpecError with places ends the search."""
    PATH.write_bytes(data)
    try:
        parse(PATH, "spec.yaml")
    except SpecError as error:
        for problem in error.problems:
            assert problem.line >= 1
            assert problem.render().startswith("spec.yaml:")


if __name__ == "__main__":
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
