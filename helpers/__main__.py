"""The command line: ``python -m helpers`` with run, report, init, check or mysql."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import select
import shlex
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

_EXAMPLES = """\
examples:
  python -m helpers run                                   the walk on the journey data
  python -m helpers run --source sample                   ... on the small bundled log
  python -m helpers run --path my_tables                  ... on your own files
  python -m helpers run --source mysql                    ... on the server of WORKBOOK_DB_URL
  python -m helpers run -p epochs 5 -p seed 1             with other parameters
  python -m helpers run 04                                one notebook only
  python -m helpers run --resume runs/20260131-090000-journey
  python -m helpers report runs/20260131-090000-journey   writes report.html again
"""

_OWN_DATA = """\
your own data:
  python -m helpers init --path my_tables     drafts my_tables/schema.yaml: which column is what
  python -m helpers check --path my_tables    says what is wrong with the tables
  python -m helpers run --path my_tables      scores them
  python -m helpers mysql --source sample     a throwaway server with tables, to try it out
"""

_CODES = """\
exit codes: 0 done, 1 a notebook failed, 2 bad input, 130 interrupted
"""

_INIT = """\
examples:
  python -m helpers init --path my_tables                 writes my_tables/schema.yaml
  python -m helpers init --path my_tables --out log.yaml  writes log.yaml
  python -m helpers init --source mysql                   writes schema.yaml here

An existing file is never replaced. For a server, set WORKBOOK_DB_URL first, such as
  export WORKBOOK_DB_URL='mysql:///shop?option_file=~/.my.cnf'
"""

_CHECK = """\
examples:
  python -m helpers check --path my_tables
  python -m helpers check --path my_tables --schema log.yaml
  python -m helpers check --source mysql --schema log.yaml

exit codes: 0 the data can be used, 2 they cannot
"""

_MYSQL = """\
examples:
  python -m helpers mysql --source sample                 the small bundled log
  python -m helpers mysql --path my_tables --port 3307    your own tables

It prints how to connect, and ends with Ctrl-C. Then the server and its tables are gone.
"""

#: The options that name a file or a folder, by where the parser puts them.
_PATHS = {"path": "--path", "schema": "--schema", "out": "--out", "file": "-f"}
_PATHS |= {"resume": "--resume", "run": "RUN"}


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: as typed after ``python -m helpers``; the process's own when not given.

    Returns:
        The exit code: 0, 1 (failed run), 2 (bad input) or 130 (interrupted).
    """
    parser = _parser()
    words = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(_with_negative_values(words))
    if options.command is None:
        parser.print_help()
        return 2
    try:
        with _ended_like_ctrl_c():
            code = _do(options)
            sys.stdout.flush()  # here, where a reader that went away is no fault
        return code
    except KeyboardInterrupt:
        return _say("Interrupted.", 130)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return 1
        if os.environ.get("WORKBOOK_DEBUG"):
            traceback.print_exc()
        return _say(_fault(error), 1)


def _with_negative_values(words: list[str]) -> list[str]:
    """Return the words with a space before values such as ``-1e-3`` and ``-inf`` of ``-p``.

    The parser takes a word that opens with ``-`` and is no plain number for an option.
    """
    values = {place + 2 for place, word in enumerate(words) if word == "-p"}
    negative = re.compile(r"-(\.?\d|inf|nan)", re.IGNORECASE)
    return [
        f" {word}" if place in values and negative.match(word) else word
        for place, word in enumerate(words)
    ]


def _do(options: argparse.Namespace) -> int:
    # Not above: pandas and papermill take seconds, and --help should take none.
    from helpers.base.errors import DataError
    from helpers.base.small_files import check_path
    from helpers.commands.run import RunError

    try:
        for name, option in _PATHS.items():
            check_path(getattr(options, name, None) or "", option=option)
        return options.do(options) or 0
    except DataError as error:
        return _say(error, 2)
    except RunError as error:
        return _say(error, error.exit_code)


def _say(message: object, exit_code: int) -> int:
    with contextlib.suppress(BrokenPipeError):
        print(" ".join(str(message).split()), file=sys.stderr)
    return exit_code


