"""What it costs to read a MySQL table: the driver's bare cursor beside ``Database.stream``.

A private server holds a log of events. Each figure comes from a fresh process. The bare loop is
``for row in cursor`` with PyMySQL's ``SSCursor``, once as it is (values become Python objects),
once without decoders (values stay text); it makes no frames. ``bench_mysql.py 1500000 15000000``
measures other sizes too; the larger one takes some minutes and 3 GB of disk.
"""

from __future__ import annotations

import json
import subprocess
import sys

from helpers.data.database import Database, create_tables, open_database
from helpers.data.mysql_server import missing_server, private_server

_SIZES = (1_500_000,)

_FILL = """
INSERT INTO user_behavior
SELECT CONCAT('e', seq), CONCAT('user', seq * 7919 % 20011), CONCAT('sku', seq * 104729 % 7919),
    '2024-01-01' + INTERVAL seq SECOND, 'impression', CONCAT('list', seq DIV 10), NULL,
    IF(seq % 3, CONCAT('query ', seq % 999), NULL), seq % 10 + 1, ROUND(seq % 1000 / 7, 2), 1, NULL
FROM seq_{first}_to_{last}
"""

_MEASURE = """
import json, resource, sys, time
from pymysql.cursors import SSCursor
from helpers.data.database import open_database
from helpers.data.database.address import read_address

url, way = sys.stdin.read(), sys.argv[1]
rows, checksum = 0, None
clock, cpu = time.perf_counter(), time.process_time()
if way == "stream":
    with open_database(url) as database:
        for chunk in database.stream("user_behavior"):
            rows += len(chunk.frame)
elif way == "checksum":
    with open_database(url) as database:
        rows = int(database.checksum("user_behavior").partition("-")[0], 16)
else:
    with read_address(url).connect() as connection:
        if way == "bare":
            from pymysql.converters import decoders
            connection.decoders = decoders
        with SSCursor(connection) as cursor:
            cursor.execute("SELECT * FROM user_behavior")
            for row in cursor:
                rows += 1
unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, else kilobytes
print(json.dumps({
    "rows": rows,
    "seconds": time.perf_counter() - clock,
    "cpu_s": time.process_time() - cpu,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6,
}))
"""

_WAYS = {
    "bare": "bare SSCursor",
    "text": "bare SSCursor, text",
    "stream": "Database.stream",
    "checksum": "Database.checksum",
}


def fill(database: Database, first: int, last: int) -> None:
    """Add rows to the log."""
    with database.connected() as connection:
        sql = _FILL.format(first=first, last=last)
        connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
        connection.commit()


def measure(url: str, way: str) -> dict[str, float]:
    """Return rows, seconds, CPU seconds and peak memory in MB of one way in a fresh process."""
    command = [sys.executable, "-c", _MEASURE, way]
    done = subprocess.run(command, input=url, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main(sizes: tuple[int, ...] = _SIZES) -> None:
    """Print one line a size and a way."""
    if missing := missing_server():
        print(missing)
        return
    print(f"{'rows':>12}  {'way':<22}{'seconds':>9}{'CPU s':>8}{'peak MB':>9}{'to bare':>9}")
    with private_server() as server, open_database(f"{server.url}?read_timeout=3600") as database:
        create_tables(database)
        filled = 0
        for size in sizes:
            fill(database, filled + 1, size)
            filled = size
            bare = None
            for way, name in _WAYS.items():
                got = measure(f"{server.url}?read_timeout=3600", way)
                if got["rows"] != size:
                    raise RuntimeError(f"{way} must read {size:,} rows; it read {got['rows']:,}.")
                bare = bare or got["seconds"]
                print(
                    f"{size:12,}  {name:<22}{got['seconds']:9.1f}{got['cpu_s']:8.1f}"
                    f"{got['peak_mb']:9.0f}{got['seconds'] / bare:9.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main(tuple(int(size) for size in sys.argv[1:]) or _SIZES)
