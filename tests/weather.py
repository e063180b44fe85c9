"""Finds what hangs on the weather in a test: the machine's speed, or how the tests were started."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Iterator

#: Seconds that a last resort leaves at least.
LEAST_S = 180.0
CLOCKS = {"perf_counter", "process_time", "monotonic", "time", "thread_time", "time_ns"}
CLOCKS |= {f"{name}_ns" for name in CLOCKS if not name.endswith("_ns")}
#: What takes a limit in seconds: by keyword, or as its only argument.
WAITING = {"wait", "communicate", "join", "result", "acquire", "settimeout", "alarm"}
#: How keywords that limit begin.
LIMITS = ("timeout", "within")
#: Of Playwright, in milliseconds.
IN_MS = {"set_default_timeout", "set_default_navigation_timeout", "set_options", "launch"}
IN_MS |= {"wait_for", "goto", "click", "wait_for_function", "wait_for_load_state"}
#: What is meant as it stands, by file: one place polls, one measures memory, one limit is what the
#: test is about, and one is no limit, as what it bounds is tried again.
MEANT = {
    "waiting.py": {"time.monotonic() < end"},
    "memory.py": {"resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"},
    "notebooks/test_notebooks_tool.py": {"execute(path, timeout_s=3)"},
    "browser/test_lab.py": {"expect(indicator).to_be_attached(timeout=AGAIN_MS)"},
}


def _name(call: ast.Call) -> str:
    """Return the last name of what is called: ``wait`` for ``child.wait(5)``."""
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _called(node: ast.AST) -> set[str]:
    """Return what is called anywhere below a node, by ``module.name`` where it has a module."""
    calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    return {ast.unparse(each.func) for each in calls}


def _reads_clock(node: ast.AST) -> bool:
    called = {name.removeprefix("time.") for name in _called(node) if name.count(".") < 2}
    return bool(called & (CLOCKS - {"time"})) or "time.time" in _called(node)


def _timed_names(tree: ast.AST) -> set[str]:
    """Return the names that are given a clock's reading, or what is computed from one."""
    given = [(n.targets, n.value) for n in ast.walk(tree) if isinstance(n, ast.Assign)]
    found: set[str] = set()
    while True:
        more = {
            name.id
            for targets, value in given
            if _reads_clock(value) or found & {n.id for n in ast.walk(value) if _is_name(n)}
            for target in targets
            for name in ast.walk(target)
            if isinstance(name, ast.Name)
        }
        if more <= found:
            return found
        found |= more


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


def compared_clocks(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield comparisons of what a clock says."""
    timed = _timed_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            names = {n.id for n in ast.walk(node) if _is_name(n)}
            if _reads_clock(node) or names & timed:
                yield node


def short_limits(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield calls with a limit that a busy machine can pass."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            named = [k.value for k in node.keywords if (k.arg or "").startswith(LIMITS)]
            alone = node.args[:1] if _name(node) in WAITING | IN_MS else []
            unit = 1000 if _is_of_playwright(node) else 1
            if any(_number(value) < LEAST_S * unit for value in named + alone):
                yield node


def _is_of_playwright(call: ast.Call) -> bool:
    return _name(call) in IN_MS or "expect(" in ast.unparse(call.func)


def _number(node: ast.AST) -> float:
    """Return a number that is written out; what has a name is looked at where it is given."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return float("inf")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and value != 0 else float("inf")  # nought ends an alarm, or asks once


def short_patience(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield short limits that have a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            names = {each.id for each in node.targets if isinstance(each, ast.Name)}
            limit = any("PATIENCE" in n or "TIMEOUT" in n or n.endswith("_LIMIT_S") for n in names)
            if limit and _number(node.value) < LEAST_S:
                yield node


def hopeful_sleeps(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield sleeps outside of a loop that asks again; who waits to be ended sleeps an hour."""
    polling = {
        id(call)
        for loop in ast.walk(tree)
        if isinstance(loop, ast.While)
        for call in ast.walk(loop)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node) in {"sleep", "wait_for_timeout"}:
            seconds = _number(node.args[0]) if node.args else 0.0
            if id(node) not in polling and not 3600 <= seconds < float("inf"):
                yield node


def inherited_signals(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield processes that are started as they come in a function that also sends a signal.

    What the tests were started with, their children would ignore as well: ``as_typed`` undoes it.
    """
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            source = ast.unparse(function)
            sends = "send_signal(" in source or "killpg(" in source
            for node in ast.walk(function):
                starts = isinstance(node, ast.Call) and _name(node) in {"Popen", "run"}
                mine = starts and "subprocess" in ast.unparse(node)
                if sends and mine and "as_typed" not in source:
                    yield node


def forked(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield code that runs between fork and exec, where other threads may hold a lock."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "preexec_fn":
            yield node.value


def examples_in_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield settings of hypothesis that ask for speed, or that bring this demand back."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.keyword):
            continue
        said = ast.unparse(node.value)
        ends = node.arg == "deadline" and said != "None"
        patient = "HealthCheck.too_slow" in said or "*HealthCheck" in said
        if ends or (node.arg == "suppress_health_check" and not patient):
            yield node.value


def inherited_memory(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield readings of a peak that a process may have from the one that started it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "ru_maxrss":
            yield node


RULES = (
    compared_clocks,
    short_limits,
    short_patience,
    hopeful_sleeps,
    inherited_signals,
    forked,
    examples_in_time,
    inherited_memory,
)


def weather(source: str, name: str) -> list[str]:
    """Return a sentence for each place of a test file that hangs on the weather."""
    tree = ast.parse(source)
    # Code that tests hand to other processes is written as texts.
    inner = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    trees = [tree, *(found for text in inner if (found := _parsed(text)) is not None)]
    return [
        f"{name}: {_sentence(rule)}: {said}"
        for each in trees
        for rule in RULES
        for said in sorted({ast.unparse(node) for node in rule(each)} - MEANT.get(name, set()))
    ]


def _sentence(rule: Callable) -> str:
    return rule.__doc__.partition("Yield ")[2].splitlines()[0].rstrip(".")


def _parsed(text: object) -> ast.AST | None:
    if not isinstance(text, str) or "import " not in text:
        return None
    try:
        return ast.parse(textwrap.dedent(text))
    except SyntaxError:
        return None