@contextlib.contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Let a request to end, or a closed terminal, stop notebooks as Ctrl-C does."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # signals are the main thread's
    ours = [n for n in numbers if signal.getsignal(n) is signal.SIG_DFL]  # nohup ignores SIGHUP
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _reader_is_gone() -> bool:
    """Return whether nobody reads the standard output; it then goes nowhere, in silence."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def _fault(error: Exception) -> str:
    """Return a paragraph about an error that nobody foresaw.

    Its message stays out: it may hold a value of a table.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "No space is left on the disk, so the command stopped. Make space and start again."
    if isinstance(error, MemoryError):
        return (
            "There is not enough memory for these data. Set a smaller max_users in schema.yaml, or "
            "use a larger machine."
        )
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f"{os.sep}helpers{os.sep}" in f.filename] or frames[-1:]
    place = own[-1]
    return (
        f"This is a fault of the workbook or of its installation: {type(error).__name__} in "
        f"{Path(place.filename).name}, line {place.lineno}. To see the details, which may hold "
        "values of your tables, set WORKBOOK_DEBUG=1 and start the command again."
    )


def _source(options: argparse.Namespace) -> str:
    """Return the source that is asked for; a folder alone means files."""
    from helpers.base.errors import DataError

    if options.source:
        return options.source
    if options.path:
        print(f"Reading the files in {options.path} (--source csv).", flush=True)
        return "csv"
    if options.schema:
        raise DataError(
            "--schema says which column is what, but not where the tables are: add --path DIR for "
            "files, or --source mysql for a server."
        )
    return "journey"


def _run(options: argparse.Namespace) -> None:
    from helpers.base.errors import DataError
    from helpers.commands import run as runs
    from helpers.commands import run_request

    given = run_request.read_parameter_file(options.file) if options.file else {}
    given |= {name: value.strip() for name, value in options.parameters}
    asked = {"path": options.path, "schema": options.schema}
    asked |= {"given": given, "names": options.notebooks}
    if options.resume:
        if options.out or options.all:
            raise DataError(
                "--resume goes on in the run's own folder with its own notebooks; "
                "leave out --out and --all."
            )
        run = runs.open_run(options.resume, source=options.source, **asked)
    else:
        source = _source(options)
        run = runs.start_run(source, out=options.out, everything=options.all, **asked)
    print(f"Run folder: {runs.shown_path(run.folder)}", flush=True)
    runs.execute_run(run, show_ids=options.show_ids, report=not options.no_report)
    print(runs.summary(run))


def _report(options: argparse.Namespace) -> None:
    from helpers.commands import run as runs
    from helpers.commands.report import page as report

    print(f"Report: {runs.shown_path(report.write_report(options.run, show_ids=options.show_ids))}")


def _init(options: argparse.Namespace) -> None:
    from helpers.commands.init import write_draft
    from helpers.commands.run import shown_path
    from helpers.commands.run_request import check_data

    source = options.source or "csv"
    check_data(source, options.path)
    out = options.out
    if out is None and source == "mysql" and options.path:
        out = Path(options.path) / "schema.yaml"
    bar = sys.stderr.isatty()
    file = shown_path(write_draft(options.path, source=source, out=out, progress=bar))
    data = f"--path {shlex.quote(options.path)}" if source == "csv" else "--source mysql"
    if source == "mysql" or Path(file) != Path(shown_path(Path(options.path) / "schema.yaml")):
        data += f" --schema {shlex.quote(file)}"
    print(
        f"Draft: {file}\nRead it and correct it: it says where it guesses. Then:\n"
        f"  python -m helpers check {data}\n  python -m helpers run {data}"
    )


def _check(options: argparse.Namespace) -> int:
    from helpers.commands.check import audit
    from helpers.commands.run_request import check_data

    source = _source(options)
    check_data(source, options.path, options.schema)
    bar = sys.stderr.isatty()
    found = audit(source, path=options.path, schema=options.schema, progress=bar)
    print(found.text())
    return 0 if found.ok else 2


