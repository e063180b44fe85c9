"""Labels, roles and refusals, worked by hand and by slow loops."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import (
    DATES,
    assert_equal_samples,
    background,
    events,
    made,
    opened,
    raw_view,
    tables_of,
)

from helpers.base import paths
from helpers.base.errors import DataError
from helpers.cache.code import modules_of
from helpers.data import sources
from helpers.data.sources import Tables
from helpers.samples import ROLES, load_samples, make_samples, samples
from helpers.schema import Task

SHOWN = "2025-01-10T10:00:00Z"


def labels_of(rows: list[tuple], task: Task, **options: str) -> list[int]:
    """Return the labels of the case's own impressions, which stand beside the background's."""
    log = pd.concat([background(**options), events(rows)], ignore_index=True)
    table = make_samples(tables_of(log, task=task)).table
    return table.label[~table.user_id.str.startswith("background")].tolist()


def task(**changes: object) -> Task:
    """Return a task with dates for the background, changed as told."""
    return Task(**{**DATES, "within": "1h", **changes})


@pytest.mark.parametrize(
    ("clicked", "label"),
    [
        (SHOWN, 1),  # at the moment of exposure
        ("2025-01-10T11:00:00Z", 1),  # at the end of the window
        ("2025-01-10T11:00:00.000001Z", 0),
        ("2025-01-10T09:59:59.999999Z", 0),  # before the exposure
        ("2025-01-10T19:00:00+08:00", 1),  # 11:00 in UTC
    ],
)
def test_a_success_counts_from_the_exposure_to_the_end_of_the_window(clicked, label):
    rows = [("u", "a", SHOWN, "impression"), ("u", "a", clicked, "click")]
    assert labels_of(rows, task()) == [label]


@pytest.mark.parametrize(
    ("success", "label"),
    [
        (("u", "a", SHOWN, "click", "l1", "s1"), 1),
        (("u", "a", SHOWN, "click", "l1", "s2"), 0),  # another store
        (("u", "a", SHOWN, "click", "l2", "s1"), 0),  # another list
        (("u", "b", SHOWN, "click", "l1", "s1"), 0),  # another item
        (("v", "a", SHOWN, "click", "l1", "s1"), 0),  # another user
        (("u", "a", SHOWN, "cart", "l1", "s1"), 0),  # another kind of event
        (("u", "a", SHOWN, "click", None, "s1"), 0),  # nobody knows in which list
    ],
)
def test_a_success_counts_only_where_all_columns_of_match_on_agree(success, label):
    matching = task(match_on=("user_id", "item_id", "list_id", "store_id"))
    rows = [("u", "a", SHOWN, "impression", "l1", "s1"), success]
    assert labels_of(rows, matching) == [label]


def test_an_exposure_without_a_value_to_match_on_is_no_success_of_another_without():
    rows = [("u", "a", SHOWN, "impression", None), ("u", "a", SHOWN, "click", None)]
    assert labels_of(rows, task(match_on=("user_id", "item_id", "list_id"))) == [0]


def test_one_success_counts_for_all_exposures_whose_window_holds_it():
    rows = [
        ("u", "a", "2025-01-10T10:00:00Z", "impression"),
        ("u", "a", "2025-01-10T10:30:00Z", "impression"),
        ("u", "a", "2025-01-10T11:00:00Z", "impression"),
        ("u", "a", "2025-01-10T10:45:00Z", "click"),
    ]
    assert labels_of(rows, task()) == [1, 1, 0]


def test_each_kind_of_positive_event_is_a_success():
    both = task(positive=("cart", "purchase"))
    rows = [("u", "a", SHOWN, "impression"), ("v", "a", SHOWN, "impression")]
    rows += [("u", "a", SHOWN, "purchase"), ("v", "a", SHOWN, "click")]
    more = [("background 1", "a", f"2025-01-{d:02}T10:05:00Z", "cart") for d in range(1, 21)]
    assert labels_of(rows + more, both) == [1, 0]


@pytest.mark.parametrize(
    ("clicked", "label"),
    [
        ("2017-11-05T23:59:59.999999-05:00", 1),  # the clocks went back: the 25th hour of the day
        ("2017-11-06T00:00:00-05:00", 0),
        ("2017-11-05T00:30:00-04:00", 1),
        ("2017-11-05T00:29:59-04:00", 0),  # before the exposure
    ],
)
def test_a_period_is_the_local_day_also_when_the_clocks_change(clicked, label):
    zone = "America/New_York"
    dates = ("2017-10-29", "2017-11-06", "2017-11-09", "2017-11-12")
    names = ("train_from", "attribution_from", "valid_from", "test_from")
    day = Task(within="period", time_zone=zone, **dict(zip(names, dates, strict=True)))
    rows = [
        ("u", "a", "2017-11-05T00:30:00-04:00", "impression"),
        ("u", "a", clicked, "click"),
    ]
    assert labels_of(rows, day, first="2017-10-29", zone=zone) == [label]


@pytest.mark.parametrize(
    ("shown", "clicked", "label"),
    [
        # Monday 2025-01-06 begins at 16:00 UTC of the Sunday before in Shanghai.
        ("2025-01-05T16:00:00Z", "2025-01-12T15:59:59.999999Z", 1),
        ("2025-01-05T16:00:00Z", "2025-01-12T16:00:00Z", 0),
        ("2025-01-05T15:59:59Z", "2025-01-05T16:00:00Z", 0),
        ("2025-01-12T15:59:59Z", "2025-01-12T15:59:59Z", 1),
    ],
)
def test_a_week_begins_on_monday_in_the_tasks_zone(shown, clicked, label):
    zone = "Asia/Shanghai"
    week = Task(cutoff="week", within="period", time_zone=zone)
    rows = [("u", "a", shown, "impression"), ("u", "a", clicked, "click")]
    assert labels_of(rows, week, first="2024-12-30", days=140, zone=zone) == [label]


def test_the_cutoff_is_the_monday_or_the_day_of_the_exposure_in_the_tasks_zone():
    log = pd.concat(
        [
            background(first="2024-12-30", days=140),
            events([("u", "a", "2025-01-19T16:30:00Z", "impression")]),
        ]
    )
    for cutoff, wanted in (("week", "2025-01-20"), ("day", "2025-01-20")):
        here = Task(cutoff=cutoff, time_zone="Asia/Shanghai")
        table = make_samples(tables_of(log, task=here)).table
        assert table.cutoff[table.user_id == "u"].tolist() == [pd.Timestamp(wanted)]
    table = make_samples(tables_of(log, task=Task(cutoff="week", time_zone="UTC"))).table
    assert table.cutoff[table.user_id == "u"].tolist() == [pd.Timestamp("2025-01-13")]


def slow_labels(exposures: pd.DataFrame, log: pd.DataFrame, wanted: Task) -> list[int]:
    """Return the labels by loops over exposures and events, as the design words them."""
    labels = []
    for shown in exposures.itertuples():
        label = 0
        for event in log[log.event_type.isin(wanted.positive)].itertuples():
            matches = all(
                pd.notna(getattr(event, c)) and getattr(event, c) == getattr(shown, c)
                for c in wanted.match_on
            )
            if not matches or event.event_time < shown.event_time:
                continue
            if wanted.within == "period":
                day = shown.event_time.tz_convert(wanted.time_zone).normalize()
                if wanted.cutoff == "week":
                    day = day - pd.DateOffset(days=day.weekday())
                end = day + pd.DateOffset(days=7 if wanted.cutoff == "week" else 1)
                label |= int(event.event_time < end)
            else:
                label |= int(event.event_time - shown.event_time <= pd.Timedelta(wanted.within))
        labels.append(label)
    return labels


ONE = st.tuples(
    st.sampled_from("uv"),
    st.sampled_from("ab"),
    st.integers(0, 60).map(
        lambda h: (pd.Timestamp("2017-11-03T22:00Z") + pd.Timedelta(hours=h)).isoformat()
    ),
    st.sampled_from(["impression", "impression", "click", "cart"]),
    st.sampled_from(["l1", "l2", None]),
)


@settings(max_examples=40)
@given(
    rows=st.lists(ONE, min_size=1, max_size=25),
    within=st.sampled_from(["0s", "1h", "5h", "1D", "period"]),
    match_on=st.sampled_from([("user_id", "item_id"), ("user_id", "item_id", "list_id")]),
    positive=st.sampled_from([("click",), ("click", "cart")]),
    cutoff=st.sampled_from(["day", "week"]),
)
def test_labels_agree_with_slow_loops(rows, within, match_on, positive, cutoff):
    zone = "America/New_York"
    wanted = Task(positive, match_on, within, cutoff, zone)
    # Both a success and a list, so that neither is refused.
    rows = [*rows, ("x", "a", "2017-11-03T22:00Z", "click", "l1")]
    rows.append(("x", "a", "2017-11-03T22:00Z", "impression", "l1"))
    log = tables_of(events(rows), task=wanted)
    table, _ = raw_view(log)
    assert table.label.tolist() == slow_labels(table, log.user_behavior, wanted)


def roles_of(made_samples: samples.Samples) -> dict[str, list[str]]:
    """Return the days of each role."""
    table = made_samples.table
    return {r: sorted({f"{d:%m-%d}" for d in table.cutoff[table.role == r]}) for r in ROLES}


def test_each_role_begins_on_its_stated_day():
    made_here = make_samples(tables_of(background(), task=task()))
    assert roles_of(made_here) == {
        "train": [f"01-{d:02}" for d in range(1, 9)],
        "attribution": ["01-09", "01-10", "01-11"],
        "valid": ["01-12", "01-13", "01-14"],
        "test": [f"01-{d:02}" for d in range(15, 20)],
    }
    assert made_here.dropped.to_dict("records") == [
        {"table": "user_behavior", "kind": "outside", "column": ""}
        | {"reason": "impression: outside the period that is used", "rows": 4}
    ]


def test_an_exposure_whose_window_reaches_the_next_role_is_purged():
    """Shown at 10:00, a window of 14 h ends at the midnight at which the next role begins."""
    inside = make_samples(tables_of(background(), task=task(within="13h59min")))
    assert roles_of(inside)["train"][-1] == "01-08"
    crossing = make_samples(tables_of(background(), task=task(within="14h")))
    assert {r: days[-1] for r, days in roles_of(crossing).items()} == {
        "train": "01-07",
        "attribution": "01-10",
        "valid": "01-13",
        "test": "01-18",
    }
    lost = crossing.dropped.set_index("reason").rows
    assert lost["impression: label window crosses a role"] == 4 * 4  # four rows on four days


def test_an_exposure_whose_window_outlasts_the_log_is_purged():
    """Nobody knows yet whether it succeeded; the background's last events are of day 20."""
    free = Task(within="13h")
    assert roles_of(make_samples(tables_of(background(), task=free)))["test"][-1] == "01-20"
    free = Task(within="14h")
    assert roles_of(make_samples(tables_of(background(), task=free)))["test"][-1] == "01-19"


