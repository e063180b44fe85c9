"""The shop's export: it is what the seed gives, as dirty as it should be, and worth learning."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from helpers.base.paths import DATA
from helpers.data.datasets import shop_export
from helpers.data.datasets.shop_export import (
    ENCODING,
    SERVICES,
    ShopSettings,
    generate,
    main,
    write,
)

FOLDER = DATA / "foreign"
SMALL = ShopSettings(customers=60, products=80, tickets=300)
SCHEMA = yaml.safe_load((FOLDER / "schema.yaml").read_text(encoding="utf-8"))
README = (DATA / "README.md").read_text(encoding="utf-8")
WEEKS = ShopSettings().weeks


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return generate()


@pytest.fixture(scope="module")
def sales(tables) -> pd.DataFrame:
    """The lines with their numbers and times, read by other means than the generator's."""
    lines = tables["ventas"].copy()
    lines["quantity"] = lines["Cantidad"].astype(int)
    lines["price"] = pd.to_numeric(lines["Precio unitario"].str.replace(",", "."), errors="coerce")
    written = lines["Fecha"] + " " + lines["Hora"]
    lines["time"] = pd.to_datetime(written, format="%d/%m/%Y %H:%M", errors="coerce")
    return lines


@pytest.fixture(scope="module")
def bought(sales) -> pd.DataFrame:
    """Purchases of known customers, once each, with their week."""
    lines = sales.drop_duplicates()
    lines = lines[(lines["Cliente"] != "") & (lines["quantity"] > 0) & lines["time"].notna()]
    lines = lines[~lines["Código artículo"].isin([*SERVICES, ""])]
    names = {"Cliente": "user", "Código artículo": "item"}
    week = (lines["time"] - pd.Timestamp(ShopSettings.start)).dt.days // 7
    return lines.rename(columns=names).assign(week=week)


# --- the files -----------------------------------------------------------------------------


def test_the_bundled_files_are_what_the_generator_gives(tables, tmp_path):
    for fresh in write(tables, tmp_path):
        assert (FOLDER / fresh.name).read_bytes() == fresh.read_bytes(), f"{fresh.name} differs"


def test_check_says_which_bundled_file_differs(tmp_path, capsys):
    assert main(["--write"], folder=tmp_path) == 0
    assert main(["--check"], folder=tmp_path) == 0
    text = (tmp_path / "articulos.csv").read_bytes()
    (tmp_path / "articulos.csv").write_bytes(text.replace(b"Hogar", b"Casa", 1))
    capsys.readouterr()
    assert main(["--check"], folder=tmp_path) == 1
    assert capsys.readouterr().out == "Differs from the generator: articulos.\n"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    def files(seed: int, folder: str) -> list[bytes]:
        paths = write(generate(SMALL, seed=seed), tmp_path / folder)
        return [path.read_bytes() for path in paths]

    first, again, other = files(3, "a"), files(3, "b"), files(4, "c")
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_the_files_are_small_and_foreign():
    contents = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    assert set(contents) == {"ventas.csv", "articulos.csv", "schema.yaml"}
    assert sum(map(len, contents.values())) <= 900_000
    for name in ("ventas.csv", "articulos.csv"):
        with pytest.raises(UnicodeDecodeError):
            contents[name].decode("utf-8")
        header = contents[name].decode(ENCODING).splitlines()[0]
        assert header.count(";") >= 4
        assert "," not in header


# --- the dirt ------------------------------------------------------------------------------


def test_a_line_is_cancelled_where_and_only_where_its_ticket_says_so(sales):
    cancelled = sales["Nº ticket"].str.startswith("A")
    charge = sales["Código artículo"].isin(SERVICES)
    assert (sales.loc[cancelled, "quantity"] < 0).all()
    assert (sales.loc[~cancelled & ~charge, "quantity"] > 0).all()
    assert cancelled.mean() == pytest.approx(0.025, abs=0.005)


def test_a_cancelled_line_was_sold_before_to_the_same_customer(sales):
    known = sales[(sales["Cliente"] != "") & sales["time"].notna()]
    cancelled = known["Nº ticket"].str.startswith("A")
    keys = ["Cliente", "Código artículo", "price"]
    first = known[~cancelled].groupby(keys)["time"].min().rename("sold").reset_index()
    back = known[cancelled].merge(first, on=keys, how="left")
    assert (back["sold"] < back["time"]).mean() > 0.98  # the sale's own line may be broken


def test_shares_of_dirt_are_as_stated(tables, sales):
    lines = tables["ventas"]
    assert (lines["Cliente"] == "").mean() == pytest.approx(0.24, abs=0.02)
    assert lines.duplicated().mean() == pytest.approx(0.015, abs=0.002)
    unreadable = sales["time"].isna() | sales["price"].isna() | (lines["Código artículo"] == "")
    assert unreadable[~lines.duplicated()].sum() == ShopSettings.broken
    assert set(lines.loc[sales["price"].isna(), "Precio unitario"]) == {"n/d"}
    assert "31/02/2025" in set(lines.loc[sales["time"].isna(), "Fecha"])
    assert set(SERVICES) < set(lines["Código artículo"])


