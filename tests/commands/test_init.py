"""The draft of a schema.yaml: right for the shapes that logs come in, honest about its guesses."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from mysql_fixture import need_server

from helpers.base.errors import DataError
from helpers.base.paths import DATA
from helpers.commands.init import draft_schema, looking, roles, write_draft
from helpers.commands.init.looking import guess_encoding
from helpers.commands.init.names import ALIASES, event_in_name, event_of, name_score
from helpers.commands.init.times import find_format, parse_times
from helpers.data.database import load_table, open_database
from helpers.data.mysql_server import private_server
from helpers.data.schema_file import LeaveOut, SchemaFile, read_schema_file

N = 3_000
CANONICAL = {"user_behavior", "product_features", "users", "task"}


def put(folder: Path, name: str, frame: pd.DataFrame, **options) -> None:
    frame.to_csv(folder / name, index=False, **options)


def mapped(folder: Path) -> SchemaFile:
    """Draft, and read the draft as a run would."""
    return read_schema_file(write_draft(folder))


@pytest.fixture
def log() -> pd.DataFrame:
    """Who, what, when and how many: of a year, in order of time."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"user": rng.integers(12_000, 12_300, N), "item": rng.integers(20_000, 20_200, N)}
    ).astype(str)
    frame["time"] = pd.Timestamp("2024-12-01 08:26") + pd.to_timedelta(
        np.sort(rng.integers(0, 370 * 1440, N)), unit="min"
    )
    frame["quantity"] = rng.integers(1, 20, N)
    frame["price"] = rng.uniform(0.5, 9, N).round(2)
    frame["draw"] = rng.random(N)
    return frame


# --- shapes that it gets right without help ---------------------------------------------------


def test_the_export_of_the_spanish_shop(tmp_path):
    for name in ("ventas.csv", "articulos.csv"):
        (tmp_path / name).write_bytes((DATA / "foreign" / name).read_bytes())
    mapping = mapped(tmp_path)
    by_hand = read_schema_file(DATA / "foreign" / "schema.yaml")
    [part], [wanted] = mapping.parts["user_behavior"], by_hand.parts["user_behavior"]
    for fact in ("files", "encoding", "delimiter", "decimal", "time_format", "event_type"):
        assert getattr(part, fact) == getattr(wanted, fact), fact
    assert part.columns == wanted.columns
    assert {LeaveOut("Nº ticket", "starts_with", "A"), LeaveOut("Cliente", "is_empty")} <= {
        *part.leave_out
    }
    [charges] = [rule for rule in part.leave_out if rule.test == "matches"]
    codes = pd.read_csv(tmp_path / "ventas.csv", sep=";", encoding="latin-1", dtype=str)
    hit = codes["Código artículo"].dropna().str.contains(charges.value)
    assert set(codes["Código artículo"].dropna()[hit]) == {"PORTES", "DTO"}
    [products], [stated] = mapping.parts["product_features"], by_hand.parts["product_features"]
    assert (products.files, products.columns) == (stated.files, stated.columns)
    [users] = mapping.parts["users"]
    assert users.derived
    assert users.extra == ("País",)
    task = mapping.task
    assert (task.positive, task.negatives, task.cutoff) == (("purchase",), 4, "week")


