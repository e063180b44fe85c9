"""Every fault of a server, really made: a sentence, no part of the rows, and no password."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import mysql_fixture
import pytest
from mysql_fixture import execute, need_server
from waiting import PATIENCE_S, awaited

from helpers.base.errors import DataError
from helpers.data.database import Database, open_database
from helpers.data.database.address import read_address
from helpers.data.mysql_server import Server, private_server

server, database = mysql_fixture.server, mysql_fixture.database

#: The numbers of the connections of the user under test.
READERS = "SELECT id FROM information_schema.PROCESSLIST WHERE user = 'reader'"
CANARY = "c4n@ry:/?#%päss"
ENCODED = "c4n%40ry%3A%2F%3F%23%25p%C3%A4ss"


def chain(error: BaseException) -> Iterator[str]:
    """Yield all that an error and those behind it say."""
    while error is not None:
        yield from (str(error), repr(error), repr(error.args))
        error = error.__cause__ or error.__context__


def holds_canary(*texts: str) -> bool:
    return any(secret in text for text in texts for secret in (CANARY, ENCODED, "c4n", "p%C3%A4"))


def url_of(
    server: Server, *, user: str = "reader", database: str = "shop", options: str = ""
) -> str:
    return f"mysql://{user}:{ENCODED}@127.0.0.1:{server.port}/{database}{options}"


@pytest.fixture
def reader(server: Server, database: Database) -> str:
    """Make a user whose password is the canary; return the URL."""
    execute(
        server,
        "DROP USER IF EXISTS reader@'127.0.0.1'",
        f"CREATE USER reader@'127.0.0.1' IDENTIFIED BY '{CANARY.replace('%', '%')}'",
        "GRANT SELECT ON shop.* TO reader@'127.0.0.1'",
        "CREATE TABLE orders (v INT, filler CHAR(200))",
        "INSERT INTO orders SELECT seq, REPEAT('x', 200) FROM seq_1_to_60000",
    )
    return url_of(server)


def refused(url: str, pattern: str, table: str = "orders") -> None:
    """Check that reading a table fails with a sentence, and shows no canary."""
    with pytest.raises(DataError, match=pattern) as caught, open_database(url) as opened:
        for _ in opened.stream(table):
            pass
    assert not holds_canary(*chain(caught.value))
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_password_of_any_signs_opens_the_database_and_shows_nowhere(reader):
    with open_database(reader) as opened:
        assert sum(len(chunk.frame) for chunk in opened.stream("orders")) == 60_000
        assert not holds_canary(
            repr(opened), opened.shown, repr(vars(opened)), repr(opened._engine)
        )
    assert not holds_canary(repr(read_address(reader)))


def test_a_wrong_password_is_said(server, reader):
    wrong = reader.replace(ENCODED, f"{ENCODED}x")
    refused(wrong, r"^127.0.0.1:\d+/shop refuses the user or the password; correct them")


def test_an_unknown_database_names_the_near_one(server, reader):
    refused(url_of(server, database="shopp"), r"refuses|may not use")
    root = server.url.replace("/shop", "/shopp")
    refused(root, r'There is no database at 127.0.0.1:\d+/shopp; .* Did you mean "shop"\?')


def test_a_url_without_a_database_asks_for_one(server):
    refused(server.url.removesuffix("/shop"), "name a database at the end of the URL")


def test_a_user_without_rights_is_told_so(server, reader):
    execute(
        server,
        "DROP USER IF EXISTS nobody@'127.0.0.1'",
        f"CREATE USER nobody@'127.0.0.1' IDENTIFIED BY '{CANARY}'",
    )
    refused(url_of(server, user="nobody"), "The user may not use the database of 127.0.0.1")
    execute(server, "GRANT INSERT ON shop.orders TO nobody@'127.0.0.1'")
    refused(
        url_of(server, user="nobody"), 'no right for counting table "orders"; ask for the right'
    )


def test_a_missing_table_is_named_with_the_near_one(reader):
    refused(reader, 'there is no table "order".*there is orders. Did you mean "orders"', "order")


def test_a_view_without_its_table_is_said(server, reader):
    execute(server, "CREATE VIEW v AS SELECT * FROM orders", "DROP TABLE orders")
    refused(reader, "the view can no longer be computed|may see no column", "v")


def test_a_server_that_is_down_and_an_unknown_host_are_said(server, reader):
    down = r"^127.0.0.1:\d+/shop: no MySQL server answers \(Connection refused\); start"
    with socket.socket() as spare:  # bound, so nobody else's, and it does not listen
        spare.bind(("127.0.0.1", 0))
        refused(re.sub(r":\d+/", f":{spare.getsockname()[1]}/", reader), down)
    refused(reader.replace("127.0.0.1", "no-such-host.invalid"), "there is no such host; correct")


def test_a_missing_socket_is_said(reader):
    refused(
        f"{reader}?unix_socket=/no/such.sock", r"/no/such.sock/shop: no MySQL server answers \(No"
    )


@pytest.mark.parametrize("after", [1, 3, 9])
@pytest.mark.parametrize("how", ["KILL", "KILL QUERY"])
def test_a_connection_killed_in_mid_stream_never_gives_a_part(server, reader, how, after):
    with open_database(reader) as opened:
        stream = opened.stream("orders", rows=2000)
        for _ in range(after):
            next(stream)
        # Connections of earlier tests end in their own time.
        assert awaited(lambda: len(execute(server, READERS)) == 1)
        [(number,)] = execute(server, READERS)
        execute(server, f"{how} {number}")
        with pytest.raises(DataError) as caught:
            list(stream)
    assert re.search(
        r"the connection was cut while reading table orders after [\d,]+ of 60,000 rows",
        str(caught.value),
    )
    assert not holds_canary(*chain(caught.value))


def test_a_server_stopped_in_mid_stream_never_gives_a_part():
    need_server()
    with private_server() as own:
        execute(
            own,
            "CREATE TABLE t (v TEXT)",  # far more than the buffers of any socket
            "INSERT INTO t SELECT REPEAT('x', 2000) FROM seq_1_to_60000",
        )
        with open_database(own.url) as opened:
            stream = opened.stream("t", rows=1000)
            next(stream)
            os.kill(int((own.folder / "server.pid").read_text()), signal.SIGKILL)
            with pytest.raises(DataError, match="connection was cut"):
                list(stream)
        with pytest.raises(DataError, match="no MySQL server answers"), open_database(own.url):
            pass


def test_a_lock_is_not_waited_for_for_ever(server, reader, monkeypatch):
    monkeypatch.setattr("helpers.data.database.address._LOCK_WAIT_S", 1)
    address = read_address(server.url)
    with address.connect() as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES orders WRITE")
        refused(reader, r'another connection locks the table, and counting table "orders" waited')


def test_a_statement_limit_of_the_server_is_said(server, reader):
    with read_address(server.url).connect() as free, free.cursor() as cursor:
        # The connection that takes the limit away is older than the limit, and knows none.
        cursor.execute("SET GLOBAL max_statement_time = 0.001")
        try:
            refused(reader, "the server's own time limit for a statement .* raise the limit")
        finally:
            cursor.execute("SET GLOBAL max_statement_time = 0")


def test_a_server_that_is_full_is_said(server, reader):
    execute(server, "ALTER USER reader@'127.0.0.1' WITH MAX_USER_CONNECTIONS 2")
    with read_address(reader).connect(), read_address(reader).connect():
        refused(reader, "has no connection left")


def test_a_silent_server_is_left_after_the_read_timeout(server, reader):
    execute(server, "CREATE VIEW slow AS SELECT SLEEP(3600) AS v")
    try:
        refused(f"{reader}?read_timeout=1", "answer for 1 s while .*read_timeout=3600", "slow")
    finally:  # else the next test waits for the view
        for (number,) in execute(server, READERS):
            execute(server, f"KILL {number}")


def test_a_table_dropped_or_changed_within_the_snapshot_is_said(server, reader):
    with open_database(reader) as opened, opened.snapshot():
        execute(server, "ALTER TABLE orders ADD COLUMN w INT, ALGORITHM=COPY")
        with pytest.raises(DataError, match="the table was altered while"):
            list(opened.stream("orders"))


class OtherLogin(threading.Thread):
    """A server that asks for another kind of login, as far as PyMySQL asks for its key."""

    def __init__(self, plugin: bytes) -> None:
        super().__init__(daemon=True)
        self.plugin, self.listener = plugin, socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self) -> None:
        # Where PyMySQL gives up earlier, it hangs up.
        with (
            contextlib.suppress(OSError),
            self.listener,
            self.listener.accept()[0] as client,
        ):
            flags = 0x81FFF7FF & ~0x800  # everything but TLS
            greeting = b"\x0a8.4.0\0" + struct.pack("<I", 1) + b"12345678\0"
            greeting += struct.pack("<HBHHB", flags & 0xFFFF, 45, 2, flags >> 16, 21) + bytes(10)
            self.send(client, 0, greeting + b"123456789012\0" + b"mysql_native_password\0")
            client.recv(9999)
            self.send(client, 2, b"\xfe" + self.plugin + b"\0" + b"1" * 20 + b"\0")
            client.recv(9999)
            self.send(client, 4, b"\x01\x04")  # the whole login, please
            client.recv(9999)
            self.send(client, 6, b"\x01-----BEGIN PUBLIC KEY-----")
            client.recv(9999)

    def send(self, client: socket.socket, number: int, payload: bytes) -> None:
        client.sendall(struct.pack("<I", len(payload))[:3] + bytes([number]) + payload)


@pytest.mark.parametrize(
    ("plugin", "pattern"),
    [
        (b"caching_sha2_password", "pip install cryptography, or connect with TLS"),
        (b"client_ed25519", "pip install pynacl, and start again"),
        (b"auth_gssapi_client", "a kind of login that PyMySQL does not know"),
    ],
)
def test_a_login_that_needs_more_says_what_to_install(plugin, pattern, monkeypatch):
    monkeypatch.setattr("pymysql._auth._have_cryptography", False)
    monkeypatch.setitem(sys.modules, "nacl", None)
    other = OtherLogin(plugin)
    other.start()
    refused(f"mysql://reader:{ENCODED}@127.0.0.1:{other.port}/shop", pattern)
    other.join(PATIENCE_S)


def test_ctrl_c_in_mid_stream_closes_the_connection(server, reader):
    with open_database(reader) as opened:
        stream = opened.stream("orders", rows=500)
        next(stream)
        with pytest.raises(KeyboardInterrupt):
            stream.throw(KeyboardInterrupt)
        assert awaited(lambda: not execute(server, READERS))
        assert opened.count("orders") == 60_000


# TLS


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_authority(folder: Path, name: str) -> None:
    openssl(
        folder,
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-keyout", f"{name}-key.pem", "-out", f"{name}.pem"),
    )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """Return a folder with two authorities, and a server's certificate for localhost by one."""
    folder = tmp_path_factory.mktemp("tls")
    make_authority(folder, "ours")
    make_authority(folder, "other")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    openssl(
        folder,
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
        *("-keyout", "server-key.pem", "-out", "server.csr"),
    )
    openssl(
        folder,
        *("x509", "-req", "-in", "server.csr", "-CA", "ours.pem", "-CAkey", "ours-key.pem"),
        *("-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.pem"),
    )
    return folder


