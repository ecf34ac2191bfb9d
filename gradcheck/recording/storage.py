# SPDX-License-Identifier: Apache-2.0
"""Recorded calls on disk: the list of sites, and the arrays of the calls of each."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gradcheck.calls import Site
from gradcheck.files import put_in_place
from gradcheck.scanning.declarations import parsed

CALL = "call.json"
# Below this the program that is recorded needs what is left itself.
LEAST_DISK = 2**20


def listed(sites: Iterable[Site], problems: list[str], without_xla: int) -> dict[str, Any]:
    """Return what is known of the sites of a process as JSON-able data."""
    return {
        "sites": [_site(site) for site in sites],
        "problems": list(dict.fromkeys(problems)),
        "without_xla": without_xla,
    }


def _site(site: Site) -> dict[str, Any]:
    return {
        "number": site.number,
        "file": site.file,
        "line": site.line,
        "name": site.name,
        "kind": site.kind,
        "how": site.how,
        "helpers": site.helpers,
        "own": site.own,
        "module": site.module,
        "op": site.op,
        "calls": site.calls,
        "signatures": [{"words": s.words, "calls": s.count, "kept": len(s.kept)} for s in site.signatures.values()],
        "further": site.further,
        "reason": site.reason,
    }


def call_folder(folder: Path, site: int, signature: int, sample: int) -> Path:
    """Return the folder of one kept call."""
    return folder / f"{site}-{signature}-{sample}"


def write_calls(site: Site, folder: Path) -> None:
    """Write the kept calls of a site that a spec can hold; one that it cannot makes the site not importable.

    Raises OSError.
    """
    from gradcheck.backend.tensorflow.replay import arguments_of
    from gradcheck.recording.seen import seen_in

    if site.module == "__main__" and _acts(site.file):
        # To import the script again would run the program again.
        site.module, site.op = None, None
        return
    calls = [[arguments_of(call) for call in signature.kept] for signature in site.signatures.values()]
    seen = seen_in([known.inputs for kept in calls for known in kept])
    for i, (signature, kept) in enumerate(zip(site.signatures.values(), calls, strict=True)):
        for k, known in enumerate(kept):
            if not is_data(known.arguments):
                # Objects that no spec can hold: this site is checked in the program's own process.
                site.module, site.op = None, None
                return
            place = call_folder(folder, site.number, i, k)
            place.mkdir(parents=True, exist_ok=True)
            described = {name: _written(place, name, value) for name, value in known.inputs.items()}
            for name in seen.keys() & described.keys():
                described[name] = {**described[name], **seen[name].described()}
            data = {"inputs": described, "arguments": dict(known.arguments), "words": signature.words}
            put_in_place(place / CALL, json.dumps(data))


def _acts(file: str) -> bool:
    """Return whether a script does more than define things when it is imported."""
    try:
        return parsed(Path(file).read_bytes(), file).calls_at_import
    except (OSError, SyntaxError, ValueError):
        return True


def is_data(value: Any) -> bool:
    """Return whether a value of Python can stand in a spec."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_data(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(is_data(item) for item in value)
    return isinstance(value, (bool, int, float, str)) or value is None


def _written(folder: Path, name: str, value: Any) -> Any:
    """Write the numbers of an input and return what a spec says of it, `file` being the array's name."""
    if isinstance(value, Mapping):
        return {"items": {str(key): _written(folder, f"{name}.{key}", item) for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return {"items": [_written(folder, f"{name}.{i}", item) for i, item in enumerate(value)]}
    from gradcheck.backend.tensorflow.given import described, numbers

    said = described(value)
    array = numbers(value)
    kept = {key: said[key] for key in ("dtype", "sparse", "ragged") if key in said}
    if said["dtype"] == "string":
        decoded = np.vectorize(lambda text: text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text))
        return {"dtype": "string", "values": decoded(array).tolist() if array.size else array.tolist()}
    file = f"{name}.npy"
    # NumPy's format knows no bfloat16; float32 holds all of its numbers.
    np.save(folder / file, array.astype(np.float32) if said["dtype"] == "bfloat16" else array)
    return {**kept, "file": file}


def has_disk(folder: Path) -> bool:
    """Return whether there is room for the results of the checks."""
    try:
        return shutil.disk_usage(folder).free > LEAST_DISK and os.access(folder, os.W_OK)
    except OSError:
        return False