def test_a_week_that_crosses_a_border_in_its_middle_is_purged():
    log = background(first="2025-01-06", days=70)  # ten weeks
    weekly = Task(
        cutoff="week",
        within="period",
        attribution_from="2025-02-12",  # a Wednesday
        valid_from="2025-02-24",
        test_from="2025-03-03",
    )
    roles = roles_of(make_samples(tables_of(log, task=weekly)))
    assert roles["train"][-1] == "02-03"
    assert roles["attribution"] == ["02-17"]  # the week of the 10th holds the border
    assert roles["valid"] == ["02-24"]


def test_without_dates_the_roles_take_shares_of_time():
    table = make_samples(tables_of(background(days=100), task=Task(within="1h"))).table
    share = table.role.value_counts(normalize=True)
    wanted = {"train": 0.62, "attribution": 0.09, "valid": 0.12, "test": 0.17}
    assert share.to_dict() == pytest.approx(wanted, abs=0.011)


@pytest.mark.parametrize("heavy", [0, 5, 11])
def test_each_role_has_a_day_however_unevenly_the_exposures_lie(heavy):
    log = background(days=12)
    day = f"2025-01-{heavy + 1:02}"
    crowd = log[log.event_time.str.startswith(day)]
    more = [crowd.assign(user_id=crowd.user_id + f" {n}") for n in range(40)]
    log = pd.concat([log, *more], ignore_index=True)
    table = make_samples(tables_of(log, task=Task(within="1h"))).table
    assert set(table.role) == set(ROLES)
    assert table.role.iloc[0] == "train"


