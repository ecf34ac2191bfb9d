"""The documentation is true: its code blocks print what they show, and what is made from the code is current."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.conftest import ROOT
from tests.pages import PAGES, _matches, blocks, problems
from tests.reference import pages as made_pages

EVERY = sorted(path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*.md"))
RUN = [page for page in EVERY if not page.startswith("reference/findings") and blocks((PAGES / page).read_text())]


@pytest.mark.parametrize("page", [page for page in RUN if page not in made_pages()])
def test_the_blocks_of_a_page_do_what_it_says(page, tmp_path):
    assert not problems(PAGES / page, tmp_path)


def test_the_made_pages_are_current():
    stale = [path for path, text in made_pages().items() if (PAGES / path).read_text() != text]
    assert not stale, "run `make reference`"


def test_every_page_is_in_the_navigation_or_linked_from_one():
    listed = re.findall(r"[\w/-]+\.md", yaml.safe_dump(yaml.safe_load((ROOT / "docs" / "mkdocs.yml").read_text())))
    linked = {
        f"reference/findings/{code}.md" for code in re.findall(r"findings/([\w-]+)\.md", _text("reference/findings.md"))
    }
    assert set(EVERY) == set(listed) | linked


@pytest.mark.parametrize("page", EVERY)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#\s]+)\)", _text(page)):
        assert "://" not in link
        assert ((PAGES / page).parent / link).is_file(), link


def _text(page):
    return (PAGES / page).read_text()


def test_what_is_shown_is_compared_line_by_line():
    assert _matches("a 1.2 s\nb", "a 3.4 s\nb")
    assert not _matches("a\nb", "a\nc")
    assert not _matches("a", "a\nb")
    assert _matches("a\n...\nd", "a\nb\nc\nd")
    assert not _matches("a\n...\nd", "a\nb\nc")
    assert _matches("...\nd", "a\nd")
    assert _matches("a\n...", "a\nb")
    assert not _matches("a\n...\nc\n...", "a\nb")
