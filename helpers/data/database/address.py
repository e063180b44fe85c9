"""Where a MySQL server is and how to connect to it, without ever showing the password."""

from __future__ import annotations

import os
import re
import socket
import ssl
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import pymysql
from pymysql.converters import encoders

from helpers.base.errors import DataError
from helpers.base.small_files import check_path, read_bytes
from helpers.base.words import near_match

__all__ = ["VARIABLE", "Address", "read_address"]

#: The environment variable that says where the server is.
VARIABLE = "WORKBOOK_DB_URL"

_EXAMPLE = "mysql://reader:PASSWORD@localhost:3306/shop"
_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
_OPTIONS = (
    *("option_file", "option_group", "unix_socket", "connect_timeout", "read_timeout"),
    *("ssl_mode", "ssl_ca", "ssl_cert", "ssl_key", "charset"),
)
# What may stand in a part is narrow: a password that is not percent-encoded must not slide into a
# part that messages show.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z0-9+]+)://"
    r"(?:(?P<user>[^:@/?#]*)(?::(?P<password>[^@/?#]*))?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@/?#\[\]]*)(?::(?P<port>\d{1,5}))?"
    r"(?:/(?P<database>[^@/?#]*))?(?:\?(?P<query>[^@#?]*))?"
)
# Times in UTC; a slow reader may pause for ten minutes; a locked table is not waited for for ever.
_NET_WRITE_S, _LOCK_WAIT_S = 600, 30
_CONNECT_S, _READ_S = 10, 600
_SQL_MODE = "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION"