def test_online_retail_with_months_first_and_cancelled_invoices(tmp_path, log):
    back = log["draw"] < 0.02
    number = (536_365 + np.arange(N) // 3).astype(str)
    when = log["time"].dt
    put(
        tmp_path,
        "Online Retail.csv",
        pd.DataFrame(
            {
                "InvoiceNo": np.where(back, np.char.add("C", number), number),
                "StockCode": log["item"].mask(log["draw"].between(0.5, 0.51), "POST"),
                "Description": "HEART " + log["item"].str[-2:],
                "Quantity": log["quantity"].where(~back, -log["quantity"]),
                "InvoiceDate": [f"{t.month}/{t.day}/{t.year} {t.hour}:{t:%M}" for t in log["time"]],
                "UnitPrice": log["price"],
                "CustomerID": log["user"].mask(log["draw"] > 0.75, ""),
                "Country": np.where(log["user"].astype(int) % 9 == 0, "France", "United Kingdom"),
            }
        ),
    )
    text = draft_schema(tmp_path)
    mapping = mapped(tmp_path)
    [part] = mapping.parts["user_behavior"]
    assert part.files == ("Online Retail.csv",)
    assert {c: n for c, (n,) in part.columns.items()} == {
        "user_id": "CustomerID",
        "item_id": "StockCode",
        "event_time": "InvoiceDate",
        "list_id": "InvoiceNo",
        "price": "UnitPrice",
        "quantity": "Quantity",
    }
    assert (part.time_format, part.event_type) == ("%m/%d/%Y %H:%M", "purchase")
    assert {
        LeaveOut("InvoiceNo", "starts_with", "C"),
        LeaveOut("StockCode", "matches", "^[^0-9]+$"),
        LeaveOut("CustomerID", "is_empty"),
        LeaveOut("Quantity", "below", 1),
    } == {*part.leave_out}
    assert f"nobody knows who ({(log['draw'] > 0.75).mean():.0%})" in text
    assert mapping.parts["product_features"][0].columns["title"] == ("Description",)
    assert mapping.parts["users"][0].extra == ("Country",)
    assert mapping.task.negatives == 4
    first, last = when.date.min(), when.date.max()
    dates = [pd.Timestamp(d).date() for d in re.findall(r"\d{4}-\d\d-\d\d", text)]
    assert len(dates) == 2
    assert abs(dates[0] - first) < pd.Timedelta("4D")
    assert abs(dates[1] - last) < pd.Timedelta("4D")


def test_retailrocket_with_unix_times_and_other_files_beside_the_log(tmp_path, log):
    event = np.select(
        [log["draw"] < 0.03, log["draw"] < 0.05], ["addtocart", "transaction"], "view"
    )
    stamp = log["time"].to_numpy("datetime64[ms]").astype("int64")
    put(
        tmp_path,
        "events.csv",
        pd.DataFrame(
            {
                "timestamp": stamp,
                "visitorid": log["user"],
                "event": event,
                "itemid": log["item"],
                "transactionid": np.where(event == "transaction", np.arange(N).astype(str), ""),
            }
        ),
    )
    for part in (1, 2):
        facts = {"timestamp": stamp, "itemid": log["item"], "property": log["quantity"] * 7}
        values = {"value": "n" + log["item"]}
        put(tmp_path, f"item_properties_part{part}.csv", pd.DataFrame(facts | values))
    put(tmp_path, "category_tree.csv", pd.DataFrame({"categoryid": [1, 2], "parentid": [0, 1]}))
    text = draft_schema(tmp_path)
    mapping = mapped(tmp_path)
    [part] = mapping.parts["user_behavior"]
    assert part.columns == {
        "user_id": ("visitorid",),
        "item_id": ("itemid",),
        "event_time": ("timestamp",),
        "event_type": ("event",),
    }
    assert part.time_format == "unix ms"
    assert part.values == {
        "event_type": {"view": "impression", "addtocart": "cart", "transaction": "purchase"}
    }
    assert mapping.task.negatives == 0
    assert mapping.task.positive == ("cart", "purchase")
    assert mapping.task.cutoff == "day"
    assert "item_properties_part*.csv: it looks neither" in text
    assert "which zone are these times in" not in text  # they count from a fixed moment


def test_the_bundled_sample_keeps_its_own_names(tmp_path):
    for path in (DATA / "sample").glob("*.gz"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    written = write_draft(tmp_path)
    text, mapping = written.read_text(encoding="utf-8"), read_schema_file(written)
    [part] = mapping.parts["user_behavior"]
    assert (part.columns, part.extra, part.leave_out) == ({}, None, ())
    assert mapping.task.positive == ("click",)
    assert mapping.task.match_on == ("user_id", "item_id", "list_id")
    assert mapping.parts["users"][0].extra == ("age_band", "region", "device")
    assert "truth.csv.gz: it looks neither like events" in text


def test_impressions_and_clicks_in_two_files(tmp_path, log):
    shown = pd.DataFrame(
        {
            "userId": log["user"],
            "productId": log["item"],
            "shownAt": log["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "requestId": np.arange(N) // 5,
            "rank": np.arange(N) % 5 + 1,
        }
    )
    clicked = shown[log["draw"] < 0.1].drop(columns="rank")
    put(tmp_path, "impressions.csv", shown)
    put(tmp_path, "clicks.csv", clicked.rename(columns={"shownAt": "clickedAt"}))
    products = pd.DataFrame({"id": np.arange(20_000, 20_200), "name": "a", "brand": "b"})
    put(tmp_path, "products.csv", products)
    mapping = mapped(tmp_path)
    first, second = mapping.parts["user_behavior"]
    assert (first.files, first.event_type) == (("impressions.csv",), "impression")
    assert (second.files, second.event_type) == (("clicks.csv",), "click")
    assert first.columns["event_time"] == ("shownAt",)
    assert second.columns["event_time"] == ("clickedAt",)
    assert first.columns["position"] == ("rank",)
    assert mapping.task.match_on == ("user_id", "item_id", "list_id")
    [part] = mapping.parts["product_features"]
    assert part.columns == {"item_id": ("id",), "title": ("name",), "brand": ("brand",)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_chinese_headers(tmp_path, log, encoding):
    event = np.select([log["draw"] < 0.05, log["draw"] < 0.1], ["buy", "fav"], "pv")
    when = log["time"].dt.strftime("%Y-%m-%d %H:%M:%S")
    columns = {"用户ID": log["user"], "商品ID": log["item"], "时间": when, "行为类型": event}
    put(tmp_path, "行为.csv", pd.DataFrame(columns), encoding=encoding)
    [part] = mapped(tmp_path).parts["user_behavior"]
    assert part.columns == {
        "user_id": ("用户ID",),
        "item_id": ("商品ID",),
        "event_time": ("时间",),
        "event_type": ("行为类型",),
    }
    assert part.encoding == encoding.removesuffix("-sig")
    assert part.values == {"event_type": {"pv": "impression", "buy": "purchase"}}
    assert part.leave_out == (LeaveOut("行为类型", "one_of", ("fav",)),)


@pytest.mark.parametrize(
    ("label", "success"),
    [
        *(("clicked", "click"), ("is_click", "click"), ("converted", "purchase")),
        *(("¿Clic?", "click"), ("hizo_clic", "click"), ("¿Compró?", "purchase")),
        ("Acheté", "purchase"),
    ],
)
def test_a_log_with_a_label_in_each_row(tmp_path, log, label, success):
    frame = log.rename(columns={"item": "ad"})[["user", "ad", "time"]]
    frame[label] = (log["draw"] < 0.04).astype(int)
    put(tmp_path, "ads.tsv", frame, sep="\t")
    mapping = mapped(tmp_path)
    [part] = mapping.parts["user_behavior"]
    assert part.delimiter == "\t"
    assert part.columns["label"] == (label,)
    assert part.columns["item_id"] == ("ad",)
    assert mapping.task.positive == (success,)
    assert mapping.task.negatives == 0
    assert pd.Timedelta(mapping.task.within) == pd.Timedelta(0)


def test_times_that_name_utc_and_a_session(tmp_path, log):
    event = np.where(log["draw"] < 0.1, "remove_from_cart", "cart")
    frame = pd.DataFrame(
        {
            "event_time": log["time"].dt.strftime("%Y-%m-%d %H:%M:%S UTC"),
            "event_type": np.where(log["draw"] > 0.5, "view", event),
            "product_id": log["item"],
            "category_code": "c" + log["item"].str[-1],
            "price": log["price"],
            "user_id": log["user"],
            "user_session": "s" + log["user"],
        }
    )
    put(tmp_path, "2019-Oct.csv", frame)
    mapping = mapped(tmp_path)
    [part] = mapping.parts["user_behavior"]
    assert part.columns["item_id"] == ("product_id",)
    assert part.columns["session_id"] == ("user_session",)
    assert (part.time_format, part.time_zone) == ("%Y-%m-%d %H:%M:%S UTC", "UTC")
    assert part.leave_out == (LeaveOut("event_type", "one_of", ("remove_from_cart",)),)
    assert mapping.parts["product_features"][0].columns["category"] == ("category_code",)


def test_german_headers_with_a_decimal_comma_and_days_only(tmp_path, log):
    frame = pd.DataFrame(
        {
            "Kundennummer": log["user"],
            "ArtikelNr": log["item"],
            "Bestelldatum": log["time"].dt.strftime("%d.%m.%Y"),
            "Menge": log["quantity"],
            "Einzelpreis": log["price"].map("{:.2f}".format).str.replace(".", ","),
        }
    )
    put(tmp_path, "Bestellungen.csv", frame, sep=";")
    text = draft_schema(tmp_path)
    [part] = mapped(tmp_path).parts["user_behavior"]
    assert list(part.columns) == ["user_id", "item_id", "event_time", "price", "quantity"]
    assert (part.delimiter, part.decimal, part.time_format) == (";", ",", "%d.%m.%Y")
    assert "please check: it names days without a time of day" in text


def test_parquet_files_in_several_parts(tmp_path, log):
    frame = log[["user", "item", "time"]].assign(event=np.where(log["draw"] < 0.2, "click", "show"))
    frame["user"] = frame["user"].astype(int)
    frame["tags"] = [["a"]] * N
    for part in range(3):
        rows = frame.iloc[part * 1_000 : (part + 1) * 1_000]
        rows.to_parquet(tmp_path / f"log-{part}.parquet", index=False)
    text = draft_schema(tmp_path)
    [part] = mapped(tmp_path).parts["user_behavior"]
    assert part.files == ("log-*.parquet",)
    assert part.columns["event_time"] == ("time",)
    assert part.time_format == "ISO 8601"
    assert 'column "tags" holds lists' in text
    assert "about 3,000 rows" in text


def test_the_tables_of_a_server(tmp_path, log, monkeypatch):
    need_server()
    with private_server() as server:
        monkeypatch.setenv("WORKBOOK_DB_URL", server.url)
        with open_database() as database, database.connected() as connection:
            for statement in (
                "CREATE TABLE `pedidos` (`ticket` INT, `cliente` BIGINT UNSIGNED NULL, `artículo`"
                " VARCHAR(20), `fecha` DATETIME, `unidades` INT, `precio` DECIMAL(9, 2))",
                "CREATE TABLE `artículos` (`código` VARCHAR(20), `nombre` TEXT)",
                "CREATE TABLE `nada` (`a` INT)",
            ):
                connection.exec_driver_sql(statement)
            connection.commit()
        when = log["time"].dt.strftime("%Y-%m-%d %H:%M:%S")
        columns = {
            "ticket": np.arange(N) // 2,
            "cliente": log["user"],
            "artículo": "k" + log["item"],
        }
        facts = {"fecha": when, "unidades": log["quantity"], "precio": log["price"]}
        products = pd.DataFrame({"código": ("k" + log["item"]).unique(), "nombre": "a"})
        with open_database() as database:
            load_table(database, "pedidos", pd.DataFrame(columns | facts).astype(str))
            load_table(database, "artículos", products)
        file = write_draft(source="mysql", out=tmp_path / "shop.yaml")
    text, mapping = file.read_text(encoding="utf-8"), read_schema_file(file)
    [part], [listed] = mapping.parts["user_behavior"], mapping.parts["product_features"]
    assert (part.stored_table, listed.stored_table) == ("pedidos", "artículos")
    assert (part.event_type, part.time_format) == ("purchase", "ISO 8601")
    assert {c: n for c, (n,) in part.columns.items()} == {
        "user_id": "cliente",
        "item_id": "artículo",
        "event_time": "fecha",
        "list_id": "ticket",
        "price": "precio",
        "quantity": "unidades",
    }
    assert listed.columns["item_id"] == ("código",)
    assert "nada: the table has no row" in text
    assert "check --source mysql" in text


# --- single guesses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%d.%m.%y", "%Y/%m/%d"),
        *("%Y%m%d", "%Y%m%d%H%M%S", "%Y年%m月%d日 %H:%M", "%d-%b-%Y", "%Y-%m-%d %H:%M:%S UTC"),
        *("%H:%M:%S", "%m-%d-%Y %H:%M:%S.%f", "%Y-%m-%d %H"),
    ],
)
def test_a_format_is_found_that_reads_every_time_back(text, log):
    times = log["time"]
    written = times.dt.strftime(text)
    found = find_format(written)
    read = parse_times(written, found.text)
    # The oracle: pandas with the format that the values were written in.
    pd.testing.assert_series_equal(read, pd.to_datetime(written, format=text), check_dtype=False)


def test_numbers_are_no_times_and_names_are_no_numbers():
    assert find_format(pd.Series(["12", "4711"])) is None
    assert find_format(pd.Series(["1.5", "2.25"])) is None
    assert find_format(pd.Series(["tea", "now"])) is None


def test_day_and_month_are_told_apart_by_values_above_twelve():
    assert find_format(pd.Series(["01/02/2025", "13/02/2025"])).text == "%d/%m/%Y"
    assert find_format(pd.Series(["01/02/2025", "02/13/2025"])).text == "%m/%d/%Y"
    assert find_format(pd.Series(["01/02/2025", "02/13/2025"])).doubt == ""


def test_day_and_month_that_cannot_be_told_apart_are_said_so():
    rng = np.random.default_rng(0)
    mixed = [f"{a:02d}/{b:02d}/2024" for a, b in rng.integers(1, 13, (400, 2))]
    assert find_format(pd.Series(mixed)).doubt.endswith("cannot be told apart")
    ordered = [f"{m}/{d}/2024" for m in range(1, 13) for d in range(1, 13)]
    found = find_format(pd.Series(ordered))
    assert found.text == "%m/%d/%Y"
    assert "in order of time" in found.doubt


def test_a_future_day_is_not_chosen_where_the_other_reading_is_past():
    now = pd.Timestamp.now()
    year = (now - pd.Timedelta("12D")).year  # whose 12 January is past
    days = [pd.Timestamp(year, 1, 12) - pd.DateOffset(months=k) for k in range(12)]
    values = pd.Series([f"{d.month}/{d.day}/{d.year}" for d in days])
    found = find_format(values)
    assert parse_times(values, found.text).max() <= now + pd.Timedelta("2D")
    assert found.doubt


@pytest.mark.parametrize("column", sorted(ALIASES))
def test_every_alias_is_recognised_in_every_spelling(column):
    for alias in ALIASES[column]:
        assert name_score(alias, column) >= 1
        assert name_score(alias.upper(), column) >= 1
    assert name_score(column, column) == 1.1


@pytest.mark.parametrize(
    ("name", "column"),
    [
        *(("customer_id", "user_id"), ("CustomerID", "user_id"), ("Id. Cliente", "user_id")),
        *(("Kundennummer", "user_id"), ("用户编号", "user_id"), ("productCode", "item_id")),
        *(("Código artículo", "item_id"), ("no_article", "item_id"), ("商品编号", "item_id")),
        *(
            ("Date de commande", "event_time"),
            ("下单时间", "event_time"),
            ("num_pedido", "list_id"),
        ),
        *(("Preço unitário", "price"), ("Quantité", "quantity"), ("Custommer", "user_id")),
    ],
)
def test_names_of_other_houses_are_recognised(name, column):
    scores = {each: name_score(name, each) for each in ALIASES}
    assert max(scores, key=scores.__getitem__) == column
    assert scores[column] >= 0.6


@pytest.mark.parametrize("name", ["Country", "País", "email", "customer_country", "remark"])
def test_names_that_say_nothing_get_no_role(name):
    assert max(name_score(name, column) for column in ALIASES) < 0.6


def test_events_are_recognised_and_their_undoing_is_not():
    assert [event_of(v) for v in ("view", "add_to_cart", "Compra", "购买", "clicks")] == [
        *("impression", "cart", "purchase", "purchase", "click")
    ]
    assert [event_of(v) for v in ("remove_from_cart", "refund", "login", "")] == [""] * 4
    assert event_in_name("ventas.csv") == "purchase"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "gb18030"])
