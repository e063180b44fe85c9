"""Which small faults a source can be given: one change of one node of its syntax tree."""

from __future__ import annotations

import ast
import copy
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.mutants.changes import COMPUTED, NO_MATTER, changes

__all__ = ["Mutant", "mutants_of", "mutated"]

_LONGEST = 90  # characters of a changed expression that are shown whole
_NOT_ENTERED = (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal)


@dataclass(frozen=True)
class Mutant:
    """One small fault.

    Attributes:
        file: that it is planted into, as it was named.
        function: dotted name of the function or class around it; empty for the module's own lines.
        lines: first and last line of the smallest statement, or header of one, that holds it.
        around: first and last line of the function around it, or of the whole file.
        text: the changed line of the source, without its indentation.
        change: what is done, as ``before -> after``; unlike all others of the same line.
        place: number of the change among those of the file, by which :func:`mutated` finds it.
    """

    file: str
    function: str
    lines: tuple[int, int]
    around: tuple[int, int]
    text: str
    change: str
    place: int


@dataclass(frozen=True)
class _Site:
    """Where a tree can be changed: called on the tree's own nodes, it changes them."""

    node: ast.AST
    function: str
    lines: tuple[int, int]
    change: str
    apply: Callable[[], None]


def mutants_of(source: str, file: str) -> list[Mutant]:
    r"""Return all faults that this module can plant into a source, in the order of its lines.

    Docstrings, annotations, imports, ``__all__``, and what an error says are left alone.

    Example:
        >>> for mutant in mutants_of("def half(x):\n    return x / 2\n", "half.py"):
        ...     print(mutant.function, mutant.lines, mutant.change)
        half (2, 2) return x / 2 -> return x
        half (2, 2) x / 2 -> x * 2
        half (2, 2) x / 2 -> 2 / x
        half (2, 2) 2 -> 3
        half (2, 2) 2 -> 1
    """
    lines, tree = source.splitlines(), ast.parse(source)
    ends = dict(_functions(tree, ""))
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    for place, site in enumerate(_sites(tree)):
        text = lines[getattr(site.node, "lineno", site.lines[0]) - 1].strip()
        seen[site.function, text, site.change] += 1
        again = seen[site.function, text, site.change]  # as in "1 + 1", where either can be 2
        change = site.change if again == 1 else f"{site.change} (number {again})"
        around = ends.get(site.function, (1, len(lines)))
        found.append(Mutant(file, site.function, site.lines, around, text, change, place))
    return found


