"""Rows as text: packed into lines on the server, unpacked into columns here.

The server writes each row as one line of CSV. That spares the driver its work of taking every
value apart, and the same text gives a table's checksum. A missing value is an empty field, an
empty text is ``""``.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

__all__ = ["named", "packed_row", "unpack"]

# Types whose values hold neither commas nor quotes.
_PLAIN = {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "bit"}
_PLAIN |= {"date", "time", "datetime", "timestamp", "year"}
_BINARY = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"}
_SHAPES = {"geometry", "point", "linestring", "polygon", "geometrycollection", "geomcollection"}
_SHAPES |= {"multipoint", "multilinestring", "multipolygon"}


def named(name: str) -> str:
    """Return a name as SQL takes it, whatever signs it holds.

    Example:
        >>> named("a`b")
        '`a``b`'
    """
    return "`" + name.replace("`", "``") + "`"


def packed_row(columns: dict[str, str]) -> str:
    """Return the SQL that writes the columns of a row as one line.

    Args:
        columns: types as the server states them, by name.

    Example:
        >>> packed_row({"n": "int(11)"})
        "CONCAT(IFNULL(CONCAT(`n`), ''))"
    """
    fields = [_field(name, _kind(stated)) for name, stated in columns.items()]
    joined = ", ',', ".join(fields)
    return f"CONCAT({joined})"


def _kind(stated: str) -> str:
    """Return the plain name of a type: ``int`` for ``int(10) unsigned``."""
    return stated.lower().partition("(")[0].split()[0]


def _field(name: str, kind: str) -> str:
    column = named(name)
    if kind == "float":
        # The server shows 6 digits of a FLOAT; as a DOUBLE it shows what is stored.
        column = f"{column} + 0e0"
    elif kind == "bit":
        column = f"{column} + 0"
    elif kind == "timestamp":
        column = f"{column}, '+00:00'"  # the session's zone
    if kind in _PLAIN:
        return f"IFNULL(CONCAT({column}), '')"
    if kind in _BINARY:
        return f"IFNULL(CONCAT('\"', HEX({column}), '\"'), '')"
    text = f"ST_AsText({column})" if kind in _SHAPES else column
    return f"""IFNULL(CONCAT('"', REPLACE(CONVERT({text} USING utf8mb4), '"', '""'), '"'), '')"""


def unpack(lines: list[bytes], columns: dict[str, str]) -> pa.Table:
    """Return packed rows as a table of text columns.

    Args:
        lines: one per row, as :func:`packed_row` wrote them.
        columns: the names and types of the columns, as :func:`packed_row` was given them.

    Raises:
        pyarrow.ArrowInvalid: a value is not UTF-8 text.

    Example:
        >>> unpack([b'"one, two",', b'"",1'], {"a": "text", "b": "int"}).to_pylist()
        [{'a': 'one, two', 'b': None}, {'a': '', 'b': '1'}]
    """
    data = b"\n".join(lines) + b"\n"
    table = pa.csv.read_csv(
        pa.py_buffer(data),
        read_options=pa.csv.ReadOptions(
            column_names=list(columns), use_threads=False, block_size=len(data) + 1
        ),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.large_string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    for place, (name, stated) in enumerate(columns.items()):
        if _kind(stated) == "float":
            table = table.set_column(place, name, _shortest(table.column(place)))
    return table


def _shortest(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the shortest texts that name the same 32-bit numbers: 0.1, not 0.10000000149."""
    return pc.cast(pc.cast(pc.cast(values, pa.float64()), pa.float32()), pa.large_string())
