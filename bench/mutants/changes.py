"""What may stand in the place of one expression: another operator, argument, end or constant."""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["COMPUTED", "NO_MATTER", "changes"]

_COMPARED = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
COMPUTED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_PAIRS = (
    ("min", "max"),
    ("minimum", "maximum"),
    ("argmin", "argmax"),
    ("idxmin", "idxmax"),
    ("nanmin", "nanmax"),
    ("reduce_min", "reduce_max"),
    ("any", "all"),
    ("floor", "ceil"),
    ("zeros", "ones"),
    ("zeros_like", "ones_like"),
    ("sum", "mean"),
    ("reduce_sum", "reduce_mean"),
    ("cumsum", "cumprod"),
    ("left", "right"),
    ("head", "tail"),
    ("first", "last"),
)
_OTHER_NAME = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}
#: Functions of one thing that can be left out: the thing itself stays.
_LEFT_OUT = {
    *("abs", "absolute", "sorted", "sort", "argsort", "sqrt", "exp", "log", "log1p", "square"),
    *("round", "unique", "clip", "reversed", "cumsum", "transpose", "stop_gradient", "expit"),
    *("sigmoid", "flip", "ravel", "norm", "maximum", "minimum", "max", "min", "nan_to_num"),
}
#: The same of methods.
_LEFT_OUT_METHODS = {
    *("sort_values", "sort_index", "reset_index", "drop_duplicates", "abs", "round", "copy"),
    *("clip", "fillna", "dropna", "cumsum", "shift", "mean", "sum", "lower", "strip", "astype"),
    *("transpose", "rank", "unique", "squeeze", "T", "permutation"),
}
#: Keywords whose value decides nothing that a test should hold: what is shown, what is checked.
NO_MATTER = {"strict", "desc", "leave", "disable", "progress", "name", "total", "unit"}


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in an expression's place.

    Example:
        >>> [ast.unparse(after) for after in changes(ast.parse("x < 1", mode="eval").body)]
        ['x <= 1', 'x >= 1']
    """
    if isinstance(node, ast.Constant):
        yield from (ast.Constant(value) for value in _other_values(node.value))
    elif isinstance(node, ast.Compare):
        yield from _other_comparisons(node)
    elif isinstance(node, ast.BinOp):
        yield from _other_operators(node)
    elif isinstance(node, ast.BoolOp):
        op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield ast.BoolOp(op, node.values)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.Slice):
        yield from _other_slices(node)
    elif isinstance(node, ast.Dict):
        yield from _other_keys(node)
    elif isinstance(node, ast.Call):
        yield from _other_calls(node)
    elif isinstance(node, ast.comprehension):
        for place in range(len(node.ifs)):
            rest = node.ifs[:place] + node.ifs[place + 1 :]
            yield ast.comprehension(node.target, node.iter, rest, node.is_async)


def _other_values(value: object) -> Iterator[object]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1)
    elif isinstance(value, float):
        yield from (value + 1.0, value * 2 if value else -1.0)


def _other_comparisons(node: ast.Compare) -> Iterator[ast.AST]:
    for place, op in enumerate(node.ops):
        for other in _COMPARED[type(op)]:
            ops = [*node.ops[:place], other(), *node.ops[place + 1 :]]
            yield ast.Compare(node.left, ops, node.comparators)


def _other_operators(node: ast.BinOp) -> Iterator[ast.AST]:
    other = COMPUTED.get(type(node.op))
    if isinstance(node.left, ast.Constant | ast.JoinedStr) and isinstance(
        getattr(node.left, "value", ""), str
    ):
        return  # texts put together
    if other is not None:
        yield ast.BinOp(node.left, other(), node.right)
    if isinstance(node.op, ast.MatMult | ast.Sub | ast.Div):
        yield ast.BinOp(node.right, node.op, node.left)


def _other_slices(node: ast.Slice) -> Iterator[ast.AST]:
    one = ast.Constant(1)
    if node.lower is not None:
        yield ast.Slice(None, node.upper, node.step)
    if node.upper is not None:
        yield ast.Slice(node.lower, None, node.step)
        if not isinstance(node.upper, ast.Constant):
            yield ast.Slice(node.lower, ast.BinOp(node.upper, ast.Sub(), one), node.step)


def _other_keys(node: ast.Dict) -> Iterator[ast.AST]:
    for place, key in enumerate(node.keys):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            keys = [*node.keys[:place], ast.Constant(f"{key.value}_"), *node.keys[place + 1 :]]
            yield ast.Dict(keys, node.values)


def _other_calls(node: ast.Call) -> Iterator[ast.AST]:
    method = isinstance(node.func, ast.Attribute)
    name = node.func.attr if method else getattr(node.func, "id", "")
    plain = not any(isinstance(each, ast.Starred) for each in node.args)
    if name in _OTHER_NAME:
        yield ast.Call(_renamed(node.func, _OTHER_NAME[name]), node.args, node.keywords)
    if name in _LEFT_OUT and node.args and plain:
        yield from node.args[:2] if name in ("maximum", "minimum", "max", "min") else node.args[:1]
    elif method and name in _LEFT_OUT_METHODS and not _is_module(node.func.value):
        yield node.func.value
    if len(node.args) > 1 and plain and ast.dump(node.args[0]) != ast.dump(node.args[1]):
        args = [node.args[1], node.args[0], *node.args[2:]]
        yield ast.Call(node.func, args, node.keywords)
    for place, keyword in enumerate(node.keywords):
        if keyword.arg is not None and keyword.arg not in NO_MATTER:
            rest = node.keywords[:place] + node.keywords[place + 1 :]
            yield ast.Call(node.func, node.args, rest)
            if keyword.arg == "axis" and isinstance(keyword.value, ast.Constant):
                other = ast.Constant(1 if keyword.value.value == 0 else 0)
                keywords = [*node.keywords[:place], ast.keyword("axis", other)]
                yield ast.Call(node.func, node.args, [*keywords, *node.keywords[place + 1 :]])


def _is_module(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("np", "pd", "tf", "math", "linalg", "ops")


def _renamed(function: ast.expr, name: str) -> ast.expr:
    if isinstance(function, ast.Attribute):
        return ast.Attribute(function.value, name, function.ctx)
    return ast.Name(name, ast.Load())
