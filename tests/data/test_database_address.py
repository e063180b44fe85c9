"""Addresses: every way to state one, and no message that shows a password."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.base.errors import DataError
from helpers.data.database.address import VARIABLE, Address, read_address
from helpers.data.database.faults import explain


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("mysql://me:pw@db:3307/shop", Address("db", 3307, "shop", "me", "pw")),
        ("mysql+pymysql://me:pw@db/shop", Address("db", 3306, "shop", "me", "pw")),
        ("mariadb://me@db/shop?charset=utf8mb4", Address("db", 3306, "shop", "me")),
        ("mysql://m%40e:a%2Fb%3A%25@[::1]:1/%E5%BA%97", Address("::1", 1, "店", "m@e", "a/b:%")),
        ("mysql:///s?unix_socket=/a.sock", Address(database="s", socket="/a.sock", tls="disabled")),
        ("mysql://db/s?ssl_ca=/ca", Address("db", database="s", ca="/ca", tls="verify_identity")),
        ("mysql://db/s?ssl_mode=required", Address("db", database="s", tls="required")),
        ("mysql://db/s?read_timeout=9", Address("db", database="s", read_timeout=9)),
    ],
)
def test_a_url_states_an_address(url, want):
    assert read_address(url) == want


def test_the_environment_states_it_where_nothing_else_does(monkeypatch):
    monkeypatch.setenv(VARIABLE, " mysql://me:pw@db/shop\n")
    assert read_address().shown == "db:3306/shop"
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(DataError, match=f"set {VARIABLE}, such as export {VARIABLE}='mysql://"):
        read_address()


def option_file(folder: Path, text: str) -> str:
    (folder / "my.cnf").write_text(text, encoding="utf-8")
    return f"mysql:///shop?option_file={folder}/my.cnf"


def test_an_option_file_keeps_the_credentials(tmp_path):
    url = option_file(
        tmp_path,
        "!includedir /etc/none\n# comment\n[mysqld]\nuser=root\n\n[client]\nuser = me # comment\n"
        "password='p#w d'\nhost=db\nport=3307\nssl-ca=/ca.pem\nquick\n[other group]\nuser=you\n"
        'password="a\\\\b\\"c"\nsocket=/s.sock\n',
    )
    want = Address("db", 3307, "shop", "me", "p#w d", tls="verify_identity", ca="/ca.pem")
    assert read_address(url) == want
    assert read_address(url.replace("///", "//you:mine@near/")) == Address(
        "near", 3307, "shop", "you", "mine", tls="verify_identity", ca="/ca.pem"
    )
    other = read_address(f"{url}&option_group=other%20group")
    assert (other.user, other.password, other.socket) == ("you", 'a\\b"c', "/s.sock")


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("ssl-mode=VERIFY_CA", "verify_ca"),
        ("ssl-verify-server-cert", "verify_identity"),
        ("skip-ssl", "disabled"),
        ("ssl=1", "required"),
        ("ssl=0", "preferred"),
    ],
)
def test_an_option_file_says_how_to_encrypt(tmp_path, line, mode):
    assert read_address(option_file(tmp_path, f"[client]\n{line}\n")).tls == mode


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("postgres://me:hunter2@db/shop", "must begin with mysql://"),
        ("db/shop", "must look like mysql://reader:PASSWORD@"),
        ("mysql://me:hun@ter2@db/shop", "write @ as %40"),
        ("mysql://me:hun/ter2@db/shop", "write @ as %40"),
        ("mysql://me:12?hunter2@db/shop", "write @ as %40"),
        ("mysql://me:hunter2#x@db/shop", "write @ as %40"),
        ("mysql://me:hunter2@db:0/shop", "port must be a whole number from 1 to 65535"),
        ("mysql://me:hunter2@db/shop?connect_timeout=soon", "connect_timeout must be a whole"),
        ("mysql://me@db/shop?password=hunter2", "never among the options"),
        ("mysql://me@db/shop?passwort=hunter2", "never among the options"),
        ("mysql://me@db/shop?read_timeot=1", 'option "read_timeot".*Did you mean "read_timeout"'),
        ("mysql://me:1?hunter2", r"has an unknown option; it may have"),
        ("mysql://me:hunter2@db/shop?charset=latin1", "leave charset out"),
        ("mysql://me:hunter2@db/shop?ssl_mode=verify", "ssl_mode must be one of .* Did you mean"),
        ("mysql://me:hunter2@db/shop?option_group=x", "option_group belongs to option_file"),
        ("mysql://me:hunter2@db/shop?option_file=/none", "option file /none cannot be read: No"),
        ("mysql://me:hunter2%00@db/shop", "the password holds characters that are no text"),
        ("mysql://me:%ff@db/shop", "the password holds characters that are no text"),
    ],
)
def test_a_url_that_is_not_right_is_refused_without_its_password(url, pattern):
    with pytest.raises(DataError, match=pattern) as caught:
        read_address(url)
    assert not any(secret in str(caught.value) for secret in ("hun", "ter2"))


def test_an_option_file_that_is_not_right_is_refused_without_its_lines(tmp_path):
    url = option_file(tmp_path, "password=hunter2\n[clients]\nhunter2\npassword=hunter2\n")
    with pytest.raises(DataError, match=r"no group \[client\]; it has \[clients\]") as caught:
        read_address(url)
    assert "hunter2" not in str(caught.value)
    (tmp_path / "my.cnf").write_bytes(b"[client]\npassword=\xff")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_address(url)


@given(st.text(min_size=4))
@example("?a=b@c&password=hunter2#/:")
def test_no_password_shows_whether_encoded_or_not(password):
    secret = "s3cr" + password + "3t"
    for url in (
        f"mysql://me:{secret}@db/shop",
        f"mysql://me:{quote(secret, safe='', errors='replace')}@db/shop",
        f"mysql://me:{secret}",
    ):
        said = what_it_says(url)
        assert "s3cr" not in said
    if "%" not in password and password.isascii() and password.isprintable():
        address = read_address(f"mysql://me:{quote(secret, safe='')}@db/shop")
        assert address.password == secret


def what_it_says(url: str) -> str:
    """Return all that is shown of a URL, whether it can be read or not."""
    try:
        address = read_address(url)
    except DataError as error:
        return repr(error)
    return address.shown + repr(address) + explain(OSError("x"), address, "reading")