@pytest.fixture(scope="module")
def tls_server(certificates: Path) -> Iterator[Server]:
    """Return a server that offers TLS."""
    need_server()
    with pytest.MonkeyPatch.context() as patch:
        from helpers.data import mysql_server

        serving = mysql_server._serving

        def with_tls(running: Server, *paths: Path) -> list[str]:
            copies = []
            for name in ("ours.pem", "server.pem", "server-key.pem"):
                copy = running.folder / name
                copy.write_bytes((certificates / name).read_bytes())
                if identity := mysql_server._identity():
                    os.chown(copy, identity["user"], identity["group"])
                copies.append(copy)
            options = zip(("ca", "cert", "key"), copies, strict=True)
            return [*serving(running, *paths), *(f"--ssl-{k}={v}" for k, v in options)]

        patch.setattr(mysql_server, "_serving", with_tls)
        with private_server() as running:
            yield running


def cipher(url: str) -> str:
    with open_database(url) as opened, opened.connected() as connection:
        return connection.exec_driver_sql("SHOW STATUS LIKE 'Ssl_cipher'").fetchone()[1]


def at_localhost(server: Server, options: str) -> str:
    return f"{server.url.replace('127.0.0.1', 'localhost')}?{options}"


def test_tls_with_the_right_authority_and_name_is_accepted(tls_server, certificates):
    for mode in ("", "&ssl_mode=verify_identity", "&ssl_mode=VERIFY-CA"):
        assert cipher(at_localhost(tls_server, f"ssl_ca={certificates}/ours.pem{mode}"))
    assert cipher(f"{tls_server.url}?ssl_mode=required")
    assert cipher(tls_server.url)
    assert not cipher(f"{tls_server.url}?ssl_mode=disabled")