def _mysql(options: argparse.Namespace) -> None:
    from helpers.commands.mysql import serve
    from helpers.commands.run_request import check_data

    source = _source(options)
    check_data(source, options.path, options.schema)
    serve(source, path=options.path, schema=options.schema, port=options.port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers",
        description="Find out which training samples matter to a recommender, and whether "
        "acting on it helps.",
        epilog=f"{_EXAMPLES}\n{_OWN_DATA}\n{_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_run(commands)
    _add_report(commands)
    _add_init(commands)
    _add_check(commands)
    _add_mysql(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction) -> None:
    run = _add(
        commands,
        "run",
        "execute notebooks on data, into a folder with a report",
        "Execute the notebooks 01, 03, 04, 05, 06 and 08, or those named, in order. "
        "Results, executed notebooks and report.html go to runs/<time>-<source>/. The tables of "
        "a MySQL server are copied into that folder first.",
        f"{_EXAMPLES}\n{_CODES}",
    )
    run.set_defaults(do=_run)
    run.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="04 or 04_score_samples")
    run.add_argument("--all", action="store_true", help="every numbered notebook")
    _add_data(run, ["journey", "sample", "csv", "mysql"])
    run.add_argument("--out", type=Path, metavar="DIR", help="where run folders go (default: runs)")
    run.add_argument(
        "-p",
        dest="parameters",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a notebook parameter; may be repeated",
    )
    run.add_argument("-f", dest="file", type=Path, metavar="FILE", help="parameters as YAML")
    run.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="go on with a run that was cut off; -p may change what no finished notebook declares",
    )
    run.add_argument("--no-report", action="store_true", help="write no report.html")
    _add_show_ids(run)


def _add_report(commands: argparse._SubParsersAction) -> None:
    told = "Write report.html of a run again, from its results.json."
    report = _add(commands, "report", "write the report of a run again", told, _EXAMPLES)
    report.set_defaults(do=_report)
    report.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    _add_show_ids(report)


def _add_init(commands: argparse._SubParsersAction) -> None:
    told = "Look at your tables and draft a schema.yaml, which says which column is what."
    init = _add(commands, "init", "draft a schema.yaml for your tables", told, _INIT)
    init.set_defaults(do=_init)
    init.add_argument("--path", default="", metavar="DIR", help="the folder of your tables")
    init.add_argument("--source", choices=["csv", "mysql"], help="files (default) or a server")
    init.add_argument("--out", type=Path, metavar="FILE", help="write the draft there")


def _add_check(commands: argparse._SubParsersAction) -> None:
    told = (
        "Say table by table what is in your data and what is wrong with them: rows, period, "
        "missing values, duplicates, joins, labels, signs of leakage. No row is shown."
    )
    check = _add(commands, "check", "say what is wrong with your data", told, _CHECK)
    check.set_defaults(do=_check)
    _add_data(check, ["journey", "sample", "csv", "mysql"])


def _add_mysql(commands: argparse._SubParsersAction) -> None:
    told = "Start a private throwaway MySQL server on this machine, with tables in it."
    mysql = _add(commands, "mysql", "a throwaway server with tables, to try it out", told, _MYSQL)
    mysql.set_defaults(do=_mysql)
    _add_data(mysql, ["journey", "sample", "csv"])
    mysql.add_argument("--port", type=int, metavar="N", help="of the server (default: a spare one)")


def _add(
    commands: argparse._SubParsersAction, name: str, short: str, told: str, examples: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=short,
        description=textwrap.fill(told),
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_data(parser: argparse.ArgumentParser, sources: list[str]) -> None:
    parser.add_argument(
        "--source",
        choices=sources,
        help="where the tables come from (default: journey, or csv with --path)",
    )
    parser.add_argument("--path", default="", metavar="DIR", help="the folder of your tables")
    parser.add_argument(
        "--schema",
        default="",
        metavar="FILE",
        help="says which of your columns is what (default: schema.yaml in the folder)",
    )


def _add_show_ids(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--show-ids", action="store_true", help="show user ids and queries as they are"
    )


if __name__ == "__main__":
    sys.exit(main())
