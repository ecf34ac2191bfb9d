"""Files are found, cases selected."""

from __future__ import annotations

import pytest

from gradcheck.errors import NothingSelected, UsageError
from gradcheck.spec.discover import SAVED_FAILURE, compile_expression, load, select

SPEC = "module: ops.py\ncases:\n  soft: {inputs: {x: 1.0}, tags: [fast]}\n  hard: {inputs: {x: 1.0}}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "ops.py").write_text("")
    (tmp_path / "a.yaml").write_text(SPEC)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "ops.py").write_text("")
    (tmp_path / "sub" / "b.yml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ids(*paths, **more):
    return [case.id for case in select(load(paths), **more)]


def test_folders_are_searched_and_ids_can_be_given_back(folder):
    found = ids(".")
    assert found == ["a.yaml::soft", "a.yaml::hard", "sub/b.yml::soft", "sub/b.yml::hard"]
    assert ids(found[3]) == [found[3]]


def test_expressions_and_tags_select(folder):
    assert ids(".", expression="soft and not sub") == ["a.yaml::soft"]
    assert ids(".", expression="(hard or fast) and a.yaml") == ["a.yaml::soft", "a.yaml::hard"]
    assert ids(".", tags=["fast"]) == ["a.yaml::soft", "sub/b.yml::soft"]


def test_nothing_selected_and_absent_paths_are_said(folder):
    with pytest.raises(NothingSelected):
        ids(".", expression="nowhere")
    with pytest.raises(UsageError, match="no file or folder 'gone'"):
        load(["gone"])
    with pytest.raises(UsageError, match="no case 'x'"):
        load(["a.yaml::x"])


@pytest.mark.parametrize("text", ["and", "a or", "(a", "a b", "not"])
def test_expressions_that_do_not_parse_are_refused(text):
    with pytest.raises(UsageError):
        compile_expression(text)


def test_saved_failures_are_found_only_in_a_folder_of_nothing_else(folder):
    saved = folder / "out" / "a--soft"
    saved.mkdir(parents=True)
    (saved / SAVED_FAILURE).write_bytes(b"")
    (saved / "ops.py").write_text("")
    (saved / "spec.yaml").write_text(SPEC)
    assert not [case for case in ids(".") if case.startswith("out/")]
    assert ids("out", expression="soft") == ["out/a--soft/spec.yaml::soft", "out/a--soft/spec.yaml::hard"]


def test_a_folder_without_specs_says_so(folder):
    (folder / "empty").mkdir()
    with pytest.raises(NothingSelected, match="there is no spec"):
        ids("empty")