@pytest.mark.parametrize("source", ["sample", "journey"])
def test_roles_follow_each_other_and_all_have_both_labels(source):
    table = made(source).table
    spans = [table.cutoff[table.role == role].agg(["min", "max"]) for role in ROLES]
    for earlier, later in zip(spans, spans[1:], strict=False):
        assert earlier["max"] < later["min"]
    assert (table.groupby("role").label.nunique() == 2).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_of_the_rows_changes_nothing(seed):
    tables = opened("sample")
    shuffled = {
        name: getattr(tables, name).sample(frac=1, random_state=seed, ignore_index=True)
        for name in ("user_behavior", "product_features", "users")
    }
    assert_equal_samples(make_samples(replace(tables, **shuffled)), made("sample"))


def test_rows_that_differ_only_in_a_context_column_keep_one_order():
    log = pd.concat([background()] * 2, ignore_index=True)
    log["scene"] = ["front"] * (len(log) // 2) + ["back"] * (len(log) // 2)
    forward, backward = (
        make_samples(tables_of(part, task=task())) for part in (log, log.iloc[::-1])
    )
    assert_equal_samples(forward, backward)


@pytest.mark.parametrize("source", ["sample", "journey"])
def test_a_vocabulary_has_as_many_numbers_as_its_size_says(source):
    found = made(source)
    train = found.rows("train")
    assert set(found.numbers) == {"item", "recent", "subcategory"}
    for name in ("item", "subcategory"):
        used = np.unique(found.numbers[name][train])
        known = used[used >= 2]  # 0 is padding, 1 is any other
        assert known.tolist() == list(range(2, found.sizes[name]))


def test_rows_that_differ_only_in_their_event_id_are_ordered_by_it():
    log = pd.concat([background()] * 2, ignore_index=True)
    log["event_id"] = [f"e{n:05}" for n in np.random.default_rng(0).permutation(len(log))]
    log["about"] = [f"x{n:05}" for n in np.random.default_rng(1).permutation(len(log))]
    table = make_samples(tables_of(log, task=task())).table
    same = table.duplicated(["event_time", "user_id", "item_id"])
    assert same.any()
    ids = table.event_id.to_numpy()
    assert (ids[1:] > ids[:-1])[same.to_numpy()[1:]].all()


def test_samples_are_in_time_order_and_named_by_their_place():
    table = made("sample").table
    assert table.sample_id.tolist() == list(range(len(table)))
    assert table.event_time.is_monotonic_increasing
    assert list(table.columns[:5]) == ["sample_id", "event_id", "user_id", "item_id", "cutoff"]


def broken(change: object) -> Tables:
    """Return the background's tables with its log, or its task, changed."""
    tables = tables_of(background(), task=task())
    if isinstance(change, Task):
        return replace(tables, task=change)
    return replace(tables, user_behavior=change(tables.user_behavior).reset_index(drop=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda log: log[log.user_id == "background 1"],
            r"user_behavior: all exposures belong to one user.*take more",
        ),
        (
            lambda log: log[log.event_type != "impression"],
            r"user_behavior: there is no event of type impression; .*must hold impressions",
        ),
        (
            lambda log: log[log.event_type == "impression"],
            r"user_behavior: there is no event of type click.*state task.label.positive",
        ),
        (
            lambda log: log[(log.event_type == "impression") | (log.event_time < "2025-01-12")],
            r"the role valid has only the label 0; both classes are needed.*Take a longer period",
        ),
        (
            lambda log: log[(log.item_id == "a") | (log.event_time > "2025-01-09")],
            r"the role train has only the label 1; both classes",
        ),
        (
            lambda log: log[log.event_time < "2025-01-08"],
            r"cover 7 days, 2025-01-01 to 2025-01-07, but .* need at least 8; take a longer period",
        ),
        (
            task(train_from="2026-01-01"),
            r"no exposure lies in the period from train_from to end .* 2025-01-01 to 2025-01-",
        ),
        (
            task(valid_from="2025-01-16"),
            r"must follow each other .* 2025-01-01 to 2025-01-19; got 2025-01-09, 2025-01-16, 2025",
        ),
        (
            task(test_from="2025-03-01"),
            r"must follow each other",
        ),
        (
            task(within="3D"),
            r"the role attribution has no exposure; both classes are needed",
        ),
        (
            task(match_on=("user_id", "session_id")),
            r'the task matches on "session_id", which the impressions do not have',
        ),
        (
            Task(cutoff="week"),
            r"the exposures cover 4 weeks, .* or state cutoff: day\.",
        ),
    ],
)
def test_what_cannot_become_samples_is_refused_with_a_remedy(change, message):
    with pytest.raises(DataError, match=message):
        make_samples(broken(change))