def test_an_encoding_is_found_that_reads_the_text_back(encoding):
    text = {"gb18030": "用户编号,商品\n购买,数量很大的商品\n", "cp1252": "Preis €,Größe\n“a”,ä\n"}
    written = text.get(encoding, "código,descripción\nPiña,Café\n") * 20
    found, _ = guess_encoding(written.encode(encoding))
    assert written.encode(encoding).decode(found) == written


def test_a_column_of_0_and_1_that_nobody_knows_is_asked_about(tmp_path, log):
    shown = log[["user", "item", "time", "price"]]
    put(tmp_path, "filas.csv", shown.assign(resultado=(log["draw"] < 0.04).astype(int)))
    [line] = [x for x in draft_schema(tmp_path).splitlines() if "event_type: purchase" in x]
    assert "please check: if resultado says 0 or 1 of what was shown, it is the label" in line
    put(tmp_path, "filas.csv", shown)
    assert "the label" not in draft_schema(tmp_path)


def test_an_id_of_a_user_that_is_written_out_as_null_is_left_out(tmp_path, log):
    frame = log[["user", "item", "time"]].assign(user=log["user"].mask(log["draw"] < 0.1, "NULL"))
    put(tmp_path, "clicks.csv", frame)
    [part] = mapped(tmp_path).parts["user_behavior"]
    assert part.leave_out == (LeaveOut("user", "one_of", ("NULL",)),)


