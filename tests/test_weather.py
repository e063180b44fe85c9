"""No test hangs on the machine's speed, or on how the tests were started."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import nbclient
import papermill
import pytest
import waiting
from tiny_notebooks import write_notebook
from waiting import PATIENCE_S, as_typed, awaited, gone
from weather import LEAST_S, RULES, weather

from helpers.base.bars import bar_delay_s
from helpers.base.paths import REPO
from helpers.commands.run.executor import execute_notebook
from helpers.notebooks import execute

TESTS = Path(__file__).parent
#: But this one, in which faults are planted.
FILES = sorted(file for file in TESTS.rglob("*.py") if file != Path(__file__))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_test_hangs_on_the_weather(file: Path):
    assert weather(file.read_text(encoding="utf-8"), file.relative_to(TESTS).as_posix()) == []


FAULTS = [
    ("compared_clocks", "import time\nassert time.perf_counter() - began < 1"),
    ("compared_clocks", "from time import process_time\nassert process_time() < end"),
    ("compared_clocks", "t = monotonic()\nf()\ntook = monotonic() - t\nassert took < 2 * usual"),
    ("compared_clocks", "limit = time.time() + 60\nwhile time.time() < limit:\n    f()"),
    ("short_limits", "child.wait(5)"),
    ("short_limits", "child.communicate(timeout=60)"),
    ("short_limits", "subprocess.run(words, timeout=119.5)"),
    ("short_limits", "thread.join(5)"),
    ("short_limits", "assert gone(folder, within_s=20)"),
    ("short_limits", "signal.alarm(120)"),
    ("short_limits", "execute(path, timeout_s=3)"),
    ("short_limits", "context.set_default_timeout(20_000)"),
    ("short_limits", "expect(tab).to_be_visible(timeout=120_000)"),
    ("short_limits", "socket.create_connection(place, timeout=3)"),
    ("short_patience", "PATIENCE_S = 60"),
    ("short_patience", "_TIMEOUT = 9.5"),
    ("hopeful_sleeps", "server.start()\ntime.sleep(2)\nserver.ask()"),
    ("hopeful_sleeps", "from time import sleep\nfor _ in range(3):\n    sleep(1)"),
    ("hopeful_sleeps", "page.wait_for_timeout(400)"),
    (
        "inherited_signals",
        "def test():\n    child = subprocess.Popen(words)\n    child.send_signal(signal.SIGINT)",
    ),
    ("forked", "subprocess.Popen(words, preexec_fn=limit)"),
    ("examples_in_time", "@settings(deadline=200)\ndef test(): ..."),
    ("examples_in_time", "@settings(suppress_health_check=[HealthCheck.x])\ndef test(): ..."),
    ("inherited_memory", "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"),
    ("hopeful_sleeps", "CODE = '''\n    import time\n    time.sleep(60)\n'''"),
]


@pytest.mark.parametrize(("rule", "source"), FAULTS)
def test_planted_faults_are_found(rule: str, source: str):
    (sentence,) = {each.partition(": ")[2] for each in weather(source, "x.py")}
    found = [each for each in RULES if sentence.startswith(each.__doc__[6:].split(".")[0])]
    assert [each.__name__ for each in found] == [rule]


def test_every_rule_has_a_planted_fault():
    assert {rule for rule, _ in FAULTS} == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize(
    "source",
    [
        "child.wait(PATIENCE_S)",
        "child.communicate(timeout=300)",
        "', '.join(names)",
        "while not there():\n    time.sleep(0.05)",
        "time.sleep(3600)  # until it is ended",
        "os.utime(file, (time.time() + 10,) * 2)",
        "assert table.time < table.end",
        "signal.alarm(0)",
        "@settings(deadline=None)\ndef test(): ...",
        "expect(tab).to_be_visible()",
        "def test():\n    c = subprocess.Popen(as_typed(*words))\n    c.send_signal(2)",
    ],
)
def test_what_is_no_fault_is_let_be(source: str):
    assert weather(source, "x.py") == []


def test_last_resorts_are_long():
    assert PATIENCE_S >= LEAST_S


def test_kernels_may_start_and_answer_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[dict] = []

    class Client(nbclient.NotebookClient):
        def __init__(self, *given: object, **options: object) -> None:
            asked.append({"startup": options["startup_timeout"], "last": options["iopub_timeout"]})
            super().__init__(*given, **options)

    monkeypatch.setattr(nbclient, "NotebookClient", Client)
    execute(write_notebook(tmp_path, "01_a_b"))

    def papermill_executes(*given: object, **options: object) -> None:
        asked.append({"startup": options["start_timeout"], "last": options["iopub_timeout"]})

    monkeypatch.setattr(papermill, "execute_notebook", papermill_executes)
    execute_notebook(tmp_path / "01_a_b.ipynb", tmp_path / "done.ipynb", {})
    assert len(asked) == 2
    assert all(seconds >= LEAST_S for limits in asked for seconds in limits.values())


@pytest.mark.parametrize(("stated", "delay_s"), [("1e9", 1e9), ("0.5", 0.5), ("soon", 2), ("", 2)])
def test_the_environment_says_when_a_bar_appears(monkeypatch, stated: str, delay_s: float):
    monkeypatch.setenv("TQDM_DELAY", stated)
    assert bar_delay_s() == delay_s


def test_no_bar_has_a_delay_of_its_own():
    """It would appear on a slow machine, in a stored notebook and in what a test compares."""
    calls = [
        (file.name, call)
        for file in (REPO / "helpers").rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "tqdm"
    ]
    delays = [(n, ast.unparse(k.value)) for n, c in calls for k in c.keywords if k.arg == "delay"]
    assert len(delays) >= 5
    assert [each for each in delays if each[1] != "bar_delay_s()"] == []


def test_what_does_not_come_is_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waiting, "PATIENCE_S", 0)
    assert awaited(lambda: []) == []
    assert not gone(os.getpid())


def test_a_process_that_nobody_has_asked_after_is_gone_all_the_same():
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    assert gone(child.pid)  # it is a zombie: its exit code was not asked for
    assert child.wait() == 0


STATE = """
import os, signal
names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
print([signal.getsignal(getattr(signal, name)) is signal.SIG_IGN for name in names])
print(len(signal.pthread_sigmask(signal.SIG_BLOCK, ())), oct(os.umask(0)), os.getpid())
"""


def test_a_command_that_is_as_typed_minds_no_trap_mask_or_umask_of_who_started_the_tests():
    started = as_typed(sys.executable, "-c", STATE)
    plain = f"{sys.executable} -c '{STATE}'"
    shell = "trap '' INT HUP TERM QUIT; umask 077; echo $$; exec \"$@\""
    words = ["bash", "-c", shell, "bash"]
    inherited = subprocess.run([*words, "bash", "-c", plain], capture_output=True, text=True)
    assert "[True, True, True, True]" in inherited.stdout
    done = subprocess.run([*words, *started], capture_output=True, text=True, check=True)
    number, ignored, rest = done.stdout.splitlines()
    assert ignored == "[False, False, False, False]"
    assert rest == f"0 0o22 {number}"  # and it is the process that was started


def test_a_signal_that_is_ignored_around_the_tests_ends_what_they_start():
    code = "import sys; print(flush=True); sys.stdin.read()"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        words = as_typed(sys.executable, "-c", code)
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with subprocess.Popen(words, **pipes) as child:
            child.stdout.readline()
            child.send_signal(signal.SIGINT)
            assert child.wait(PATIENCE_S) == -signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, before)
