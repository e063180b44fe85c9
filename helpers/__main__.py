"""The command line: ``python -m helpers run`` and ``python -m helpers report``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

_EXAMPLES = """\
examples:
  python -m helpers run                                   the walk on the journey data
  python -m helpers run --source sample                   ... on the small bundled log
  python -m helpers run --source csv --path my_tables     ... on your own tables
  python -m helpers run -p epochs 5 -p seed 1             with other parameters
  python -m helpers run 04                                one notebook only
  python -m helpers run --resume runs/20260131-090000-journey
  python -m helpers report runs/20260131-090000-journey   writes report.html again

exit codes: 0 done, 1 a notebook failed, 2 bad input, 130 interrupted
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: as typed after ``python -m helpers``; the process's own when not given.

    Returns:
        The exit code: 0, 1 (failed run), 2 (bad input) or 130 (interrupted).
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    # Not above: pandas and papermill take seconds, and --help should take none.
    from helpers.runs import RunError
    from helpers.schema import DataError

    try:
        _run(options) if options.command == "run" else _report(options)
    except DataError as error:
        return _say(error, 2)
    except RunError as error:
        return _say(error, error.exit_code)
    except KeyboardInterrupt:
        return _say("Interrupted.", 130)
    return 0


def _say(message: object, exit_code: int) -> int:
    print(" ".join(str(message).split()), file=sys.stderr)
    return exit_code


def _run(options: argparse.Namespace) -> None:
    from helpers import runs, settings
    from helpers.schema import DataError

    given = settings.read_parameter_file(options.file) if options.file else {}
    given |= dict(options.parameters)
    if options.resume:
        if options.out or options.all:
            raise DataError(
                "--resume goes on in the run's own folder with its own notebooks; "
                "leave out --out and --all."
            )
        run = runs.open_run(
            options.resume,
            source=options.source,
            path=options.path,
            given=given,
            names=options.notebooks,
        )
    else:
        run = runs.start_run(
            options.source or "journey",
            path=options.path,
            out=options.out,
            given=given,
            names=options.notebooks,
            everything=options.all,
        )
    print(f"Run folder: {runs.shown(run.folder)}", flush=True)
    runs.execute(run, show_ids=options.show_ids, report=not options.no_report)
    print(runs.summary(run))


def _report(options: argparse.Namespace) -> None:
    from helpers import report, runs

    print(f"Report: {runs.shown(report.write_report(options.run, show_ids=options.show_ids))}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers",
        description="Find out which training samples matter to a recommender, and whether "
        "acting on it helps.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_run(commands)
    _add_report(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction) -> None:
    run = commands.add_parser(
        "run",
        help="execute notebooks on data, into a folder with a report",
        description="Execute the notebooks 01, 03, 04, 05 and 06, or those named, in order. "
        "Results, executed notebooks and report.html go to runs/<time>-<source>/.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="04 or 04_score_samples")
    run.add_argument("--all", action="store_true", help="every numbered notebook")
    run.add_argument(
        "--source",
        choices=["journey", "sample", "csv"],
        help="where the tables come from (default: journey)",
    )
    run.add_argument("--path", default="", metavar="DIR", help="your tables, for --source csv")
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
    run.add_argument("--resume", type=Path, metavar="RUN", help="go on with a run that was cut off")
    run.add_argument("--no-report", action="store_true", help="write no report.html")
    _add_show_ids(run)


def _add_report(commands: argparse._SubParsersAction) -> None:
    report = commands.add_parser(
        "report",
        help="write the report of a run again",
        description="Write report.html of a run again, from its results.json.",
    )
    report.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    _add_show_ids(report)


def _add_show_ids(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--show-ids", action="store_true", help="show user ids and queries as they are"
    )


if __name__ == "__main__":
    sys.exit(main())