def test_numbers_as_event_types_are_a_guess_that_is_said(tmp_path, log):
    kind = np.select([log["draw"] < 0.02, log["draw"] < 0.1], ["4", "3"], "1")
    put(tmp_path, "b.csv", log[["user", "item", "time"]].assign(behavior_type=kind))
    text = draft_schema(tmp_path)
    assert 'event_type: {"1": impression, "3": cart, "4": purchase}  # please check' in text
    assert mapped(tmp_path).parts["user_behavior"][0].values["event_type"]["4"] == "purchase"


def test_a_user_who_comes_every_day_is_cut_by_days(tmp_path, log):
    often = log.assign(time=pd.date_range("2025-01-01", periods=N, freq="40min"))
    often["user"] = log["user"].str[-1]
    put(tmp_path, "orders.csv", often[["user", "item", "time"]])
    assert mapped(tmp_path).task.cutoff == "day"


class Silent(dict):
    """Doubts that say nothing."""

    def __setitem__(self, column: str, _: str) -> None:
        super().__setitem__(column, "")


class Undoubting(roles.Guess):
    """A guess whose doubts are without words."""

    def __init__(self, *facts: object) -> None:
        super().__init__(*facts)
        self.doubts = Silent()


def without_comments(text: str) -> list[str]:
    return [line for line in (line.split("#")[0].rstrip() for line in text.splitlines()) if line]