@dataclass(frozen=True)
class Address:
    """One database of one server, and the credentials for it.

    Attributes:
        host, port: where the server listens.
        database: the name of the database; empty where none is chosen.
        user, password: who asks; never part of a message.
        socket: path of a socket on this machine, used instead of host and port.
        tls: ``disabled``, ``preferred``, ``required``, ``verify_ca`` or ``verify_identity``.
        ca, cert, key: PEM files for TLS.
        connect_timeout, read_timeout: seconds.
    """

    host: str = "localhost"
    port: int = 3306
    database: str = ""
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    socket: str = ""
    tls: str = "preferred"
    ca: str = ""
    cert: str = ""
    key: str = ""
    connect_timeout: int = _CONNECT_S
    read_timeout: int = _READ_S

    @property
    def shown(self) -> str:
        """The address without credentials, such as ``localhost:3306/shop``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.socket or f'{host}:{self.port}'}/{self.database}"

    def connect(self) -> pymysql.Connection:
        """Return a new connection that delivers every value as text."""
        if self.socket:
            self._knock()
        return pymysql.connect(
            host=self.host,
            port=self.port,
            unix_socket=self.socket or None,
            database=self.database or None,
            user=self.user or None,
            password=self.password.encode(),
            charset="utf8mb4",
            # No decoders: what the server writes is what is delivered.
            conv={**encoders},  # type: ignore[dict-item] # the stubs' own types do not fit
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
            init_command=(
                f"SET SESSION time_zone = '+00:00', sql_mode = '{_SQL_MODE}', "
                f"net_write_timeout = {_NET_WRITE_S}, lock_wait_timeout = {_LOCK_WAIT_S}"
            ),
            **self._encryption(),
        )

    def _knock(self) -> None:
        """Fail as PyMySQL does where nobody listens at the socket, but leave nothing open."""
        try:
            with socket.socket(socket.AF_UNIX) as trial:
                trial.connect(self.socket)
        except OSError as error:
            fault = pymysql.OperationalError(2003, "nobody listens at the socket")
            fault.original_exception = error  # type: ignore[attr-defined] # as PyMySQL does itself
            raise fault from None

    def _encryption(self) -> dict:
        if self.tls == "preferred":
            return {}
        if self.tls == "disabled":
            return {"ssl_disabled": True}
        context = ssl.create_default_context()
        # The certificates that MySQL makes for itself do not pass the strict rules.
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        context.check_hostname = self.tls == "verify_identity"
        context.verify_mode = ssl.CERT_NONE if self.tls == "required" else ssl.CERT_REQUIRED
        if self.ca:
            _load("ssl_ca", self.ca, lambda: context.load_verify_locations(self.ca))
        if self.cert or self.key:
            _load(
                "ssl_cert or ssl_key",
                self.cert or self.key,
                lambda: context.load_cert_chain(self.cert or self.key, self.key or None, _nobody),
            )
        return {"ssl": context}


def _nobody() -> bytes:
    """Stand in for a person who would be asked for the password of a key."""
    return b""


def _load(option: str, path: str, load: Callable[[], None]) -> None:
    try:
        read_bytes(Path(path), name=f"{option}: {path}")  # OpenSSL would wait for a pipe's end
        load()
    except ssl.SSLError:
        raise DataError(
            f"{option}: {path} is no readable PEM file (a key must have no password)."
        ) from None
    except OSError as error:
        raise DataError(f"{option}: {path} cannot be read: {error.strerror}.") from None


def read_address(url: str | None = None) -> Address:
    """Return the address that a URL, or else the environment variable, states.

    Args:
        url: ``mysql://user:password@host:3306/database?options``; each part may come from an
            option file instead, named by the option ``option_file``.

    Raises:
        DataError: there is no URL, it cannot be read or has an unknown option, or a file that it
            names does not exist. No message shows a value that may be a password.

    Example:
        >>> read_address("mysql://reader:secret@db.example:3307/shop").shown
        'db.example:3307/shop'
        >>> read_address("mysql://reader@localhost/shop?pasword=secret")
        Traceback (most recent call last):
            ...
        helpers.base.errors.DataError: The database URL: a password stands before the @, or in ...
    """
    where = VARIABLE if url is None else "The database URL"
    text = (os.environ.get(VARIABLE, "") if url is None else url).strip()
    if not text:
        raise DataError(
            f"There is no database to read: set {VARIABLE}, such as export {VARIABLE}="
            f"'{_EXAMPLE}', or 'mysql:///shop?option_file=~/.my.cnf' to keep the password in a "
            "file."
        )
    parts = _parts(text, where)
    options = _options(parts.pop("query"), where)
    stated = _option_file(options, where) | parts | options
    return _address(stated, where)


def _parts(text: str, where: str) -> dict[str, str]:
    """Return the parts of a URL that are stated, decoded."""
    match = _URL.fullmatch(text)
    if match is None:
        raise DataError(
            f"{where} must look like {_EXAMPLE}; within the user and the password write @ as %40, "
            ": as %3A, / as %2F, ? as %3F, # as %23 and % as %25. (What it holds is not shown.)"
        )
    found = match.groupdict(default="")
    scheme = found.pop("scheme").lower()
    if scheme.split("+")[0] not in ("mysql", "mariadb") or scheme.split("+")[1:] not in (
        [],
        ["pymysql"],
    ):
        raise DataError(f"{where} must begin with mysql:// (or mysql+pymysql://), as {_EXAMPLE}.")
    query = found.pop("query")
    decoded = {k: unquote(v, errors="surrogateescape").strip("[]") for k, v in found.items() if v}
    for name, value in decoded.items():
        _check_characters(name, value, where)
    return decoded | {"query": query}


def _check_characters(name: str, value: str, where: str) -> None:
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in value):
        raise DataError(f"{where}: the {name} holds characters that are no text in UTF-8.")


def _options(query: str, where: str) -> dict[str, str]:
    stated = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in stated.items():
        if name in _OPTIONS:
            _check_characters(name, value, where)
            continue
        if near_match(name.lower(), ["password", "passwd", "pwd"]):
            raise DataError(
                f"{where}: a password stands before the @, or in an option file "
                "(?option_file=~/.my.cnf), never among the options."
            )
        # A name may be a piece of a password that was not encoded: only plain ones are shown.
        shown = f' "{name}"' if re.fullmatch("[a-z]+(_[a-z]+)*", name) and stated[name] else ""
        raise DataError(
            f"{where} has an unknown option{shown}; it may have {', '.join(_OPTIONS)}."
            f"{near_match(name, _OPTIONS) if shown else ''}"
        )
    if stated.get("charset", "utf8mb4").lower() != "utf8mb4":
        raise DataError(
            f"{where}: leave charset out; the server turns every text into utf8mb4 by itself."
        )
    return stated


def _option_file(options: dict[str, str], where: str) -> dict[str, str]:
    """Return what a group of an option file states, by the names that a URL uses."""
    if "option_file" not in options:
        if "option_group" in options:
            raise DataError(f"{where}: option_group belongs to option_file; state both.")
        return {}
    check_path(options["option_file"], option=f"{where}: the option file")
    path, group = Path(options["option_file"]).expanduser(), options.get("option_group", "client")
    try:
        content = read_bytes(path, name=f"{where}: the option file {path}")
        groups = _groups(content.decode("utf-8-sig"))
    except UnicodeDecodeError:  # no byte of it is shown: it may be the password's
        raise DataError(f"{where}: the option file {path} is not UTF-8 text.") from None
    except FileNotFoundError as error:
        raise DataError(
            f"{where}: the option file {path} cannot be read: {error.strerror}."
        ) from None
    if group not in groups:
        raise DataError(
            f"{where}: the option file {path} has no group [{group}]; it has "
            f"{', '.join(f'[{g}]' for g in groups) or 'none'}.{near_match(group, groups)}"
        )
    found = groups[group]
    if "socket" in found:
        found["unix_socket"] = found.pop("socket")
    if found.get("ssl_verify_server_cert", "0").lower() in ("", "1", "on", "true"):
        found.setdefault("ssl_mode", "verify_identity")
    for name, mode in (("skip_ssl", "disabled"), ("ssl", "required")):
        if found.get(name, "0").lower() in ("", "1", "on", "true"):
            found.setdefault("ssl_mode", mode)
    kept = {*_OPTIONS, "user", "password", "host", "port", "database"} - {"charset"}
    found = {name: value for name, value in found.items() if name in kept}
    for name, value in found.items():
        _check_characters(name, value, str(path))
    return found


def _groups(text: str) -> dict[str, dict[str, str]]:
    """Return the groups of an option file, written as MySQL's own programs read it."""
    groups: dict[str, dict[str, str]] = {}
    lines: dict[str, str] = {}
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("[") and "]" in line:
            lines = groups.setdefault(line[1 : line.index("]")].strip(), {})
        elif line and line[0] not in "#;!":
            name, _, value = line.partition("=")
            name = name.partition("#")[0].strip().lower().replace("-", "_")
            lines[name] = _option_value(value.strip())
    return groups


