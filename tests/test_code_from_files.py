"""Nothing that is read from a file can run: no pickle, no shell, no module named by a file."""

from __future__ import annotations

import json
import tomllib

import pytest
from code_from_files import running_code

from helpers.base.paths import REPO

SOURCES = sorted(
    file
    for room in ("helpers", "bench", "site")
    for file in (REPO / room).rglob("*.py")
    if "_vendor" not in file.parts
)
#: What is found and is no danger, by file: how its sentence begins, and why.
KNOWN = {
    "bench/mutants/trying.py": (
        "",
        "runs the repository's own sources with one change, on purpose",
    ),
    "helpers/gradients/contents.py": ("copyreg", "asks how an object is taken apart; makes none"),
}
NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(REPO)))
def test_no_source_reads_what_could_run(file):
    known, _ = KNOWN.get(str(file.relative_to(REPO)), ("nothing is known", ""))
    found = running_code(file.read_text(encoding="utf-8"))
    assert [each for each in found if not each.split(": ", 1)[1].startswith(known)] == []


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_no_notebook_reads_what_could_run(file):
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert [found for source in sources for found in running_code(source)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "def f():\n    import _pickle",
        "from joblib import load as l",
        "import joblib.numpy_pickle",
        "from sklearn.externals import joblib",
        "import shelve, marshal",
        "import dill",
        "from numpy.lib import format",
        "import pandas as pd\npd.read_pickle('f')",
        "import pandas\nread = pandas.read_pickle",
        "from pandas import read_pickle as r",
        "frame.to_pickle('f')",
        "import numpy as np\nnp.load('f', allow_pickle=True)",
        "import numpy as np\nnp.load('f', allow_pickle=asked)",
        "import numpy as np\nnp.load('f', None, True)",
        "import numpy as np\nnp.load('f', **options)",
        "from numpy import load\nload('f', None, True)",
        "import numpy as np\nread = np.load\nread('f', None, True)",
        "import torch\ntorch.load('f')",
        "from torch import load\nload('f')",
        "import tensorflow as tf\ntf.saved_model.load('f')",
        "from helpers.backend import tf\ntf.saved_model.load('f')",
        "import keras\nkeras.models.load_model('f')",
        "from keras.saving import load_model as m\nm('f')",
        "from helpers.backend import keras\nkeras.models.model_from_json(text)",
        "keras.config.enable_unsafe_deserialization()",
        "anything(safe_mode=False)",
        "import yaml\nyaml.load(text, yaml.SafeLoader)",
        "import yaml\nyaml.unsafe_load(text)",
        "from yaml import full_load as f\nf(text)",
        "from yaml import Loader",
        "class L(yaml.Loader): pass",
        "eval(text)",
        "exec(text)",
        "run = eval\nrun(text)",
        "import builtins\nbuiltins.exec(text)",
        "code = compile(text, 'f', 'exec')",
        "__import__(name)",
        "import importlib\nimportlib.import_module(name)",
        "from importlib import import_module as i\ni(name)",
        "import importlib\nimportlib.import_module('pickle')",
        "import importlib.util\nimportlib.util.spec_from_file_location('m', path)",
        "import runpy\nrunpy.run_path(path)",
        "import runpy\nrunpy.run_module(name)",
        "import os\nos.system('ls')",
        "from os import popen\npopen(command)",
        "import subprocess\nsubprocess.run(command, shell=True)",
        "import subprocess as s\ns.Popen(command, shell=asked)",
        "import shutil\nshutil.unpack_archive(path)",
        "import tarfile\ntarfile.open(path).extractall()",
        "getattr(pandas, 'read_pickle')('f')",
        "frame.query(text)",
        "frame.eval(text)",
        "import pandas as pd\npd.eval(text)",
    ],
)
def test_what_could_run_is_found(source):
    assert running_code(f"x = 1\n{source}\n")


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.load('f')",
        "import numpy as np\nnp.load('f', allow_pickle=False)",
        "import yaml\nyaml.safe_load(text)",
        "import yaml\nclass L(yaml.SafeLoader): pass",
        "import re\nre.compile(pattern)",
        "model.compile('adam')",
        "import ast\nast.literal_eval(text)",
        "import json\njson.loads(text)",
        "import importlib\nimportlib.import_module('helpers.cache')",
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', text], check=True)",
        "subprocess.run(words, shell=False)",
        "frame.query('clicks > 3')",
        "values.str.extract('(a)')",
        "load(folder)",
    ],
)
def test_what_cannot_run_is_not_blamed(source):
    assert running_code(source) == []


def test_ruff_looks_for_what_is_not_safe_and_every_exception_has_its_reason():
    text = (REPO / "pyproject.toml").read_text(encoding="utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert not [rule for rule in lint["ignore"] if rule.startswith("S") and rule[1:].isdigit()]
    lines = [
        f"{file.name}: {line.strip()}"
        for file in (*SOURCES, *(REPO / "tests").rglob("*.py"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if "# noqa: S" in line and "splitlines" not in line and '"' + "# noqa" not in line
    ]
    assert lines
    assert [line for line in lines if " - " not in line.partition("# noqa: S")[2]] == []
