"""The command: ``python -m bench.mutants ROOM``."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from pathlib import Path

from tqdm.auto import tqdm

from bench.mutants.argued import is_argued, read_argued
from bench.mutants.covering import Covering, cover, tests_of
from bench.mutants.operators import Mutant, mutants_of, mutated
from bench.mutants.rooms import REPO, ROOMS, Room
from bench.mutants.trying import HUNG, in_child, module_name, run_tests, warm_up, with_fault
from helpers.base.writing import write_atomically

ARGUED = REPO / "bench/results/mutants.yaml"
_BUILD = REPO / "build/mutants"
KILLED, SURVIVED, UNSEEN, EQUIVALENT = "killed", "survived", "no test", "argued"


def main(arguments: list[str] | None = None) -> int:
    """Try the mutants of one room; return 1 where fewer are killed than was asked for."""
    asked = _parser().parse_args(arguments)
    room, place = ROOMS[asked.room], _BUILD / f"{asked.room}.json"
    sources = room.sources()
    drawn = _draw(sources, asked.number, asked.seed)
    argued = read_argued(ARGUED)
    before = _kept(place)
    covering = None if asked.show else _covering(room, sources)
    outcomes = {}
    for mutant in tqdm(drawn, desc=asked.room, disable=None):
        known = before.get(_key(mutant))
        if is_argued(mutant, argued):
            outcomes[mutant] = (EQUIVALENT, "")
        elif known and (asked.show or (asked.again and known[0] in (KILLED, HUNG))):
            outcomes[mutant] = known
        elif not asked.show:
            outcomes[mutant] = attempt(mutant, covering, REPO, most_s=asked.most)
            before[_key(mutant)] = outcomes[mutant]
            _keep(place, before)
    return _tell(outcomes, asked.least)


def _covering(room: Room, sources: list[Path]) -> Covering:
    """Load what every child needs, and run the room's tests once without a fault."""
    warm_up()
    covering = cover(room.checks(), sources, REPO, kept=_BUILD / "covering")
    for test in covering.failed:
        print(f"fails without any fault, and is left out: {test}", file=sys.stderr)
    return covering


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.mutants", description=__doc__)
    parser.add_argument("room", choices=list(ROOMS))
    parser.add_argument("--number", type=int, default=200, help="mutants drawn")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--most", type=float, default=60, help="seconds of tests for one mutant")
    parser.add_argument("--least", type=float, default=0.95, help="share that must be killed")
    parser.add_argument("--again", action="store_true", help="try only what was not killed before")
    parser.add_argument("--show", action="store_true", help="try nothing, show what is known")
    return parser


def _draw(sources: list[Path], number: int, seed: int) -> list[Mutant]:
    """Return evenly drawn mutants; the first ones stay the same when more are drawn."""
    able = [
        mutant
        for path in sources
        for mutant in mutants_of(path.read_text("utf-8"), path.relative_to(REPO).as_posix())
    ]
    random.Random(seed).shuffle(able)  # noqa: S311 - no secret depends on it
    return able[:number]


def attempt(
    mutant: Mutant, covering: Covering, repo: Path, *, most_s: float, spare_s: float = 20
) -> tuple[str, str]:
    """Return how a mutant fared, and which test killed it.

    Args:
        mutant: the fault.
        covering: of the tests.
        repo: folder that the mutant's file and the tests lie in.
        most_s: processor seconds that its tests may take without the fault.
        spare_s: processor seconds that a test has beyond twenty times what it usually takes, and
            three times what the slowest of its file takes, which may hold a shared fixture.
    """
    tests, whole = tests_of(mutant, covering, most_s=most_s)
    if not tests:
        return UNSEEN, ""
    usual = sum(covering.took[test] for test in tests)
    limits = covering.limits(spare_s)
    path = repo / mutant.file

    def work() -> dict:
        tree = mutated(path.read_text("utf-8"), mutant)
        with_fault(module_name(path, repo), path, tree)
        files = dict.fromkeys(repo / test.partition("::")[0] for test in tests)
        return dict(run_tests(files, order=tests, known=covering.known, most_s=limits))

    found = in_child(work, cpu_s=spare_s + 60, wall_s=1800 + 200 * usual)
    if found == HUNG:
        return HUNG, ""
    if "crashed" in found:
        return KILLED, found["crashed"]
    if found["failed"]:
        return KILLED, found["failed"][0]
    return SURVIVED, "" if whole else "not all tests were tried"


def _key(mutant: Mutant) -> str:
    return json.dumps([mutant.file, mutant.function, mutant.text, mutant.place])


def _kept(place: Path) -> dict[str, tuple[str, str]]:
    return json.loads(place.read_text("utf-8")) if place.exists() else {}


def _keep(place: Path, found: dict[str, tuple[str, str]]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(place, json.dumps(found, indent=1))


def _tell(outcomes: dict[Mutant, tuple[str, str]], least: float) -> int:
    """Print what survived and the share that was killed."""
    for mutant in sorted(outcomes, key=lambda each: (each.file, each.lines)):
        outcome, why = outcomes[mutant]
        if outcome in (SURVIVED, UNSEEN):
            note = f" ({why})" if why else ""
            print(f"{mutant.file}:{mutant.lines[0]}: {outcome}{note}: {mutant.change}")
    counts = Counter(outcome for outcome, _ in outcomes.values())
    killed, tried = counts[KILLED] + counts[HUNG], len(outcomes) - counts[EQUIVALENT]
    share = killed / tried if tried else 1.0
    print(
        f"{len(outcomes)} mutants: {counts[KILLED]} killed, {counts[HUNG]} ended for taking too "
        f"long, {counts[SURVIVED]} survived, {counts[UNSEEN]} that no test runs through, "
        f"{counts[EQUIVALENT]} argued to change nothing; killed {share:.1%} of the others."
    )
    return 0 if share >= least else 1


if __name__ == "__main__":
    sys.exit(main())