def _option_value(value: str) -> str:
    """Return a value without quotes and comment, its escapes resolved."""
    quoted = re.match(r"""(['"])(.*?)(?<!\\)\1""", value)
    value = quoted[2] if quoted else value.partition("#")[0].strip()
    signs = {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "s": " ", "\\": "\\", '"': '"', "'": "'"}
    return re.sub(r"""\\([btnrs\\"'])""", lambda match: signs[match[1]], value)


def _address(stated: Mapping[str, str], where: str) -> Address:
    def number(name: str, default: int, highest: int) -> int:
        text = stated.get(name, "") or str(default)
        if not re.fullmatch(r"\d{1,9}", text) or not 1 <= int(text) <= highest:
            raise DataError(f"{where}: {name} must be a whole number from 1 to {highest}.")
        return int(text)

    def path(name: str) -> str:
        check_path(stated.get(name, ""), option=f"{where}: {name}")
        return os.path.expanduser(stated.get(name, ""))

    return Address(
        host=stated.get("host", "localhost"),
        port=number("port", 3306, 65535),
        database=stated.get("database", ""),
        user=stated.get("user", ""),
        password=stated.get("password", ""),
        socket=path("unix_socket"),
        tls=_tls(stated, where),
        ca=path("ssl_ca"),
        cert=path("ssl_cert"),
        key=path("ssl_key"),
        connect_timeout=number("connect_timeout", _CONNECT_S, 3600),
        read_timeout=number("read_timeout", _READ_S, 86400),
    )


def _tls(stated: Mapping[str, str], where: str) -> str:
    """Return how to encrypt: as stated, or as strictly as the other options allow."""
    has_ca = bool(stated.get("ssl_ca"))
    mode = stated.get("ssl_mode", "").lower().replace("-", "_")
    if not mode:
        if has_ca:
            return "verify_identity"
        if stated.get("ssl_cert") or stated.get("ssl_key"):
            return "required"
        return "disabled" if stated.get("unix_socket") else "preferred"
    if mode not in _MODES:
        raise DataError(
            f"{where}: ssl_mode must be one of {', '.join(_MODES)}.{near_match(mode, _MODES)}"
        )
    return "verify_ca" if mode == "required" and has_ca else mode
