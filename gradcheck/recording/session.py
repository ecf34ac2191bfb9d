# SPDX-License-Identifier: Apache-2.0
"""The recorder in the user's process: it starts with the program and checks what was recorded at its end."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck.files import put_in_place
from gradcheck.recording.settings import ENDED, SITES, Settings, from_environment
from gradcheck.ways import MODES

if TYPE_CHECKING:
    from gradcheck.backend.tensorflow.call_watch import CallWatch
    from gradcheck.calls import Site

# The modules of TensorFlow in which the recorder stands, and how it gets into each.
_PLACES = {
    "tensorflow.python.ops.custom_gradient": "install",
    "tensorflow.python.eager.polymorphic_function.polymorphic_function": "install_without_xla",
    "tensorflow.python.framework.ops": "install_registered",
    "tensorflow.python.saved_model.save": "install_saved",
}


@dataclass(slots=True)
class Session:
    """Hold the recording of one process: its watch, once TensorFlow is there, and its folder."""

    settings: Settings
    folder: Path
    watch: CallWatch | None = None
    problems: list[str] = field(default_factory=list)
    process: int = field(default_factory=os.getpid)
    finished: bool = False

    def installed_in(self, place: str, module: Any) -> None:
        """Put the watch into a module of TensorFlow that has just been imported."""
        try:
            getattr(self._watch(), _PLACES[place])(module)
        except Exception as error:
            self.problems.append(f"the recorder does not fit this TensorFlow: {type(error).__name__}: {error}")

    def _watch(self) -> CallWatch:
        if self.watch is None:
            from gradcheck.backend.tensorflow.call_watch import CallWatch

            self.watch = CallWatch(self.settings.samples, self.settings.max_bytes, self._new)
            self.folder.mkdir(parents=True, exist_ok=True)
            # Runs when the program has ended, in whichever way Python ends by itself.
            atexit.register(self.finish)
        return self.watch

    def _new(self, site: Site) -> None:
        """Write what is known when something new was seen: a program may be killed."""
        with contextlib.suppress(OSError):
            self._write_values(site)
            self.write()

    def write(self) -> None:
        """Write the list of sites.

        Raises OSError.
        """
        from gradcheck.recording.storage import listed

        if self.watch is not None and os.getpid() == self.process:
            data = listed(self.watch.sites.values(), self.problems + self.watch.faults[:3], self.watch.without_xla)
            put_in_place(self.folder / SITES, json.dumps(data))

    def _write_values(self, site: Site) -> None:
        from gradcheck.recording.storage import write_calls

        if site.module is not None:
            write_calls(site, self.folder)

    def finish(self) -> None:
        """Check what was recorded in this process; what an importable site was called with is only written."""
        watch = self.watch
        if watch is None or self.finished or os.getpid() != self.process:
            return
        watch.end()
        self.finished = True
        with contextlib.suppress(OSError):
            (self.folder / ENDED).touch()
            self.write()
        if not any(site.signatures for site in watch.sites.values()):
            return
        from gradcheck.recording.judge import judge
        from gradcheck.recording.storage import has_disk

        with _quiet_streams():
            for site in watch.sites.values():
                if site.module is not None:
                    try:
                        self._write_values(site)
                    except OSError as error:
                        site.module, site.op = None, None
                        self.problems.append(f"values of {site.name} could not be written: {error.strerror or error}")
            if not has_disk(self.folder):
                for site in watch.sites.values():
                    site.reason = site.reason or f"there is no room for the results in {self.folder.parent}"
            else:
                judge(list(watch.sites.values()), self.settings, self.folder, modes_of(watch.without_xla))
        with contextlib.suppress(OSError):
            self.write()

    def end_as_interrupted(self) -> None:
        """End the process by SIGINT if Ctrl-C ended the program: Python forgets that when more code runs at exit."""
        if not self.finished or getattr(sys, "last_type", None) is not KeyboardInterrupt:
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def modes_of(with_xla: int) -> tuple[str, ...]:
    """Return the modes in which recorded calls are checked: XLA only if the program uses it."""
    return MODES if with_xla else tuple(mode for mode in MODES if mode != "xla")


_SESSIONS: list[Session] = []


def begin(settings: Settings | None = None) -> Session | None:
    """Start recording in this process if the environment (or `settings`) asks for it; once only."""
    settings = settings or from_environment()
    if _SESSIONS or settings is None:
        return _SESSIONS[0] if _SESSIONS else None
    import wrapt

    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=settings.folder))
    except OSError as error:
        sys.stderr.write(f"gradcheck: nothing is recorded: {error}\n")
        return None
    session = Session(settings, folder)
    _SESSIONS.append(session)
    # Registered first, it runs last.
    atexit.register(session.end_as_interrupted)
    for place in _PLACES:
        wrapt.register_post_import_hook(functools.partial(session.installed_in, place), place)
    return session


def current() -> Session | None:
    """Return the session of this process, None if nothing is recorded in it."""
    return _SESSIONS[0] if _SESSIONS else None


@contextlib.contextmanager
def _quiet_streams() -> Any:
    """Keep what ops print, while they are checked, out of the program's output."""
    kept: list[tuple[int, int]] = []
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    try:
        with open(os.devnull, "w") as sink:
            for descriptor in (1, 2):
                with contextlib.suppress(OSError):
                    kept.append((os.dup(descriptor), descriptor))
                    os.dup2(sink.fileno(), descriptor)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        for copy, descriptor in kept:
            os.dup2(copy, descriptor)
            os.close(copy)
