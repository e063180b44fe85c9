"""A check counts kinds: what columns are called, and how a reason is worded, changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.commands.check import Audit, audit
from helpers.data import staging
from helpers.data.cleaning import cleaner
from helpers.data.dropped import DropKind
from helpers.data.schema_file import LeaveOut
from helpers.samples import samples


def write_shop(folder: Path) -> None:
    """Write a log of 24 days in which every second order is one of the future, by its name."""
    rng, rows = np.random.default_rng(3), []
    for day in pd.date_range("2025-01-01", periods=24):
        for user in range(30):
            seen = day + pd.Timedelta(hours=int(rng.integers(9, 20)), minutes=user)
            item, click = int(rng.integers(12)), rng.random() < 0.4
            rows.append((f"u{user}", f"i{item}", seen.isoformat(), "impression", user % 5 == 0))
            if click:
                later = (seen + pd.Timedelta("5min")).isoformat()
                rows.append((f"u{user}", f"i{item}", later, "click", user % 5 == 0))
    log = pd.DataFrame(
        rows, columns=["user_id", "item_id", "event_time", "event_type", "is_future_order"]
    )
    bad = log.iloc[:20].assign(event_type="copy", is_future_order=False)
    copies = log[~log.is_future_order].iloc[-15:]
    pd.concat([log, bad, copies]).to_csv(folder / "user_behavior.csv", index=False)
    items = pd.DataFrame({"item_id": [f"i{i}" for i in range(12)], "price": range(12)})
    items.loc[3, "price"] = -1
    items.to_csv(folder / "product_features.csv", index=False)
    rule = json.dumps({"column": "is_future_order", "one_of": ["True"]})
    (folder / "schema.yaml").write_text(
        f"task: {{label: {{within: 1h}}}}\nuser_behavior:\n  leave_out:\n  - {rule}\n",
        encoding="utf-8",
    )


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "shop"
    folder.mkdir()
    write_shop(folder)
    return folder


def without_sentences(found: Audit) -> dict[str, object]:
    """Return all that a check says, but for the sentences of the reasons."""
    facts = found.to_dict()
    facts["dropped"] = [{**row, "reason": ""} for row in facts["dropped"]]
    facts["split"]["lost"] = [{**row, "reason": ""} for row in facts["split"]["lost"]]
    return facts


def test_a_rule_on_a_column_called_future_drops_no_row_of_the_future(shop):
    found = audit("csv", path=shop, progress=False)
    rows = {row["kind"]: row["rows"] for row in found.facts["dropped"]}
    assert rows.pop("rule") > 100
    assert rows == {"value": 20, "copy": 15, "minimum": 1}
    assert found.facts["future_dropped"] == 0
    assert "In the future" not in found.text()
    assert [price["negative"] for price in found.facts["prices"]] == [1]
    assert {row["kind"] for row in found.facts["split"]["lost"]} <= {"outside", "crossing"}


@pytest.mark.parametrize("sentence", ["", "left out: in the future", "price is below 0"])
def test_another_wording_of_the_reasons_changes_no_count_and_no_verdict(
    shop, monkeypatch, sentence
):
    want = without_sentences(audit("csv", path=shop, progress=False))

    def same(column: object, **_: object) -> dict[DropKind, str]:
        return dict.fromkeys(DropKind, sentence)

    for module in (cleaner, staging):
        monkeypatch.setattr(module, "reasons", same)
    monkeypatch.setattr(staging, "COPY", sentence)
    monkeypatch.setattr(LeaveOut, "reason", property(lambda _: sentence))
    lost = samples.Dropped
    monkeypatch.setattr(samples, "Dropped", lambda *row: lost(*row)._replace(reason=sentence))
    monkeypatch.setenv("WORKBOOK_CACHE", str(shop / "other"))
    found = audit("csv", path=shop, progress=False)
    assert {row["reason"] for row in found.facts["dropped"]} == {sentence}
    assert without_sentences(found) == want
