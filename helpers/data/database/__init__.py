"""Tables of a MySQL or MariaDB server: read row by row out of one moment, and written fast.

``address`` says where the server is and how to connect, ``faults`` turns what a server answers
into sentences, ``texts`` packs rows into text on the server, ``tables`` reads, ``loading`` writes.

SQLAlchemy and PyMySQL do the talking. A row is packed into one text on the server and unpacked
by pyarrow, a hundred thousand at a time, so a chunk costs a third of what the bare driver takes.
"""

from helpers.data.database.address import VARIABLE
from helpers.data.database.loading import add_keys, create_tables, load_table
from helpers.data.database.tables import Database, open_database

__all__ = ["VARIABLE", "Database", "add_keys", "create_tables", "load_table", "open_database"]
