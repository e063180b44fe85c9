"""What a text file is written in: its bytes as UTF-8, and a guess where they are none."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from helpers.base.errors import DataError
from helpers.base.words import near_match
from helpers.data.files.records import line_ends

__all__ = ["plausible_encodings", "refuse_encoding", "text_pieces"]

_FIRST = 65_536  # bytes that are read for the header
_PIECE = 8_000_000  # and then at once
#: What a person's text may be written in, more frequent ones first.
_CANDIDATES = (
    *("cp1252", "latin-1", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr"),
    *("cp1251", "cp1250"),
)
_KNOWN = ("utf-8", "utf-16", "ascii", *_CANDIDATES)
_MARKS = {  # the longer first: that of UTF-32 begins like that of UTF-16
    **{codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"},
    **{codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"},
}
_MAGIC = {
    b"PK\x03\x04": "it is a workbook of a spreadsheet, or an archive; save it as CSV",
    b"\xd0\xcf\x11\xe0": "it is a workbook of a spreadsheet; save it as CSV",
    b"PAR1": "it is a Parquet file; give it a name that ends in .parquet",
    b"\x1f\x8b": "it is packed by gzip; give it a name that ends in .csv.gz",
}


def text_pieces(
    file: Path, encoding: str, *, seen: Callable[[int], object] = lambda read: None
) -> Iterator[bytes]:
    """Yield a text file's content in UTF-8, without the mark at its beginning.

    A file that is said to be UTF-8 is passed on as it is; who reads it must check it.

    Args:
        file: the path of the file, which is packed by gzip if its name ends in ``.gz``.
        encoding: the encoding that it is written in.
        seen: is called after each piece with the number of bytes read from the file so far.

    Raises:
        DataError: there is no such encoding, the file is written in another one, or it is no
            text.
        OSError, EOFError, zlib.error: it cannot be read or unpacked.
    """
    name = _codec(encoding, file.name)
    packed = file.name.lower().endswith(".gz")
    with file.open("rb") as stream:
        content = gzip.GzipFile(fileobj=stream) if packed else stream
        pieces = _raw(file.name, name, content, lambda: seen(stream.tell()))
        if name == "utf-8":
            yield from pieces
        else:
            yield from _as_utf8(file, name, encoding, pieces)


def _codec(encoding: str, where: str) -> str:
    """Return the usual name of an encoding."""
    try:
        found = codecs.lookup(encoding)
    except (LookupError, ValueError):
        found = None
    if found is None or not found._is_text_encoding:
        raise DataError(
            f"{where}: there is no encoding {encoding!r:.60}; write one such as utf-8, latin-1 or "
            f"gb18030 in schema.yaml.{near_match(encoding, _KNOWN)}"
        )
    return "utf-8" if found.name in ("utf-8", "utf-8-sig", "ascii") else found.name


def _raw(
    where: str, codec: str, stream: BinaryIO | gzip.GzipFile, seen: Callable[[], object]
) -> Iterator[bytes]:
    piece = stream.read(_FIRST)
    if piece:
        seen()
        yield _checked_beginning(where, codec, piece)
    while piece := stream.read(_PIECE):
        seen()
        yield piece


def _checked_beginning(where: str, codec: str, piece: bytes) -> bytes:
    """Return the first piece without the mark of UTF-8; refuse what is no text of this kind."""
    for magic, what in _MAGIC.items():
        if piece.startswith(magic):
            raise DataError(f"{where}: this is no CSV file: {what}.")
    if piece.startswith(codecs.BOM_UTF8):
        if codec != "utf-8":
            raise DataError(
                f"{where}: the file begins with the mark of UTF-8, but schema.yaml states another "
                "encoding; say `encoding: utf-8` there, or leave the line out."
            )
        return piece[len(codecs.BOM_UTF8) :]
    marked = next((name for mark, name in _MARKS.items() if piece.startswith(mark)), "")
    if marked and not codec.startswith(("utf-16", "utf-32")):
        raise DataError(
            f"{where}: the file begins with the mark of {marked.upper()}; say `encoding: {marked}` "
            "in schema.yaml, or save it as UTF-8."
        )
    return piece


def _as_utf8(file: Path, codec: str, stated: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(codec)()
    line, done = 1, b""
    try:
        for piece in pieces:
            done = decoder.decode(piece).encode("utf-8")
            yield done.removeprefix(codecs.BOM_UTF8) if line == 1 else done
            line += line_ends(done)
        yield decoder.decode(b"", final=True).encode("utf-8")
    except UnicodeError as error:
        if isinstance(error, UnicodeDecodeError):
            good = error.object[: error.start].decode(codec, errors="ignore")
            line += line_ends(good.encode("utf-8", errors="replace"))
        raise refuse_encoding(file, stated, line) from None


def refuse_encoding(file: Path, stated: str, line: int) -> DataError:
    """Return what to say of a file that is not in the encoding it is said to be in."""
    shown = "UTF-8" if _codec(stated, file.name) == "utf-8" else stated
    fitting = [e for e in plausible_encodings(_foreign_lines(file)) if e != stated.lower()]
    if fitting:
        others = f" ({', '.join(fitting[1:])} would fit too)" if fitting[1:] else ""
        remedy = f"say `encoding: {fitting[0]}` in schema.yaml{others}, or save the file as UTF-8"
    else:
        remedy = "save the file as UTF-8"
    return DataError(f"{file.name}: line {line} is not {shown} text; {remedy}.")


def _foreign_lines(file: Path, limit: int = 200_000) -> bytes:
    """Return lines that are not ASCII, from all over a file."""
    opener = gzip.open if file.name.lower().endswith(".gz") else open
    found: list[bytes] = []
    size = 0
    with opener(file, "rb") as stream:
        while size < limit and (piece := stream.read(_PIECE)):
            piece += stream.readline(_PIECE)  # a letter may have several bytes
            for line in piece.splitlines():
                if size < limit and not line.isascii():
                    found.append(line)
                    size += len(line)
    return b"\n".join(found)


def plausible_encodings(sample: bytes) -> list[str]:
    """Return up to three encodings that a text may be written in, the likeliest first.

    Several encodings can often read the same bytes, and all but one of them give nonsense. So each
    reading gets points for letters that are frequent in its script, and loses points for words
    that nobody writes, such as ``MГјsli``, in which Latin and Cyrillic letters meet. On nine
    nasty files this was right nine times, and charset-normalizer five times; see
    :mod:`helpers.data.files`.

    Args:
        sample: whole lines of the text, of which those that are not ASCII are enough.

    Example:
        >>> plausible_encodings("Müsli, Käse; Crème brûlée".encode("latin-1"))[:2]
        ['cp1252', 'latin-1']
        >>> plausible_encodings("数量很大的商品,红色的连衣裙".encode("gb18030"))[0]
        'gb18030'
    """
    texts: dict[str, str] = {}
    for name in ("utf-8", *_CANDIDATES):
        with contextlib.suppress(UnicodeDecodeError):
            text = sample.decode(name)
            # Of encodings that read the same text one is enough. Only latin-1 is named in any
            # case, beside cp1252, which reads the same in most files.
            if name == "latin-1" or text not in texts.values():
                texts[name] = text
    scores = {name: round(_likeness(text, name), 1) for name, text in texts.items()}
    best = max(scores.values(), default=0.0)
    # Within a quarter of a point the texts look equally well written: a person has to choose.
    fitting = [n for n, s in scores.items() if s > 0 and s >= best - 0.25]
    return sorted(fitting, key=lambda n: -scores[n])[:3]


_LETTERS = re.compile(r"[^\W\d_ªºµ]+")  # the signs of ordinals and of micro belong to no script
#: Signs where West European text has them: prices, and marks before a question or after a number.
_PLACED = re.compile(r"(?<=\d) ?[£€]|(?<![^\W\d_])(?:[£€](?= ?\d)|[¿¡](?=[^\W\d_]))")


def _likeness(text: str, encoding: str) -> float:
    """Return how much a text looks like language: 1 is all of it, 0 or less is none."""
    foreign = [c for c in text if c > "\x7f"]
    if not foreign:
        return 1.0
    points = sum(_points(c, encoding) for c in foreign)
    if encoding not in _COMMON:
        points += sum(1.0 - _points(m[0].strip(), encoding) for m in _PLACED.finditer(text))
    # Words of two scripts, or in capitals within, are what a wrong encoding makes of right ones.
    for word in _LETTERS.findall(text):
        points -= _strangeness(word)
    return points / len(foreign)


def _points(letter: str, encoding: str) -> float:
    kind = unicodedata.category(letter)
    if kind in ("Cc", "Cn", "Co"):  # control characters, or none that Unicode knows
        return -2.0
    if encoding in _COMMON:
        return _COMMON[encoding](letter)
    return 1.0 if kind[0] == "L" else 0.5 if letter in "€£°²½–—‘’“”…®™«»·" else 0.0


def _strangeness(word: str) -> float:
    """Return the points a word loses: mixed scripts, accents throughout, capitals within."""
    if word.isascii():
        return 0.0
    scripts = {"LATIN" if c.isascii() else unicodedata.name(c, "").split(" ")[0] for c in word}
    own = sum(not c.isascii() for c in word)
    dense = own if "LATIN" in scripts and own > 2 and own > 0.6 * len(word) else 0
    scripts -= {"HIRAGANA", "KATAKANA", "FULLWIDTH", "CJK"} if "LATIN" not in scripts else set()
    jumps = sum(a.islower() and b.isupper() for a, b in zip(word, word[1:], strict=False))
    return 2.0 * (len(scripts) > 1) + jumps + 0.5 * dense


def _lead(letter: str, codec: str) -> int:
    """Return the first of the bytes that a letter has; 0 where it has one or none."""
    coded = letter.encode(codec, errors="ignore")
    return coded[0] if len(coded) == 2 else 0


def _east(codec: str, first: int, last: int) -> Callable[[str], float]:
    """Return a judge of letters: frequent ones stand in certain rows of their encoding."""

    def points(letter: str) -> float:
        if "\u3001" <= letter <= "\u3011" or "\uff01" <= letter <= "\uff5e":
            return 1.0  # punctuation
        return 1.0 if first <= _lead(letter, codec) <= last else -0.5

    return points


def _japanese(codec: str, first: int, last: int) -> Callable[[str], float]:
    kanji = _east(codec, first, last)
    return lambda c: 1.2 if "\u3041" <= c <= "\u30ff" else -0.5 if c > "\uff60" else kanji(c)


_COMMON: dict[str, Callable[[str], float]] = {
    "gb18030": _east("gb2312", 0xB0, 0xD7),
    "big5": _east("big5", 0xA4, 0xC6),
    "shift_jis": _japanese("shift_jis", 0x88, 0x97),
    "euc-jp": _japanese("euc-jp", 0xB0, 0xCF),
    "euc-kr": lambda c: 1.2 if "\uac00" <= c <= "\ud7a3" else -0.5,
}
