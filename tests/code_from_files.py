"""What in a source could run code that comes from a file: found in its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator

#: Modules whose formats hold code, or whose loaders run what they are given.
MODULES = {
    *("pickle", "_pickle", "cPickle", "pickle5", "pickletools", "cloudpickle", "dill", "joblib"),
    *("shelve", "marshal", "jsonpickle", "copyreg", "skops", "hickle", "klepto"),
    *("numpy.lib.format", "sklearn.externals", "pandas.io.pickle", "code", "codeop", "imp"),
}
#: Functions that read code from a file, or run a text.
CALLS = {
    *("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec"),
    *("builtins.compile", "builtins.__import__", "execfile", "input_eval"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn"),
    *("runpy.run_path", "importlib.machinery.SourceFileLoader", "importlib.reload"),
    *("importlib.util.spec_from_file_location", "importlib.util.module_from_spec"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.full_load_all"),
    *("yaml.unsafe_load", "yaml.unsafe_load_all"),
    *("tempfile.mktemp", "shutil.unpack_archive", "pandas.eval"),
    *("torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"),
    *("ctypes.CDLL", "ctypes.PyDLL", "logging.config.dictConfig", "logging.config.fileConfig"),
}
#: The last part of a name is enough for these, whatever it is taken from.
ENDINGS = {
    *("read_pickle", "to_pickle", "load_model", "model_from_json", "model_from_yaml"),
    *("model_from_config", "enable_unsafe_deserialization", "deserialize_keras_object"),
    *("load_session", "Unpickler", "UnsafeLoader", "FullLoader", "deserialize"),
    *("extractall", "PyExtensionType"),
}
#: Such a name as the last part only where one of these stands before it.
PARTS = (".saved_model.load", ".yaml.Loader", ".yaml.CLoader", ".hub.load")
_NUMPY = {"numpy.load"}
#: What is taken by these from a name that is no constant may be anything.
BY_NAME = {"importlib.import_module", "runpy.run_module", "import_module", "run_module"}


def running_code(source: str) -> list[str]:
    """Return one sentence for each place that could run code from a file, by line."""
    tree = ast.parse(source)
    names = _names(tree)
    found = [*_imports(tree)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            found += [(node.lineno, why) for why in _used(_full(node, names))]
        if isinstance(node, ast.Call):
            found += [(node.lineno, why) for why in _called(node, _full(node.func, names))]
    return [f"line {line}: {why}" for line, why in sorted(set(found))]


def _names(tree: ast.Module) -> dict[str, str]:
    """Return what each imported name stands for, with its dots, and each that is set to one."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
    for node in ast.walk(tree):  # read = np.load
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
            for target in node.targets:
                if isinstance(target, ast.Name) and _full(node.value, names) in CALLS | _NUMPY:
                    names[target.id] = _full(node.value, names)
    return names


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        for module in modules:
            if any(module == bad or module.startswith(f"{bad}.") for bad in MODULES):
                yield node.lineno, f"{module} is imported, whose files hold code"
            yield from ((node.lineno, why) for why in _used(module))


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else f"?.{node.attr}"
    return ""


def _full(node: ast.expr, names: dict[str, str]) -> str:
    """Return a name with its imports written out: ``np.load`` as ``numpy.load``."""
    first, _, rest = _dotted(node).partition(".")
    return f"{names.get(first, first)}{'.' if rest else ''}{rest}"


def _used(name: str) -> Iterator[str]:
    if name in CALLS:
        yield f"{name} is used, which runs what it is given"
    elif name.rpartition(".")[2] in ENDINGS or f".{name}".endswith(PARTS):
        yield f"{name} is used, which builds objects from a file"


def _called(call: ast.Call, name: str) -> Iterator[str]:
    options = {keyword.arg: keyword.value for keyword in call.keywords}
    last = name.rpartition(".")[2]
    if name == "types.FunctionType":  # to ask whether something is a function is no danger
        yield f"{name} makes a function of code"
    if "allow_pickle" in options and not _is(options["allow_pickle"], False):
        yield f"{name} allows pickles"
    if name in _NUMPY and (len(call.args) > 2 or None in options):
        yield f"{name} may allow pickles; name its options"
    if "shell" in options and not _is(options["shell"], False):
        yield f"{name} starts a shell"
    if "safe_mode" in options and not _is(options["safe_mode"], True):
        yield f"{name} is told to load code"
    if name in BY_NAME:
        module = call.args[0] if call.args else options.get("name")
        if not isinstance(module, ast.Constant):
            yield f"{name} imports a module that is not named here"
        elif str(module.value).partition(".")[0] in MODULES:
            yield f"{name} imports {module.value}, whose files hold code"
    if last == "getattr" and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
        yield from _used(f"?.{call.args[1].value}")
    if last in ("eval", "query") and "." in name and not name.endswith("model.eval"):
        text = call.args[0] if call.args else options.get("expr")
        if not isinstance(text, ast.Constant):
            yield f"{name} evaluates a text that is not written here"


def _is(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
