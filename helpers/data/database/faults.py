"""What a server or a connection says when something fails, as a sentence for a person."""

from __future__ import annotations

import socket
import ssl

from sqlalchemy.exc import DBAPIError

from helpers.data.database.address import Address

__all__ = ["CUT", "explain", "number_of"]

#: Numbers of a connection or a query that ended before it was done.
CUT = frozenset({0, 1053, 1152, 1158, 1159, 1160, 1161, 1184, 1317, 1927, 2006, 2013, 2014, 2027})

_SENTENCES = {
    1040: "{where} has no connection left; wait, and start again.",
    1044: "The user may not use the database of {where}; ask for the right to SELECT there.",
    1045: "{where} refuses the user or the password; correct them in WORKBOOK_DB_URL or the "
    "option file (in a URL, @ : / ? # % in a password are written as %40 %3A %2F %3F %23 %25).",
    1049: "There is no database at {where}; correct the name at the end of the URL.",
    1050: "{where} already holds one of the tables that were to be made; use an empty database.",
    1054: "{where}: a column went missing while {doing}; the table was changed. Start again.",
    1142: "{where}: the user has no right for {doing}; ask for the right to SELECT the table.",
    1146: "{where}: the table went missing while {doing}; start again.",
    1153: "{where}: a row is larger than the server takes; raise its max_allowed_packet.",
    1205: "{where}: another connection locks the table, and {doing} waited too long; end the "
    "other work, or try again later.",
    1356: "{where}: the view can no longer be computed while {doing}: a table or column under it "
    "is gone, or its owner has lost rights. Correct the view.",
    1412: "{where}: the table was altered while {doing}; start again.",
    2026: "{where} offers no TLS, but ssl_mode asks for it; turn TLS on in the server, or set "
    "ssl_mode=disabled where the network is trusted.",
    2059: "{where} wants a kind of login that PyMySQL does not know; give the user another "
    "(caching_sha2_password, mysql_native_password or ed25519).",
}
_SENTENCES |= dict.fromkeys((1698,), _SENTENCES[1045])
_SENTENCES |= dict.fromkeys((1129, 1130), "{where} lets no connection in from this machine.")
_SENTENCES |= dict.fromkeys((1143, 1370, 1227), _SENTENCES[1142])
_SENTENCES |= dict.fromkeys((1203, 1226), _SENTENCES[1040])
_SENTENCES |= dict.fromkeys((1213, 3572), _SENTENCES[1205])
_SENTENCES |= dict.fromkeys(
    (1969, 3024),
    "{where}: the server's own time limit for a statement (max_statement_time or "
    "max_execution_time) ended it while {doing}; raise the limit for this user.",
)
_SENTENCES |= dict.fromkeys(
    (1062, 1264, 1265, 1292, 1366, 1406, 1048, 1364),
    "{where}: a value does not fit its column while {doing} (fault {number} of MySQL: too long, "
    "out of range, of another type, missing, or seen before).",
)


def number_of(error: BaseException) -> int:
    """Return MySQL's number of an error, or -1 where it has none.

    Example:
        >>> import pymysql
        >>> number_of(pymysql.OperationalError(1045, "Access denied"))
        1045
    """
    error = _original(error)
    number = error.args[0] if error.args else None
    return number if isinstance(number, int) else -1


def explain(error: BaseException, address: Address, doing: str) -> str:
    """Return a sentence on an error: what, where, and what to do.

    Args:
        error: what PyMySQL, SQLAlchemy or the system raised.
        address: the server; shown without credentials.
        doing: what was being done, such as ``reading table "orders"``.

    Example:
        >>> import pymysql
        >>> error = pymysql.OperationalError(1040, "Too many connections")
        >>> explain(error, Address(database="shop"), "connecting")
        'localhost:3306/shop has no connection left; wait, and start again.'
    """
    error, number = _original(error), number_of(error)
    where = address.shown
    if number == 2003 or isinstance(error, ssl.SSLError):
        return _unreachable(getattr(error, "original_exception", error), address)
    if "timed out" in str(error):
        return (
            f"{where}: the server did not answer for {address.read_timeout} s while {doing}; look "
            "at the server and the network, or add read_timeout=3600 to the URL's options."
        )
    if "package is required" in str(error):
        package = "cryptography" if "cryptography" in str(error) else "pynacl"
        remedy = " or connect with TLS (ssl_mode=required)," if package == "cryptography" else ""
        return (
            f"{where}: this user's kind of login needs one more package: pip install {package},"
            f"{remedy} and start again."
        )
    if number in CUT or number == -1:
        return (
            f"{where}: the connection was cut while {doing} (fault {max(number, 0)}: killed, or "
            "the server or the network stopped); nothing of it was kept. Start again."
        )
    said = _SENTENCES.get(number, "{where}: the server refuses {doing} with fault {number}.")
    return said.format(where=where, doing=doing, number=number)


def _original(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _unreachable(cause: BaseException, address: Address) -> str:
    where = address.shown
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"{where}: the server's certificate is not accepted: {cause.verify_message}. Name its "
            "authority with ssl_ca, and the host as the certificate does."
        )
    if isinstance(cause, ssl.SSLError):
        return f"{where}: no encrypted connection comes about: {cause.reason or 'TLS failed'}."
    if isinstance(cause, socket.gaierror):
        return f"{where}: there is no such host; correct the name, or look at the network."
    if isinstance(cause, TimeoutError):
        return (
            f"{where}: no answer within {address.connect_timeout} s; look at the host, the port "
            "and the firewall."
        )
    reason = getattr(cause, "strerror", "") or "no connection"
    return f"{where}: no MySQL server answers ({reason}); start it, or correct host and port."
