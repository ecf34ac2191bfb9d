"""Run the code blocks of a page of the documentation, in a folder of its own.

    python -m tests.pages [--write] PAGE ...

A block with a title is a file: ```python title="ops.py". A `console` block holds commands, each after `$ `, and what
they print; `...` stands for any lines. A `python` block without a title is run as a script. `--write` puts what
the commands print today into the pages.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "pages"
FENCE = re.compile(r'^( *)```(\w*)(?: title="([^"]+)")?[^\n]*\n(.*?)^ *```$', re.DOTALL | re.MULTILINE)
ANY = "..."


@dataclass(frozen=True)
class Block:
    """Hold a fenced block: its language, the file that it is, its text, and where that stands in the page."""

    language: str
    title: str
    text: str
    start: int
    end: int


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    found = []
    for match in FENCE.finditer(page):
        indent = len(match[1])
        text = "".join(line[indent:] if line.strip() else line for line in match[4].splitlines(keepends=True))
        found.append(Block(match[2], match[3] or "", text, match.start(4), match.end(4)))
    return found


def problems(path: Path, folder: Path) -> list[str]:
    """Return what is not as a page says, after all of its blocks have run."""
    found = []
    for block in blocks(path.read_text()):
        where = f"{path.name}: {block.title or block.text.splitlines()[0]}"
        if block.title:
            _write(folder / block.title, block.text)
        elif block.language == "console":
            for command, shown in _commands(block.text):
                printed = _run(command, folder)
                if not _matches(shown, printed):
                    found.append(f"{where}\n$ {command}\nshown:\n{shown}\nprinted:\n{printed}")
        elif block.language == "python":
            done = subprocess.run(
                [sys.executable, "-c", block.text], cwd=folder, capture_output=True, text=True, check=False
            )
            if done.returncode:
                found.append(f"{where}\n{done.stderr[-2000:]}")
        elif block.language in ("yaml", "toml"):
            found.append(f"{where}: a block of {block.language} needs a title")
    return found


def rewritten(path: Path, folder: Path) -> str:
    """Return a page with what its commands print today."""
    page = path.read_text()
    edits = []
    for block in blocks(page):
        if block.title:
            _write(folder / block.title, block.text)
        elif block.language == "console":
            told = []
            for command, shown in _commands(block.text):
                kept = any(line.strip() == ANY for line in shown.splitlines())
                printed = _run(command, folder)
                told.append(f"$ {command}\n{shown if kept else printed}")
            edits.append((block, "\n".join(text.strip("\n") + "\n" for text in told)))
    for block, text in reversed(edits):
        page = page[: block.start] + text + page[block.end :]
    return page


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if path.suffix in (".yaml", ".yml"):
        yaml.safe_load(text)


def _commands(text: str) -> list[tuple[str, str]]:
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [(part.split("\n", 1)[0], part.partition("\n")[2]) for part in parts]


def _run(command: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    env |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, env=env, check=False)
    text = (done.stdout + done.stderr).replace(str(folder) + os.sep, "")
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def _matches(shown: str, printed: str) -> bool:
    """Return whether a command printed what is shown; where nothing is shown, anything will do."""
    if not shown.strip():
        return True
    wanted: list[list[str]] = [[]]
    for line in shown.strip("\n").splitlines():
        if line.strip() == ANY:
            wanted.append([])
        else:
            wanted[-1].append(_timeless(line.rstrip()))
    lines = [_timeless(line) for line in printed.splitlines()]
    first, *rest = wanted
    if lines[: len(first)] != first or (not rest and len(lines) != len(first)):
        return False
    place = len(first)
    for number, part in enumerate(rest):
        last = number == len(rest) - 1
        places = range(place, len(lines) - len(part) + 1)
        at = next(
            (
                i
                for i in places
                if lines[i : i + len(part)] == part and (not last or i + len(part) == len(lines) or not part)
            ),
            None,
        )
        if at is None:
            return False
        place = at + len(part)
    return True


def _timeless(line: str) -> str:
    line = re.sub(r"\d+\.\d s\b", "N s", line)
    line = re.sub(r"\b\d+(\.\d+)? (ms|us|s)\b", r"N \2", line)
    return re.sub(r"\b\d+\.\d+x\b", "Nx", line)


def main() -> int:
    """Check or rewrite pages; return 1 if something is not as it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    bad = 0
    for path in options.pages or sorted(PAGES.rglob("*.md")):
        with tempfile.TemporaryDirectory() as folder:
            if options.write:
                path.write_text(rewritten(path.resolve(), Path(folder)))
                continue
            for problem in problems(path.resolve(), Path(folder)):
                bad += 1
                print(problem, end="\n\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
