# SPDX-License-Identifier: Apache-2.0
"""The command line; `main` is the one place where exceptions become exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import click

from gradcheck.cli import signals, streams
from gradcheck.cli.settings import OPTIONS, defaults
from gradcheck.errors import GradcheckError, SpecError, Terminated, one_line
from gradcheck.text import clean, clean_line
from gradcheck.version import VERSION

INTERNAL, INTERRUPTED, TERMINATED = 3, 130, 143

COMMANDS = {
    "completion": "completion:completion",
    "doctor": "doctor:doctor",
    "explain": "explain:explain",
    "list": "listing:list_cases",
    "record": "record:record",
    "run": "run:run",
    "scaffold": "scaffolding:scaffold",
    "scan": "scan:scan",
    "schema": "schema:schema",
    "validate": "validate:validate",
    "watch": "watch:watch",
}


class _Unread(Exception):
    """Report that the reader of our output went away (`| head`), in a form that click passes on."""


@contextlib.contextmanager
def _reader_watched() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise _Unread from None


class _OnUse(click.Group):
    """Load a command's module only when the command is used: `list` need not wait for `run`."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _reader_watched():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader_watched():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Say what was probably meant, where the first word is no command."""
        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        if name.endswith((".yaml", ".yml", ".py")) or "::" in name or os.path.exists(name):
            raise click.UsageError(f"'{name}' is no command; did you mean `gradcheck run {name}`?", ctx)
        import difflib

        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean `gradcheck {close[0]}`?" if close else f"the commands are {', '.join(COMMANDS)}"
        raise click.UsageError(f"'{name}' is no command; {hint}", ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"{__name__}.{module}"), name)
        return command


@click.group(cls=_OnUse, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(VERSION, prog_name="gradcheck")
def cli() -> None:
    """Check hand-written TensorFlow gradients.

    A spec (YAML) names ops and their inputs; gradcheck compares what TensorFlow returns
    through a custom gradient with autodiff of the plain forward and with finite differences,
    in eager, tf.function and XLA.

    \b
    Example:
      gradcheck run specs/activations.yaml

    \b
    Exit codes: 0 all passed, 1 a case failed, 2 bad spec or usage, 3 internal
    error, 5 nothing selected, 130 interrupted, 143 terminated.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    streams.open_closed()
    try:
        signals.listen()
        words = list(sys.argv[1:] if argv is None else argv)
        known = defaults(os.environ) if words and words[0] in OPTIONS else {}
        code = cli.main(args=words, prog_name="gradcheck", standalone_mode=False, default_map=known)
        return int(code or 0)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        return TERMINATED if isinstance(error.__cause__ or error, Terminated) else INTERRUPTED
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"\nsee: {context.command_path} --help" if context is not None else ""
        _complain(f"gradcheck: {clean_line(error.format_message())}{hint}")
        return 2
    except GradcheckError as error:
        _complain(f"{error}" if isinstance(error, SpecError) else f"gradcheck: {clean_line(str(error))}")
        return error.exit_code
    except (BrokenPipeError, _Unread):
        # Nothing is left to say.
        streams.write_to_nobody()
        return 0
    except OSError as error:
        # A disk that is full, a terminal that is gone: of the machine, and not of gradcheck.
        _complain(f"gradcheck: {one_line(error)}")
        return 2
    except Exception as error:
        _complain(f"gradcheck: internal error: {one_line(error)}\nThis is a fault of gradcheck; please report it.")
        return INTERNAL


def _complain(text: str) -> None:
    encoding = sys.stderr.encoding or "utf-8"
    text = clean(text)
    sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


__all__ = ["entry", "main"]
