"""The generator of the foreign-looking log in ``data/foreign``: what a shop in Spain exports.

Nothing in it fits the canonical tables: Spanish names in Latin-1, semicolons, decimal
commas, day and hour of Madrid in two columns, purchases only. It is dirty as real exports
are: cancelled tickets, lines without a customer, lines written twice, unreadable values and
charges that are no products. The tutorial on own data maps it with a ``schema.yaml``.

:func:`generate` is a pure function of its settings and seed. The bundled files are
``generate()``, written by ``python -m helpers.data.datasets.shop_export --write`` and compared by
``--check``. No person, shop or brand in it exists.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.paths import DATA

__all__ = ["ENCODING", "FAMILIES", "SERVICES", "ShopSettings", "generate", "main", "write"]

ENCODING = "latin-1"
FAMILIES = {  # family: its kinds of products
    "Café y té": ("Café", "Té verde", "Té negro", "Cacao", "Tila"),
    "Dulces": ("Turrón", "Galletas", "Mazapán", "Miel", "Bombón"),
    "Conservas": ("Atún", "Mejillón", "Pimiento", "Aceituna", "Piña"),
    "Despensa": ("Arroz", "Aceite", "Azúcar", "Pimentón", "Lenteja"),
    "Baño": ("Jabón", "Champú", "Toalla", "Crema", "Esponja"),
    "Hogar": ("Vela", "Cojín", "Jarrón", "Lámpara", "Manta"),
    "Jardín": ("Maceta", "Semilla", "Regadera", "Guante", "Farol"),
    "Niños": ("Muñeca", "Puzle", "Peluche", "Tren", "Cometa"),
    "Papelería": ("Lápiz", "Cuaderno", "Agenda", "Pluma", "Sobre"),
    "Cocina": ("Sartén", "Cazuela", "Taza", "Cuchillo", "Plato"),
}
_LEVELS = (1.4, 1.4, 1.1, 1.1, 1.6, 2.9, 2.3, 2.5, 1.3, 2.6)  # log of a family's middle price
_BRANDS = (  # all invented
    *("Añura", "Brisol", "Cendal", "Dorvía", "Estrel", "Galvón"),
    *("Hondal", "Ibrina", "Lumeña", "Noriel", "Pazuel", "Tarvé"),
)
_COUNTRIES = ("España", "Portugal", "Francia", "Italia", "Alemania")
_COUNTRY_SHARES = (0.84, 0.07, 0.05, 0.02, 0.02)
#: Codes of charges that are no products: carriage and discount.
SERVICES = {"PORTES": "Gastos de envío", "DTO": "Descuento"}
_HOUR_WEIGHTS = (1, 1, 1, 1, 0, 0, 1, 2, 4, 7, 9, 9, 8, 7, 4, 4, 5, 7, 9, 11, 12, 10, 6, 3)
_WEEKDAY_WEIGHTS = (1.0, 0.9, 0.95, 1.0, 1.2, 1.35, 0.8)
_SPRING = pd.Timestamp("2025-03-30 02:00")  # the clocks of Madrid skip the hour that begins here
_COLUMNS = {  # of ventas.csv
    "ticket": "Nº ticket",
    "code": "Código artículo",
    "name": "Descripción",
    "quantity": "Cantidad",
    "date": "Fecha",
    "hour": "Hora",
    "price": "Precio unitario",
    "customer": "Cliente",
    "country": "País",
}
_WEEK_MINUTES = 7 * 24 * 60


@dataclass(frozen=True)
class ShopSettings:
    """Sizes, dates and the dirt of the export. Shares are of the lines."""

    customers: int = 700
    products: int = 350
    tickets: int = 5_700  # of sales; a ticket has about two and a half lines
    start: str = "2025-01-06"  # a Monday, in Madrid
    weeks: int = 26
    without_customer: float = 0.24
    cancelled: float = 0.025
    written_twice: float = 0.015
    broken: int = 36  # lines
    charges: int = 150  # lines with a code of SERVICES
    not_listed: int = 4  # products sold that articulos.csv lacks


def generate(settings: ShopSettings | None = None, *, seed: int = 7) -> dict[str, pd.DataFrame]:
    """Return the two tables of the shop as text, as its export writes them.

    Args:
        settings: sizes and dirt.
        seed: start of every random draw.

    Returns:
        ``ventas``, one row a line of a ticket in order of time, and ``articulos``, one row a
        product. Every value is text; an empty text is a missing value.

    Example:
        >>> tables = generate(ShopSettings(customers=50, products=60, tickets=300), seed=1)
        >>> tables["ventas"]["País"].mode().item(), list(tables["articulos"].columns[:3])
        ('España', ['Código', 'Nombre', 'Familia'])
    """
    settings = settings or ShopSettings()
    streams = np.random.SeedSequence(seed).spawn(4)
    item_rng, ticket_rng, sale_rng, dirt_rng = map(np.random.default_rng, streams)
    items = _make_items(settings, item_rng)
    tickets = _plan_tickets(settings, ticket_rng)
    lines = _sell(settings, items, tickets, sale_rng)
    lines = _add_charges(settings, lines, dirt_rng)
    lines = _cancel(settings, lines, dirt_rng)
    sales = _write_dirt(settings, _as_text(lines, dirt_rng), dirt_rng)
    return {"ventas": sales, "articulos": _catalogue(settings, items, dirt_rng)}


def _make_items(settings: ShopSettings, rng: np.random.Generator) -> pd.DataFrame:
    """Return one row a product: what the shop lists, and how much everybody likes it."""
    kinds = [(family, kind) for family, names in FAMILIES.items() for kind in names]
    pairs = rng.permutation(len(kinds) * len(_BRANDS))[: settings.products]
    kind, brand = np.divmod(pairs, len(_BRANDS))
    n = len(pairs)
    level = np.repeat(_LEVELS, len(kinds) // len(FAMILIES)) + rng.normal(0, 0.3, size=len(kinds))
    late = rng.random(n) < 0.08
    return pd.DataFrame(
        {
            "code": [f"{number:04d}" for number in np.sort(rng.permutation(2_000)[:n])],
            "name": [f"{kinds[k][1]} {_BRANDS[b]}" for k, b in zip(kind, brand, strict=True)],
            "family": kind // len(next(iter(FAMILIES.values()))),
            "brand": brand,
            "price": np.round(np.exp(level[kind] + rng.normal(0, 0.35, size=n)), 2),
            "appeal": rng.normal(0, 0.7, size=n) + rng.normal(0, 0.4, size=len(_BRANDS))[brand],
            "first_week": np.where(late, rng.integers(1, settings.weeks, size=n), 0),
        }
    )


def _plan_tickets(settings: ShopSettings, rng: np.random.Generator) -> pd.DataFrame:
    """Return one row a ticket in order of time: who, which week, which minute of it.

    Customer -1 is somebody without a customer number.
    """
    n = settings.tickets
    activity = rng.gamma(0.9, size=settings.customers) + 0.12  # a few customers come often
    customer = rng.choice(settings.customers, size=n, p=activity / activity.sum())
    # Everybody who has a number came at least once.
    customer[rng.permutation(n)[: settings.customers]] = np.arange(settings.customers)[:n]
    customer[rng.random(n) < settings.without_customer] = -1
    week = np.sort(rng.integers(settings.weeks, size=n))
    day_weight = np.array(_WEEKDAY_WEIGHTS) / sum(_WEEKDAY_WEIGHTS)
    hour_weight = np.array(_HOUR_WEIGHTS) / sum(_HOUR_WEIGHTS)
    day = rng.choice(7, size=n, p=day_weight)
    minute = (day * 24 + rng.choice(24, size=n, p=hour_weight)) * 60 + rng.integers(60, size=n)
    tickets = pd.DataFrame({"customer": customer, "week": week, "minute": minute})
    tickets["length"] = 1 + rng.poisson(1.45, size=n)
    return tickets.sort_values(["week", "minute"], kind="stable", ignore_index=True)


def _sell(
    settings: ShopSettings, items: pd.DataFrame, tickets: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Return one row a line of a ticket: what was chosen, by taste, habit and season.

    Weeks run one after the other, because what a customer bought draws them back.
    """
    family, brand = items["family"].to_numpy(), items["brand"].to_numpy()
    likes_family = rng.normal(0, 1.3, size=(settings.customers + 1, len(FAMILIES)))
    likes_brand = rng.normal(0, 0.7, size=(settings.customers + 1, len(_BRANDS)))
    taste = likes_family[:, family] + likes_brand[:, brand]
    taste[-1] = 0  # row -1: nobody in particular
    habit = np.zeros_like(taste)
    peak = rng.uniform(0, 2 * np.pi, size=len(FAMILIES))
    on_offer = rng.random((settings.weeks, len(items))) < 0.08
    sold = []
    for week in range(settings.weeks):
        now = tickets[tickets["week"] == week]
        who = now["customer"].to_numpy()
        season = 0.6 * np.cos(2 * np.pi * week / 52 - peak)
        pull = items["appeal"].to_numpy() + season[family] + 0.5 * on_offer[week]
        score = pull + taste[who] + 2.2 * np.minimum(habit[who], 1.5)
        score += rng.gumbel(size=score.shape)
        score[:, items["first_week"].to_numpy() > week] = -np.inf
        order = np.argsort(-score, axis=1, kind="stable")
        lines = now.loc[now.index.repeat(now["length"])].rename_axis("basket").reset_index()
        lines["item"] = order[
            np.repeat(np.arange(len(now)), now["length"]), lines.groupby("basket").cumcount()
        ]
        habit *= 0.95
        np.add.at(habit, (lines["customer"], lines["item"]), 0.8)
        habit[-1] = 0
        off = np.where(on_offer[week], 0.85, 1.0)
        lines["price"] = np.round(items["price"].to_numpy() * off, 2)[lines["item"]]
        sold.append(lines)
    lines = pd.concat(sold, ignore_index=True)
    minute = lines["week"] * _WEEK_MINUTES + lines["minute"]
    return lines.assign(
        time=_madrid(settings, minute),
        code=items["code"].to_numpy()[lines["item"]],
        name=items["name"].to_numpy()[lines["item"]],
        quantity=1 + rng.poisson(0.35, size=len(lines)),
        cancels=False,
    )


