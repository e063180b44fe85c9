"""What a run's folder says that its notebooks found, read back without believing it.

The folder may come from somebody else, or from a disk that lost a part. What the page of a run
is made from is checked here, once: after that every value has the kind that the page expects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from helpers.base.errors import DataError
from helpers.base.small_files import read_json, refuse_links
from helpers.notebooks.contract import Reader, results_of

__all__ = ["is_record", "read_figures", "read_results"]

Record = Mapping[str, Any]
Check = Callable[[Any], bool]

_LARGEST = 64_000_000  # bytes of results, or of a notebook with its figures
_NUMBERS_TO = 1e30  # far beyond any that a notebook records, and safe to print


def read_results(folder: Path) -> Record:
    """Return what ``results.json`` of a run states: ``run`` and ``notebooks``.

    Raises:
        DataError: it is not there, is damaged, or the folder holds links.
    """
    file = folder / "results.json"
    try:
        results = read_json(file, largest=_LARGEST, links=False)
    except FileNotFoundError:
        raise DataError(_nothing(folder)) from None
    except DataError as error:
        if not folder.is_dir():
            raise DataError(_nothing(folder)) from None
        raise DataError(f"{error} {_damaged(folder)}") from None
    try:
        refuse_links(folder, what="a run's folder")
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}.") from None
    if not (isinstance(results, dict) and _numbers_are_sane(results) and _is_whole(results)):
        raise DataError(_damaged(folder))
    return results


def read_figures(folder: Path, names: Iterable[str]) -> list[dict[str, str]]:
    """Return the PNG outputs of the cells tagged ``report``, in the notebooks' order.

    Args:
        folder: of a run.
        names: of its executed notebooks; one that cannot be read has no figures.

    Returns:
        ``notebook``, ``alt`` and ``data``, the picture in base64.
    """
    found = []
    for name in names:
        try:
            notebook = read_json(folder / f"{name}.ipynb", largest=_LARGEST, links=False)
        except (OSError, DataError):  # the page does without its figures
            continue
        cells = notebook.get("cells") if isinstance(notebook, dict) else None
        for cell in filter(_is_shown, cells if isinstance(cells, list) else []):
            alt = cell["metadata"].get("alt")
            alt = alt if isinstance(alt, str) and alt else f"figure of {name}"
            found += [{"notebook": name, "alt": alt, "data": data} for data in _pictures(cell)]
    return found


def is_record(content: Any) -> bool:
    """Return whether a notebook's record has the parts that a notebook writes.

    Example:
        >>> is_record({"values": {}}), is_record([])
        (False, False)
    """
    parts = {"parameters": dict, "versions": dict, "claims": list, "values": dict}
    return (
        isinstance(content, dict)
        and isinstance(content.get("reference"), bool)
        and all(isinstance(content.get(name), kind) for name, kind in parts.items())
        and all(_is_claim(claim) for claim in content["claims"])
    )


def _nothing(folder: Path) -> str:
    return (
        f"{folder} holds no results.json, so there is nothing to report. Give the folder of a run, "
        "such as runs/20260131-090000-journey."
    )


def _damaged(folder: Path) -> str:
    return (
        f"{folder / 'results.json'} is damaged. Resume the run by python -m helpers run --resume "
        f"{folder}, which writes it again."
    )


def _is_whole(results: Record) -> bool:
    run, recorded = results.get("run"), results.get("notebooks")
    return (
        isinstance(run, dict)
        and isinstance(recorded, dict)
        and _is_run(run)
        and all(_is_name(name) for name in recorded)
        and all(is_record(record) for record in recorded.values())
        and all(_can_be_shown(name, r["values"]) for name, r in recorded.items())
    )


def _is_run(run: Record) -> bool:
    source, notebooks = run.get("source"), run.get("notebooks", [])
    return (
        isinstance(source, str)
        and re.fullmatch("[a-z]{1,20}", source) is not None
        and isinstance(notebooks, list)
        and all(_is_name(name) for name in notebooks)
        and _is_by_name(run.get("parameters", {}), _is_scalar)
        and all(re.fullmatch(r"[A-Za-z_]\w*", name) for name in run.get("parameters", {}))
        and _is_by_name(run.get("versions", {}), _is_scalar)
        and _is_by_name(run.get("seconds_by_notebook", {}), _is_number)
        and all(_is_scalar(run.get(name)) for name in ("seed", "fingerprint"))
    )


def _can_be_shown(notebook: str, values: Record) -> bool:
    """Return whether what the page shows of a notebook is of the kinds that it can show."""
    shown = (r for r in results_of(notebook).values() if Reader.REPORT in r.read_by)
    return all(result.kind.fits(values.get(result.name)) for result in shown)


def _is_name(name: Any) -> bool:
    """Return whether this can be a notebook's name: never a path."""
    return isinstance(name, str) and re.fullmatch(r"[0-9]{2}_[^/\\\0]{1,200}", name) is not None


def _is_claim(claim: Any) -> bool:
    return (
        isinstance(claim, dict)
        and isinstance(claim.get("sentence"), str)
        and isinstance(claim.get("holds"), bool)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_by_name(value: Any, fits: Check) -> bool:
    return isinstance(value, dict) and all(v is None or fits(v) for v in value.values())


def _numbers_are_sane(results: Record) -> bool:
    """Return whether every number is finite and can be printed; ``read_json`` bounds the depth."""
    left: list[Any] = [results]
    while left:
        value = left.pop()
        if isinstance(value, dict | list):
            left += value.values() if isinstance(value, dict) else value
        elif _is_number(value) and not abs(value) <= _NUMBERS_TO:
            return False
    return True


def _is_shown(cell: Any) -> bool:
    metadata = cell.get("metadata") if isinstance(cell, dict) else None
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return isinstance(tags, list) and "report" in tags


def _pictures(cell: Record) -> list[str]:
    """Return the PNG outputs of a cell, in base64."""
    outputs = cell.get("outputs")
    found = []
    for output in outputs if isinstance(outputs, list) else []:
        data = output.get("data") if isinstance(output, dict) else None
        image = data.get("image/png") if isinstance(data, dict) else None
        lines: list[Any] = image if isinstance(image, list) else [image]
        if all(isinstance(line, str) for line in lines):
            text = "".join("".join(lines).split())
            found += [text] if re.fullmatch("[A-Za-z0-9+/]+={0,2}", text) else []
    return found
