"""Whether the calls of ``record`` in a notebook's source say what the contract declares."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from helpers.base.words import near_match
from helpers.notebooks.contract import Result, ResultKind, results_of

__all__ = ["record_faults"]

_WHERE = "helpers/notebooks/contract.py"
_WORDS = (ResultKind.TEXT, ResultKind.LINES)
_NUMBERS = (ResultKind.NUMBER, ResultKind.LOGIT)


def record_faults(notebook: str, calls: Iterable[tuple[int, ast.Call]]) -> Iterator[str]:
    """Yield what is wrong with the names and kinds that a notebook records, one sentence each.

    Kinds are seen where the source alone tells them: literals, ``len(...)``, ``list(...)``. The
    rest is held to the contract when the notebook runs.

    Args:
        notebook: its name, without ``.ipynb``; one that is not declared may record what it likes.
        calls: of ``record``, each with the number of its cell.

    Example:
        >>> call = ast.parse("record(models=3, seed_spread=0.1, best_pas=2)").body[0].value
        >>> for fault in record_faults("03_train_recommender", [(66, call)]):
        ...     print(fault[:52])
        cell 66 records models, which must be a table: a lis
        cell 66 records best_pas, which helpers/notebooks/co
        the notebook does not record best_pass, which helper
    """
    wanted, calls = results_of(notebook), list(calls)
    if not wanted:
        return
    given = [(cell, keyword) for cell, call in calls for keyword in call.keywords]
    if any(keyword.arg is None for _, keyword in given) or any(call.args for _, call in calls):
        yield "record(...) must write out every name: record(name=value, ...)"
        return
    for cell, keyword in given:
        yield from _faults_of(keyword, wanted, cell)
    for name in wanted.keys() - {keyword.arg for _, keyword in given}:
        readers = " and ".join(wanted[name].read_by)
        yield (
            f"the notebook does not record {name}, which {_WHERE} declares"
            f"{f' and {readers} reads' if readers else ''}"
        )


def _faults_of(keyword: ast.keyword, wanted: dict[str, Result], cell: int) -> Iterator[str]:
    name = keyword.arg or ""
    if name not in wanted:
        yield (
            f"cell {cell} records {name}, which {_WHERE} does not declare for this notebook."
            f"{near_match(name, wanted)}"
        )
        return
    kinds = _kinds(keyword.value)
    if kinds and wanted[name].kind not in kinds:
        yield f"cell {cell} records {name}, which must be {wanted[name].kind}, by {_WHERE}"


def _kinds(node: ast.expr) -> tuple[ResultKind, ...]:
    """Return the kinds that a value can have by its source; none where that does not tell."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            return (ResultKind.FLAG,)
        if isinstance(node.value, int | float):
            return _NUMBERS
        return _WORDS if isinstance(node.value, str) else ()
    if isinstance(node, ast.JoinedStr):
        return _WORDS
    if isinstance(node, ast.Dict | ast.DictComp):
        return (ResultKind.NUMBERS, ResultKind.TEXTS)
    if isinstance(node, ast.List | ast.ListComp):
        return (ResultKind.LINES, ResultKind.TABLE)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return {
            "len": _NUMBERS,
            "float": _NUMBERS,
            "int": _NUMBERS,
            "bool": (ResultKind.FLAG,),
        }.get(node.func.id, ())
    return ()