def test_an_unknown_role_is_refused():
    with pytest.raises(ValueError, match="role must be one of train, attribution, valid, test"):
        made("sample").rows("dev")


def test_what_the_cache_gives_back_equals_what_was_made(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    for _ in range(2):  # made, then read
        loaded = load_samples("sample")
        assert_equal_samples(loaded, made("sample"))
        pd.testing.assert_frame_equal(loaded.truth, made("sample").truth)
        assert loaded.notes == made("sample").notes


def test_the_truth_stands_beside_its_own_sample():
    made_here = made("sample")
    truth = pd.read_csv(paths.DATA / "sample" / "truth.csv.gz").set_index("event_id")
    rows = np.random.default_rng(0).choice(len(made_here), 200)
    for row in rows:
        event = made_here.table.event_id[row]
        assert made_here.truth.p_observed[row] == truth.p_observed[event]
    # A click that the log shows is a label, and no other.
    np.testing.assert_array_equal(made_here.truth.observed_click, made_here.table.label)


def test_inputs_labels_and_lists_follow_the_rows_asked_for():
    made_here = made("sample")
    rows = made_here.rows("valid")[::-7]
    inputs = made_here.inputs(rows)
    np.testing.assert_array_equal(inputs["dense"], made_here.dense[rows])
    np.testing.assert_array_equal(made_here.labels(rows), made_here.table.label.iloc[rows])
    assert made_here.labels(rows).dtype == np.float32
    same_list = made_here.lists(rows)[:, None] == made_here.lists(rows)[None, :]
    ids = made_here.column("list_id", rows)
    np.testing.assert_array_equal(same_list, ids[:, None] == ids[None, :])


def test_a_list_id_that_several_users_have_is_a_list_of_each():
    """As where the shop's column is the number of the page, not of the showing of it."""
    made_here = make_samples(tables_of(background(), task=task()))
    table = made_here.table.assign(list_id="page 1")
    rows = made_here.rows("test")
    lists = replace(made_here, table=table).lists(rows)
    assert len(np.unique(lists)) == table.user_id.iloc[rows].nunique() > 1
    assert lists.tolist() == pd.factorize(table.user_id.iloc[rows])[0].tolist()


def test_without_list_ids_a_list_is_a_users_day():
    log = background()
    log["list_id"] = None
    made_here = make_samples(tables_of(log, task=task()))
    rows = made_here.rows("test")
    table = made_here.table.iloc[rows]
    assert len(np.unique(made_here.lists(rows))) == table.groupby(["user_id", "cutoff"]).ngroups


def test_the_summary_counts_each_role():
    summary = make_samples(tables_of(background(), task=task())).summary()
    assert summary.loc["train"].to_dict() == {
        "samples": 8 * 2 * 2,
        "users": 2,
        "items": 2,
        "positive_share": 0.5,
        "first_day": "2025-01-01",
        "last_day": "2025-01-08",
    }


def test_a_log_of_successes_only_becomes_samples_by_its_schema(tmp_path, monkeypatch):
    """Another seed draws other products; the cache keeps both."""
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    n = 3000
    log = pd.DataFrame(
        {
            "who": rng.integers(0, 40, n),
            "what": rng.integers(0, 30, n),
            "when": pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 60 * 24, n), "h"),
        }
    )
    log.drop_duplicates().to_csv(folder / "orders.csv", index=False)
    (tmp_path / "mine.yaml").write_text(
        "user_behavior:\n  file: orders.csv\n  event_type: purchase\n"
        "  columns: {user_id: who, item_id: what, event_time: when}\n"
        "product_features:\n  from: user_behavior\n  columns: {item_id: what}\n"
        "task:\n  label: {positive: [purchase], match_on: [user_id, item_id], within: period}\n"
        "  negatives: {per_positive: 3, from: catalogue}\n  history: [purchase]\n"
    )
    schema_file = tmp_path / "mine.yaml"
    first, again, other = (
        load_samples("csv", path=folder, schema=schema_file, seed=seed) for seed in (0, 0, 1)
    )
    assert_equal_samples(first, again)
    assert first.table.label.mean() == pytest.approx(0.25, abs=0.01)
    assert first.fingerprint != other.fingerprint
    taken = [each.table[each.table.label == 1].item_id.tolist() for each in (first, other)]
    assert taken[0] == taken[1]
    assert first.table.item_id.tolist() != other.table.item_id.tolist()


def test_all_rooms_that_samples_come_from_make_a_cached_one_old():
    """What samples import is counted: imports are followed."""
    imported = {
        name
        for name in subprocess.run(
            [sys.executable, "-c", "import sys, helpers.samples; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
            cwd=paths.REPO,
        ).stdout.split()
        if name.startswith("helpers.")
    }
    assert imported <= modules_of(samples)


def test_tables_that_change_between_two_looks_are_not_kept_under_the_old_name(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    monkeypatch.setattr(sources, "data_fingerprint", lambda *_, **__: "of a moment ago")
    with pytest.raises(DataError, match="The tables of sample changed while they were read"):
        load_samples("sample")
    assert not list((tmp_path / "samples").glob("*"))