def _madrid(settings: ShopSettings, minute: pd.Series) -> pd.Series:
    """Return clock times of Madrid, none in the hour that its clocks skip."""
    time = pd.Timestamp(settings.start) + pd.to_timedelta(minute, unit="min")
    skipped = time.between(_SPRING, _SPRING + pd.Timedelta("59min"))
    return time.where(~skipped, time + pd.Timedelta("1h"))


def _add_charges(
    settings: ShopSettings, lines: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the lines with carriage and discounts as the last lines of some tickets."""
    last = lines.groupby("basket").tail(1)
    chosen = last.loc[np.sort(rng.permutation(last.index)[: settings.charges])]
    carriage = rng.random(len(chosen)) < 0.7
    codes, names = np.array(list(SERVICES)), np.array(list(SERVICES.values()))
    charges = chosen.assign(
        code=np.where(carriage, *codes),
        name=np.where(carriage, *names),
        quantity=np.where(carriage, 1, -1),
        price=np.where(carriage, 4.95, 2.0),
    )
    return pd.concat([lines, charges]).sort_index(kind="stable").reset_index(drop=True)


def _cancel(settings: ShopSettings, lines: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the lines in order of time with some of them cancelled some days later."""
    wanted = round(settings.cancelled * len(lines))
    sold = lines.index[~lines["code"].isin(SERVICES)]
    back = lines.loc[np.sort(rng.permutation(sold)[:wanted])]
    minutes = rng.integers(12 * 60, 15 * 24 * 60, size=len(back))
    back = back.assign(
        time=back["time"] + pd.to_timedelta(minutes, unit="min"),
        quantity=-back["quantity"],
        basket=lines["basket"].max() + 1 + np.arange(len(back)),
        cancels=True,
    )
    end = pd.Timestamp(settings.start) + pd.Timedelta(weeks=settings.weeks)
    hour = back["time"].dt.floor("h")
    back = back[(back["time"] < end) & (hour != _SPRING)]
    return pd.concat([lines, back]).sort_values(
        ["time", "basket"], kind="stable", ignore_index=True
    )


def _as_text(lines: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the lines as the export writes them; tickets are numbered in order of time."""
    number = pd.Series(40_001 + pd.factorize(lines["basket"])[0]).astype(str)
    customers = int(lines["customer"].max()) + 1
    names = np.append(np.sort(1_000 + rng.permutation(9_000)[:customers]), 0)
    home = np.append(rng.choice(len(_COUNTRIES), size=customers, p=_COUNTRY_SHARES), 0)
    known = lines["customer"] >= 0
    text = pd.DataFrame(
        {
            "ticket": number.where(~lines["cancels"], "A" + number),
            "code": lines["code"],
            "name": lines["name"],
            "quantity": lines["quantity"].astype(str),
            "date": lines["time"].dt.strftime("%d/%m/%Y"),
            "hour": lines["time"].dt.strftime("%H:%M"),
            "price": [f"{price:.2f}".replace(".", ",") for price in lines["price"]],
            "customer": pd.Series(names[lines["customer"]]).astype(str).where(known, ""),
            "country": np.array(_COUNTRIES, dtype=object)[home[lines["customer"]]],
        }
    )
    return text.rename(columns=_COLUMNS)


def _write_dirt(
    settings: ShopSettings, sales: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the lines with some broken and some written twice, one below the other."""
    faults = (("price", "n/d"), ("date", "31/02/2025"), ("hour", "25:10"), ("code", ""))
    for place, row in enumerate(rng.permutation(len(sales))[: settings.broken]):
        column, value = faults[place % len(faults)]
        sales.loc[row, _COLUMNS[column]] = value
    copies = round(settings.written_twice * len(sales))
    twice = sales.loc[np.sort(rng.permutation(len(sales))[:copies])]
    return pd.concat([sales, twice]).sort_index(kind="stable").reset_index(drop=True)


def _catalogue(
    settings: ShopSettings, items: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the shop's list of products as text, without some products and some facts."""
    table = pd.DataFrame(
        {
            "Código": items["code"],
            "Nombre": items["name"],
            "Familia": np.array(list(FAMILIES), dtype=object)[items["family"]],
            "Marca": np.array(_BRANDS, dtype=object)[items["brand"]],
            "PVP": [f"{price:.2f}".replace(".", ",") for price in items["price"]],
        }
    )
    table.loc[rng.random(len(table)) < 0.03, "Marca"] = ""
    table.loc[rng.random(len(table)) < 0.02, "PVP"] = ""
    absent = rng.permutation(len(table))[: settings.not_listed]
    return table.drop(index=absent).reset_index(drop=True)


def write(tables: dict[str, pd.DataFrame], folder: str | Path) -> list[Path]:
    """Write the tables as the shop's export, the same bytes every time.

    Args:
        tables: what :func:`generate` returned.
        folder: made if it is missing; files of the same names are replaced.

    Returns:
        The files written: ``ventas.csv`` and ``articulos.csv``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        (folder / f"{name}.csv").write_bytes(_as_bytes(table))
    return [folder / f"{name}.csv" for name in tables]


def _as_bytes(table: pd.DataFrame) -> bytes:
    return table.to_csv(sep=";", index=False, lineterminator="\n").encode(ENCODING)


def main(arguments: list[str] | None = None, *, folder: Path = DATA / "foreign") -> int:
    """Write the bundled files, or compare them with the generator; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.data.datasets.shop_export", description=main.__doc__
    )
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--check", action="store_true", help="compare data/foreign with the seed")
    choice.add_argument("--write", action="store_true", help="make the files of data/foreign anew")
    options = parser.parse_args(arguments)
    tables = generate()
    if options.write:
        size = sum(path.stat().st_size for path in write(tables, folder))
        print(f"{len(tables['ventas'])} lines written, {size / 1e6:.2f} MB.")
        return 0
    differing = [
        name
        for name, table in tables.items()
        if not (path := folder / f"{name}.csv").exists() or path.read_bytes() != _as_bytes(table)
    ]
    print(f"Differs from the generator: {', '.join(differing)}." if differing else "All equal.")
    return int(bool(differing))


if __name__ == "__main__":
    raise SystemExit(main())