@pytest.mark.parametrize("case", ["numbered events", "nameless ids beside a named log"])
def test_a_draft_reads_nothing_off_its_own_doubts(tmp_path, log, monkeypatch, case):
    if case == "numbered events":
        put(tmp_path, "log.csv", log.assign(event_type=np.where(log.draw < 0.8, 1, 2)))
    else:
        put(tmp_path, "named.csv", log)
        put(tmp_path, "nameless.csv", log[["user", "item", "time"]].set_axis(list("abc"), axis=1))
    want = draft_schema(tmp_path)
    monkeypatch.setattr(roles, "Guess", Undoubting)
    found = draft_schema(tmp_path)
    assert without_comments(found) == without_comments(want)


def test_columns_without_telling_names_are_taken_by_content_and_said_so(tmp_path, log):
    frame = log[["user", "item", "time"]].set_axis(["a", "b", "c"], axis=1)
    put(tmp_path, "x.csv", frame)
    text = draft_schema(tmp_path)
    [part] = mapped(tmp_path).parts["user_behavior"]
    assert part.columns == {"user_id": ("a",), "item_id": ("b",), "event_time": ("c",)}
    assert text.count("please check: taken because") == 3
    assert "please check: nothing says what happened" in text


# --- what it cannot know, and must not show ---------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "missing"),
    [
        (["user", "time"], "item_id"),
        (["item", "time"], "user_id"),
        (["user", "item"], "event_time"),
    ],
)
def test_a_role_that_is_not_found_is_a_todo_and_the_mapping_says_which(
    tmp_path, log, kept, missing
):
    frame = log[kept].assign(note="x")
    put(tmp_path, "log.csv", frame)
    text = draft_schema(tmp_path)
    assert f"# FILL IN {missing}: " in text
    assert 'Lines with "FILL IN" need you' in text
    with pytest.raises(DataError, match=f"must map {missing}"):
        mapped(tmp_path)