def _functions(node: ast.AST, outer: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the lines of each function below a node, by its dotted name.

    A class has none of its own: its fields are set when the module is imported, as constants are.
    """
    for each in ast.iter_child_nodes(node):
        name = outer
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{outer}.{each.name}".lstrip(".")
            if not isinstance(each, ast.ClassDef):
                yield name, (each.lineno, each.end_lineno)
        yield from _functions(each, name)


def mutated(source: str, mutant: Mutant) -> ast.Module:
    r"""Return the source's tree with the fault in it.

    Example:
        >>> source = "def half(x):\n    return x / 2\n"
        >>> print(ast.unparse(mutated(source, mutants_of(source, "half.py")[1])))
        def half(x):
            return x * 2
    """
    tree = ast.parse(source)
    site = next(itertools.islice(_sites(tree), mutant.place, None))
    site.apply()
    return ast.fix_missing_locations(tree)


def _sites(tree: ast.Module) -> Iterator[_Site]:
    yield from _in_body(tree, "body", tree, "", None)


def _in_body(
    parent: ast.AST, field: str, owner: ast.AST, function: str, argument: str | None
) -> Iterator[_Site]:
    """Yield the sites of a block: each statement dropped, and what it is made of changed."""
    block = getattr(parent, field)
    names: set[str] = set()
    for place, statement in enumerate(block):
        if _is_left_alone(statement, place):
            continue
        lines = _header(statement)
        if _can_go(statement, names):
            yield _Site(
                statement,
                function,
                lines,
                f"{_short(statement)} -> pass",
                _setter(block, place, ast.copy_location(ast.Pass(), statement)),
            )
        names |= {
            node.id
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        yield from _of_statement(statement, block, place, function, argument, lines)


def _is_left_alone(statement: ast.stmt, place: int) -> bool:
    if isinstance(statement, _NOT_ENTERED) and not isinstance(statement, ast.Raise):
        return True
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return True  # a docstring, or three dots
    if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
        return True
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return any(isinstance(each, ast.Name) and each.id == "__all__" for each in targets)


def _can_go(statement: ast.stmt, names: set[str]) -> bool:
    """Say whether a statement can be dropped so that what follows still finds its names."""
    if isinstance(statement, ast.Raise | ast.AugAssign):
        return True
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call | ast.Yield | ast.YieldFrom)
    if isinstance(statement, ast.Assign):
        return all(
            isinstance(each, ast.Subscript | ast.Attribute)
            or (isinstance(each, ast.Name) and each.id in names)
            for each in statement.targets
        )
    return False


def _of_statement(
    statement: ast.stmt,
    block: list[ast.stmt],
    place: int,
    function: str,
    argument: str | None,
    lines: tuple[int, int],
) -> Iterator[_Site]:
    if isinstance(statement, ast.Raise):
        return
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        name = f"{function}.{statement.name}".lstrip(".")
        if not isinstance(statement, ast.ClassDef):
            first = [each.arg for each in statement.args.args if each.arg not in ("self", "cls")]
            argument = first[0] if first else None
            for default in (*statement.args.defaults, *statement.args.kw_defaults):
                if default is not None:
                    yield from _in_defaults(statement.args, default, name, lines)
        yield from _in_body(statement, "body", statement, name, argument)
        return
    given = isinstance(statement, ast.Return) and argument and statement.value is not None
    if given and ast.unparse(statement.value) != argument:
        after = ast.Return(ast.copy_location(ast.Name(argument, ast.Load()), statement))
        yield _Site(
            statement,
            function,
            lines,
            f"{_short(statement)} -> return {argument}",
            _setter(block, place, ast.copy_location(after, statement)),
        )
    if isinstance(statement, ast.If | ast.While):
        yield from _negated(statement, function, lines)
    if isinstance(statement, ast.Continue):
        after = ast.copy_location(ast.Break(), statement)
        yield _Site(statement, function, lines, "continue -> break", _setter(block, place, after))
    if isinstance(statement, ast.AugAssign) and type(statement.op) in COMPUTED:
        yield _operator(statement, function, lines)
    for field, value in ast.iter_fields(statement):
        if field in ("body", "orelse", "finalbody"):
            yield from _in_body(statement, field, statement, function, argument)
        elif field == "handlers":
            for handler in value:
                yield from _in_body(handler, "body", handler, function, argument)
        elif field == "cases":
            for case in value:
                yield from _in_body(case, "body", case, function, argument)
        elif field != "annotation":
            yield from _in_field(statement, field, function, lines)


def _in_defaults(
    arguments: ast.arguments, default: ast.expr, function: str, lines: tuple[int, int]
) -> Iterator[_Site]:
    for field in ("defaults", "kw_defaults"):
        listed = getattr(arguments, field)
        for place, each in enumerate(listed):
            if each is default:
                yield from _of_expression(default, _setter_of(listed, place), function, lines)


def _negated(
    statement: ast.If | ast.While, function: str, lines: tuple[int, int]
) -> Iterator[_Site]:
    test = statement.test
    after = ast.copy_location(ast.UnaryOp(ast.Not(), test), test)
    yield _Site(
        test,
        function,
        lines,
        f"{_short(test)} -> not ({_short(test)})",
        _field_setter(statement, "test")(after),
    )
    if isinstance(statement, ast.If):
        never = ast.copy_location(ast.Constant(False), test)
        yield _Site(
            test,
            function,
            lines,
            f"{_short(test)} -> False",
            _field_setter(statement, "test")(never),
        )


def _in_field(node: ast.AST, field: str, function: str, lines: tuple[int, int]) -> Iterator[_Site]:
    """Yield the sites of the expressions in one field of a node."""
    value = getattr(node, field)
    if isinstance(value, ast.AST):
        yield from _of_expression(value, _field_setter(node, field), function, lines)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            if isinstance(each, ast.AST):
                yield from _of_expression(each, _setter_of(value, place), function, lines)


Put = Callable[[ast.AST], Callable[[], None]]


def _of_expression(
    node: ast.AST, put: Put, function: str, lines: tuple[int, int]
) -> Iterator[_Site]:
    """Yield the changes of a node itself, then of what it holds."""
    if isinstance(node, _NOT_ENTERED):
        return
    if isinstance(node, ast.keyword) and node.arg in NO_MATTER:
        return
    for after in changes(node):
        yield _Site(
            node,
            function,
            lines,
            _told(node, after),
            put(ast.copy_location(after, node)),
        )
    for field, _ in ast.iter_fields(node):
        if field not in ("annotation", "ctx", "kind"):
            yield from _in_field(node, field, function, lines)


def _operator(statement: ast.AugAssign, function: str, lines: tuple[int, int]) -> _Site:
    after = COMPUTED[type(statement.op)]()
    changed = copy.copy(statement)
    changed.op = after
    return _Site(
        statement,
        function,
        lines,
        f"{_short(statement)} -> {_short(changed)}",
        _field_setter(statement, "op")(after),
    )


def _setter(holder: list, place: int, after: ast.AST) -> Callable[[], None]:
    return _setter_of(holder, place)(after)


def _setter_of(holder: list, place: int) -> Put:
    return lambda after: lambda: holder.__setitem__(place, after)


def _field_setter(node: ast.AST, field: str) -> Put:
    return lambda after: lambda: setattr(node, field, after)


def _header(statement: ast.stmt) -> tuple[int, int]:
    """Return the lines of a statement, or of its header where it holds others."""
    inner = [
        each
        for field in ("body", "orelse", "handlers", "finalbody", "cases")
        for each in (getattr(statement, field, None) or ())
        if hasattr(each, "lineno")
    ]
    if not inner:
        return statement.lineno, statement.end_lineno
    last = min(each.lineno for each in inner) - 1
    return statement.lineno, max(statement.lineno, last)


def _told(before: ast.AST, after: ast.AST) -> str:
    """Say what a change is; of long expressions only the part that differs, with a little around.

    The part may occur elsewhere on the line, too; then two changes have one text.
    """
    old, new = _source(before), _source(after)
    if max(len(old), len(new)) <= _LONGEST:
        return f"{old} -> {new}"
    shared = next(i for i in range(len(old) + 1) if old[: i + 1] != new[: i + 1])
    start = max(0, shared - 20)
    old, new = old[start:], new[start:]
    most = min(len(old), len(new)) - (shared - start)
    tail = next((i for i in range(most) if old[-1 - i] != new[-1 - i]), most)
    cut = max(0, tail - 10)
    first, last = "..." * (start > 0), "..." * (cut > 0)
    return " -> ".join(f"{first}{text[: len(text) - cut]}{last}" for text in (old, new))


def _short(node: ast.AST) -> str:
    """Return a node's source on one line, cut where it is long."""
    text = _source(node)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _source(node: ast.AST) -> str:
    return " ".join(ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).split())
