"""Peak memory of reading a MySQL table: the article's connector beside the workbook's stream.

A private server holds a log of 1.5 million events; each way reads it whole, in pieces, in a fresh
process, and keeps no piece. ``python bench/bench_connectors.py --write`` also keeps the figures
in ``bench/connectors.csv``, which notebook 01 shows. The article's connector is not among the
workbook's packages: ``pip install mysql-connector-python`` first.
"""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from bench_mysql import fill

from helpers.data.database import create_tables, open_database
from helpers.data.mysql_server import missing_server, private_server

_ROWS = 1_500_000
_TABLE = Path(__file__).with_name("connectors.csv")

_MEASURE = """
import json, sys, time, warnings
from urllib.parse import urlsplit
warnings.simplefilter("ignore")
import pandas as pd
url, way, rows = sys.stdin.read(), sys.argv[1], 0
clock = time.perf_counter()
if way == "stream":
    from helpers.data.database import open_database
    with open_database(url) as database:
        for chunk in database.stream("user_behavior"):
            rows += len(chunk.frame)
else:
    import mysql.connector
    at = urlsplit(url)
    connection = mysql.connector.connect(host=at.hostname, port=at.port, user=at.username,
                                         password=at.password, database=at.path[1:])
    query = "SELECT * FROM user_behavior"
    if way == "sqlalchemy":
        from sqlalchemy import create_engine
        engine = create_engine(url.replace("mysql:", "mysql+mysqlconnector:"))
        with engine.connect().execution_options(stream_results=True) as streaming:
            for piece in pd.read_sql(query, streaming, chunksize=100_000):
                rows += len(piece)
    elif way == "pieces":
        for piece in pd.read_sql(query, connection, chunksize=100_000):
            rows += len(piece)
    else:
        rows = len(pd.read_sql(query, connection))
try:  # not ru_maxrss, which a child inherits from its parent here
    peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
except OSError:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"rows": rows, "seconds": time.perf_counter() - clock, "peak_mb": peak}))
"""

_WAYS = {
    "article": "article's connector",
    "pieces": "the same, with a chunksize",
    "sqlalchemy": "the same, through SQLAlchemy",
    "stream": "streamed",
}


def main() -> None:
    """Print a line for each way, and keep them where asked to."""
    if missing := missing_server():
        print(missing)
        return
    if importlib.util.find_spec("mysql") is None:
        print("Install the article's connector first: pip install mysql-connector-python")
        return
    lines = []
    with private_server() as server, open_database(server.url) as database:
        create_tables(database)
        fill(database, 1, _ROWS)
        for way, name in _WAYS.items():
            command = [sys.executable, "-c", _MEASURE, way]
            done = subprocess.run(
                command, input=server.url, check=True, capture_output=True, text=True
            )
            got = json.loads(done.stdout)
            if got["rows"] != _ROWS:
                raise RuntimeError(f"{way} must read {_ROWS:,} rows; it read {got['rows']:,}.")
            lines.append({"how": name, "rows": _ROWS, "peak_mb": round(got["peak_mb"])})
            print(f"{name:<30}{got['seconds']:8.1f} s{got['peak_mb']:9.0f} MB", flush=True)
    version = importlib.metadata.version("mysql-connector-python")
    print(f"mysql-connector-python {version}")
    if "--write" in sys.argv:
        with _TABLE.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["how", "rows", "peak_mb"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)


if __name__ == "__main__":
    main()