def test_no_value_of_a_person_stands_in_the_draft(tmp_path, log):
    secret = "canary" + log["user"]
    frame = pd.DataFrame(
        {
            "customer": secret,
            "product": "sku" + log["item"],
            "when": log["time"],
            "e-mail": secret + "@example.org",
            "note": np.where(log["draw"] < 0.5, "canary was ill", "canary is well"),
            "one": "canary",
        }
    )
    put(tmp_path, "orders.csv", frame)
    put(tmp_path, "people.csv", pd.DataFrame({"id": secret.unique(), "name": "canary Smith"}))
    text = draft_schema(tmp_path)
    assert "canary" not in text
    assert "sku2" not in text
    assert "#   e-mail: text, 0% missing" in text


def test_a_file_without_a_line_of_names_is_named_and_not_shown(tmp_path, log):
    put(tmp_path, "good.csv", log[["user", "item", "time"]])
    put(tmp_path, "bare.csv", log[["user", "item", "time"]], header=False)
    text = draft_schema(tmp_path)
    assert "bare.csv: its first line looks like values" in text
    assert log["user"].iloc[0] not in text


def test_files_that_cannot_be_read_are_named_with_the_reason(tmp_path, log):
    put(tmp_path, "clicks.csv", log[["user", "item", "time"]])
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("user,item\n")
    (tmp_path / "zeros.csv").write_bytes(b"a,b\n\0\0,\0\n")
    (tmp_path / "twice.csv").write_text("a,a,b\nx,y,z\n")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"x,y\n" * 9_999)[:40])
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "book.xlsx").write_bytes(b"PK")
    (tmp_path / "notes.md").write_text("no table")
    text = draft_schema(tmp_path)
    for name, reason in {
        "empty.csv": "the file is empty",
        "header.csv": "there is a header but no row",
        "zeros.csv": "it holds zero bytes",
        "twice.csv": 'column "a" appears twice',
        "cut.csv.gz": "cannot be read",
        "cut.parquet": "cannot be read",
        "book.xlsx": "save its sheets as CSV",
    }.items():
        assert re.search(f"#   {re.escape(name)}: .*{reason}", text), name
    assert "notes.md" not in text
    assert mapped(tmp_path).parts["user_behavior"][0].files == ("clicks.csv",)


