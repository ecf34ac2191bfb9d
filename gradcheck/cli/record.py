# SPDX-License-Identifier: Apache-2.0
"""`gradcheck record`: check the custom gradients that the user's own program calls."""

from __future__ import annotations

import shlex
import tempfile
from typing import Any

import click

from gradcheck.cli import options as shared
from gradcheck.cli import signals
from gradcheck.cli.run import FORMATS
from gradcheck.text import clean

_FILE = click.Path(dir_okay=False)


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: gradcheck record -o recorded/ -- python train.py --epochs 1",
)
@click.option("-o", "--output-dir", "folder", metavar="DIR", type=click.Path(file_okay=False), help="Write specs here.")
@click.option("--samples", type=click.IntRange(1, 100), default=2, show_default=True, help="Calls kept per signature.")
@click.option("--max-bytes", metavar="SIZE", default="256M", show_default=True, help="Values that are kept, in all.")
@click.option("--timeout", type=click.FloatRange(0, 1e9, min_open=True), default=120.0, help="Seconds per check.")
@click.option("-j", "--jobs", default="1", show_default=True, help="Processes at once; auto takes all cores.")
@click.option("--strict", is_flag=True, help="Warnings fail a check.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="console", help="Standard output.")
@click.option("--json", "json_file", type=_FILE, help="Also write the JSON report here.")
@click.option("--junit", type=_FILE, help="Also write JUnit XML here.")
@click.option("--html", type=_FILE, help="Also write a page with pictures here.")
@shared.show
@click.option("-v", "--verbose", count=True, help="Show findings of passed checks too.")
@click.option("-q", "--quiet", is_flag=True, help="One line for each check that did not pass.")
@shared.color
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def record(folder: str | None, command: tuple[str, ...], **options: Any) -> int:
    """Run COMMAND and check every custom gradient that it calls, on the inputs of these calls.

    COMMAND is a script, `-m MODULE` or a program that runs Python. Write `--` before it. Its output and
    its arguments are its own; the exit code is 1 if a gradient is wrong, else the program's.
    """
    from gradcheck.cli.outputs import check_files, exit_code, make_outputs, writable_folder
    from gradcheck.cli.run import consume, jobs_of, size_of
    from gradcheck.recorded import Plan, RecordedRun
    from gradcheck.recording.program import command_of, run_program
    from gradcheck.recording.settings import Settings

    words = command_of(command)
    jobs = jobs_of(options["jobs"])
    bytes_kept = size_of("--max-bytes", options["max_bytes"])
    check_files({**options, "paths": [], "save_failures": None})
    place = None if folder is None else writable_folder("-o", folder)
    with tempfile.TemporaryDirectory(prefix="gradcheck-record-") as private:
        settings = Settings(private, options["samples"], bytes_kept, options["timeout"], max(options["show"], 10))
        code = run_program(words, settings)
        stated = {"seed": 0, "modes": [], "jobs": jobs, "command": list(command)}
        outputs = make_outputs({**options, "save_failures": None}, [], stated, ())
        typed = shlex.join(command)
        rerun = f"gradcheck record -- {typed}"
        plan = Plan(settings, typed, rerun, place, jobs, options["strict"], options["html"] is not None)
        recorded = RecordedRun.of(plan)
        try:
            summary = consume(recorded.events(), outputs, [])
        finally:
            signals.hold()
            outputs.close()
        lines = recorded.conclude(code)
        outputs.finish()
    stream = outputs.out if outputs.console is not None else outputs.err
    for line in lines:
        stream.print(clean(line), soft_wrap=True)
    return exit_code(summary) or code