def test_times_run_on_over_the_change_of_the_clocks(sales):
    times = sales["time"].dropna()
    # pytz or zoneinfo would raise on a time of day that the clocks of Madrid skipped.
    aware = times.dt.tz_localize("Europe/Madrid", nonexistent="raise", ambiguous="raise")
    assert aware.is_monotonic_increasing
    assert {pd.Timedelta("1h"), pd.Timedelta("2h")} == {t.utcoffset() for t in aware.iloc[[0, -1]]}
    assert aware.dt.date.nunique() > 0.95 * 7 * WEEKS


def test_nothing_is_sold_in_the_hour_that_the_clocks_skip():
    start, spring = pd.Timestamp(ShopSettings.start), pd.Timestamp("2025-03-30 02:00")
    minutes = pd.Series((spring - start) // pd.Timedelta("1min") + np.array([-1, 0, 59, 60]))
    hours = shop_export._madrid(ShopSettings(), minutes).dt.strftime("%H:%M").tolist()
    assert hours == ["01:59", "03:00", "03:59", "03:00"]


def test_a_few_products_that_were_sold_are_not_listed(tables, bought):
    listed = tables["articulos"]["Código"]
    assert listed.is_unique
    absent = set(bought["item"]) - set(listed)
    assert 1 <= len(absent) <= ShopSettings.not_listed
    assert listed.str.startswith("0").any()  # codes that a number would change


# --- the signal ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exposures(tables, bought) -> pd.DataFrame:
    """Purchases and four drawn products each, with what was known before the week began."""
    rng = np.random.default_rng(0)
    family = tables["articulos"].set_index("Código")["Familia"]
    parts = []
    for week in range(12, WEEKS):
        past, now = bought[bought["week"] < week], bought[bought["week"] == week]
        items = past["item"].unique()
        drawn = rng.choice(items, size=(len(now), 4))
        rows = pd.DataFrame({"user": np.repeat(now["user"].to_numpy(), 5), "week": week})
        rows["item"] = np.column_stack([now["item"], drawn]).ravel()
        rows["label"] = np.tile([1, 0, 0, 0, 0], len(now))
        rows["popularity"] = np.log1p(rows["item"].map(past["item"].value_counts()).fillna(0))
        own = past.groupby(["user", "item"]).size().to_dict()
        rows["before"] = [own.get(key, 0) for key in zip(rows["user"], rows["item"], strict=True)]
        liked = past.assign(family=past["item"].map(family)).groupby(["user", "family"])
        counted = liked.size().to_dict()
        keys = zip(rows["user"], rows["item"].map(family), strict=True)
        rows["liked"] = np.log1p([counted.get(key, 0) for key in keys])
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def test_a_model_beats_popularity_and_popularity_beats_nothing(exposures):
    test = exposures[exposures["week"] >= WEEKS - 4]
    train = exposures[exposures["week"] < WEEKS - 4]
    columns = ["popularity", "before", "liked"]
    model = LogisticRegression().fit(train[columns], train["label"])
    auc = {name: roc_auc_score(test["label"], test[name]) for name in columns}
    auc["model"] = roc_auc_score(test["label"], model.decision_function(test[columns]))
    shuffled = np.random.default_rng(1).permutation(test["label"])
    assert auc["before"] > 0.68
    assert auc["popularity"] > 0.65
    assert auc["model"] > auc["popularity"] + 0.05
    assert abs(roc_auc_score(shuffled, test["before"]) - 0.5) < 0.04


def test_customers_have_tastes_of_their_own(tables, bought):
    family = bought["item"].map(tables["articulos"].set_index("Código")["Familia"])
    counts = pd.crosstab(bought["user"], family)
    counts = counts[counts.sum(axis=1) >= 15]
    expected = np.outer(counts.sum(axis=1), counts.sum()) / counts.to_numpy().sum()
    chi2 = ((counts - expected) ** 2 / expected).to_numpy().sum()
    freedom = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    assert chi2 > 2 * freedom  # 1 if all customers were alike


# --- the schema.yaml -----------------------------------------------------------------------


def test_the_schema_names_columns_that_the_files_have(tables):
    log, products = SCHEMA["user_behavior"], SCHEMA["product_features"]
    for stated, name in ((log, "ventas"), (products, "articulos")):
        named = pd.Series(list(stated["columns"].values())).explode()
        assert set(named) <= set(tables[name].columns)
    assert {rule["column"] for rule in log["leave_out"]} <= set(tables["ventas"].columns)
    assert set(SCHEMA["users"]["extra"]) <= set(tables["ventas"].columns)


def test_the_split_of_the_schema_cuts_at_mondays_in_order():
    days = [pd.Timestamp(day) for day in SCHEMA["task"]["split"].values()]
    assert days == sorted(days)
    assert {day.weekday() for day in days} == {0}
    assert days[-1] == pd.Timestamp(ShopSettings.start) + pd.Timedelta(weeks=WEEKS)


def test_the_readme_counts_what_the_files_hold(tables, sales, bought):
    lines = tables["ventas"]
    cancelled = lines["Nº ticket"].str.startswith("A").sum()
    facts = [
        f"| {len(lines):,} |",
        f"| {len(tables['articulos'])} |",
        f"{cancelled} cancelled lines",
        f"{lines.duplicated().sum()} lines are written twice",
        f"{(lines['Cliente'] == '').mean():.0%} have no customer",
        f"{lines['Código artículo'].isin(SERVICES).sum()} are charges",
        f"{bought['user'].nunique()} customers",
    ]
    assert [fact for fact in facts if fact not in README] == []