def test_lines_of_another_length_and_headers_in_the_middle_are_said(tmp_path):
    lines = ["user,item,time"] + [
        f"u{k % 30},p{k % 40},2025-01-{k % 28 + 1:02d}" for k in range(900)
    ]
    lines[400:400] = ["user,item,time", "u1,p1,2025-01-01,more", "u1"]
    (tmp_path / "clicks.csv").write_text("\n".join(lines))
    text = draft_schema(tmp_path)
    assert "the line of names stands in the file more than once" in text
    assert f"{2 / 902:.1%} of the lines have more or fewer values" in text


def test_an_empty_or_missing_folder_or_a_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no table that can be read"):
        draft_schema(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match='no such folder. Did you mean "data"'):
        draft_schema(tmp_path / "dat")
    (tmp_path / "log.csv").write_text("a")
    with pytest.raises(DataError, match="this is a file; give the folder"):
        draft_schema(tmp_path / "log.csv")
    with pytest.raises(DataError, match=r"log\.csv: there is a header but no row|single column"):
        draft_schema(tmp_path)
    with pytest.raises(DataError, match="needs a folder"):
        draft_schema()
    with pytest.raises(DataError, match="csv or mysql; got 'mysq'.*mean \"mysql\""):
        draft_schema(tmp_path, source="mysq")