@pytest.mark.parametrize(
    ("host", "options", "pattern"),
    [
        ("localhost", "ssl_ca={}/other.pem", "certificate is not accepted: .*(certificate|issuer)"),
        ("localhost", "ssl_ca={}/other.pem&ssl_mode=required", "certificate is not accepted"),
        ("localhost", "ssl_mode=verify_identity", "certificate is not accepted"),
        ("127.0.0.1", "ssl_ca={}/ours.pem", "certificate is not accepted: IP address mismatch"),
        ("localhost", "ssl_ca={}/server.csr", "server.csr is no readable PEM file"),
        ("localhost", "ssl_ca={}/none.pem", "ssl_ca: .*none.pem cannot be read: No such file"),
        ("localhost", "ssl_cert={}/none.pem", "ssl_cert or ssl_key: .*none.pem cannot be read"),
    ],
)
def test_a_certificate_that_is_not_right_is_refused(
    tls_server, certificates, host, options, pattern
):
    url = f"{tls_server.url.replace('127.0.0.1', host)}?{options.format(certificates)}"
    with pytest.raises(DataError, match=pattern), open_database(url):
        pass


def test_a_server_without_tls_is_refused_where_tls_is_asked_for(server, certificates):
    if execute(server, "SELECT @@have_ssl")[0][0] == "YES":
        pytest.skip("this server makes certificates for itself")
    for options in ("ssl_mode=required", f"ssl_ca={certificates}/ours.pem"):
        with pytest.raises(DataError, match="offers no TLS, but ssl_mode asks for it"):
            cipher(f"{server.url}?{options}")
