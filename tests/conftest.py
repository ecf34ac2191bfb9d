"""What tests share: the command line run in this process, so that TensorFlow is started once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from gradcheck.cli import main

ROOT = Path(__file__).parent.parent

# How long one example takes depends on what else the machine does.
hypothesis.settings.register_profile("without deadline", deadline=None)
hypothesis.settings.load_profile("without deadline")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture
def run_cli(capfd, monkeypatch):
    """Run the command line and return exit code and output; the fork server stays warm between tests."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*args: object) -> Outcome:
        capfd.readouterr()
        code = main([str(arg) for arg in args])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def write_spec(tmp_path):
    """Write an op module and a spec beside it; return the spec's path."""

    def write(spec: str, ops: str = "", name: str = "spec.yaml") -> Path:
        (tmp_path / "ops.py").write_text("import tensorflow as tf\n\n" + ops)
        path = tmp_path / name
        path.write_text(spec)
        return path

    return write