def test_a_draft_never_replaces_a_file(tmp_path, log):
    put(tmp_path, "clicks.csv", log[["user", "item", "time"]])
    (tmp_path / "schema.yaml").write_text("mine")
    with pytest.raises(DataError, match="is there already and is not overwritten"):
        write_draft(tmp_path)
    assert (tmp_path / "schema.yaml").read_text() == "mine"
    other = write_draft(tmp_path, out=tmp_path / "second.yaml")
    assert other.read_text(encoding="utf-8") == draft_schema(tmp_path)
    with pytest.raises(DataError, match="cannot be written"):
        write_draft(tmp_path, out=tmp_path / "no" / "x.yaml")


def test_nothing_is_written_where_the_draft_fails(tmp_path):
    with pytest.raises(DataError):
        write_draft(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["a: b", "no", "{x}", "#n", 'say "hi"', "123", "it's", "a,b", "é\n"]
)
def test_any_column_name_survives_the_draft(tmp_path, log, name):
    frame = log[["user", "item", "time"]].rename(columns={"user": f"{name}"})
    put(tmp_path, "clicks.csv", frame.assign(extra=log["price"]))
    text = draft_schema(tmp_path) if name != "123" else "user_behavior: {}\ntask: {}"
    assert set(yaml.safe_load(text)) <= CANONICAL
    if name != "123":  # looks like a value: the file is refused
        [part] = mapped(tmp_path).parts["user_behavior"]
        assert part.columns["user_id"] == (name.strip(),)


def test_only_some_of_a_long_file_is_read(tmp_path, log, monkeypatch):
    monkeypatch.setattr(looking, "_HEAD", 20_000)
    monkeypatch.setattr(looking, "_SLICE", 4_000)
    put(tmp_path, "clicks.csv", log[["user", "item", "time"]])
    [look], _ = looking.look_at_folder(tmp_path)
    assert len(look.frame) < N / 2
    assert look.rows == pytest.approx(N, rel=0.05)
    whole = set(map(tuple, log[["user", "item"]].to_numpy()))
    assert set(map(tuple, look.frame[["user", "item"]].to_numpy())) <= whole
    # The end of the log is seen, so that the period is the log's.
    assert look.frame["time"].iloc[-1] == str(log["time"].iloc[-1])
