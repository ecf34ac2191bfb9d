"""Settings of the environment win over those of the project; both say what is wrong with them."""

from __future__ import annotations

import pytest

from gradcheck.cli.settings import defaults
from gradcheck.errors import UsageError


@pytest.fixture
def project(tmp_path, monkeypatch):
    def write(text, folder="."):
        (tmp_path / "pyproject.toml").write_text(text)
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)

    return write


def test_the_table_of_the_project_is_read(project):
    project(
        '[tool.gradcheck]\npaths = ["specs"]\njobs = 2\nmodes = ["eager"]\n'
        'timeout = 60\nstrict = true\nexclude = ["old"]'
    )
    assert defaults({})["run"] == {
        "paths": ["specs"], "jobs": "2", "modes": ["eager"], "timeout": 60.0, "strict": True, "exclude": ["old"],
    }  # fmt: skip
    assert defaults({})["list"] == {"paths": ["specs"], "exclude": ["old"]}


def test_paths_are_those_from_the_root_of_the_project(project):
    project('[tool.gradcheck]\npaths = ["specs"]', folder="src")
    assert defaults({})["run"]["paths"] == ["../specs"]


def test_variables_win_over_the_project(project):
    project("[tool.gradcheck]\njobs = 2\ntimeout = 60")
    found = defaults({"GRADCHECK_JOBS": "auto", "GRADCHECK_MODES": "eager, xla", "GRADCHECK_STRICT": "1"})["run"]
    assert found == {"jobs": "auto", "timeout": 60.0, "modes": ["eager", "xla"], "strict": True}


def test_a_project_without_the_table_says_nothing(project):
    project("[project]\nname = 'x'")
    assert not defaults({})["run"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("job = 2", "did you mean `jobs`?"),
        ("jobs = 0", "whole number above 0"),
        ("modes = ['gpu']", "is not one of eager"),
        ("timeout = -1", "seconds above 0"),
        ("strict = 'perhaps'", "true or false"),
        ("paths = 'specs'", "a list of texts"),
        ("jobs = [", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(project, text, said):
    project(f"[tool.gradcheck]\n{text}")
    with pytest.raises(UsageError, match=r"pyproject\.toml") as raised:
        defaults({})
    assert said in str(raised.value)


def test_a_variable_that_is_wrong_is_named(project):
    project("")
    with pytest.raises(UsageError, match="GRADCHECK_TIMEOUT"):
        defaults({"GRADCHECK_TIMEOUT": "soon"})
