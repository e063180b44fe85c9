"""YAML with line numbers: every value knows where it stands, so that a message can say it.

Nothing is built from the file but text, lists and sections. Names are taken as they are
written: a product called ``no`` stays ``no``, and a date stays text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from helpers.base.errors import DataError
from helpers.base.words import near_match

__all__ = ["Entry", "parse", "shown_text"]

_DEEPEST = 12  # levels of sections in sections


def shown_text(text: str) -> str:
    r"""Return a text as a message may show it: one line, short, nothing unprintable.

    Example:
        >>> shown_text("two\nlines")
        'two lines'
    """
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text[:200].split()))
    return line if len(line) <= 80 else f"{line[:77]}..."


@dataclass(frozen=True)
class Entry:
    """One value of the file.

    Attributes:
        file: name of the file.
        path: the keys that lead here, such as ``task.label``; empty for the whole file.
        line: where it stands, counted from 1.
        node: what YAML made of it.
    """

    file: str
    path: str
    line: int
    node: yaml.Node | None

    def fault(self, must: str, remedy: str = "") -> DataError:
        """Return the error that says where this stands and what must hold."""
        what = shown_text(self.path) or "the file"
        return DataError(f"{self.file}, line {self.line}: {what} {must}.{remedy}")

    def wrong(self, must: str, remedy: str = "") -> DataError:
        """Return the error that also says what came."""
        return self.fault(f"must be {must}; got {self._what()}", remedy)

    def _what(self) -> str:
        if isinstance(self.node, yaml.ScalarNode):
            return f'"{shown_text(self.node.value)}"' if self.node.value else "nothing"
        return "a list" if isinstance(self.node, yaml.SequenceNode) else "a section"

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.node, yaml.SequenceNode)

    @property
    def is_section(self) -> bool:
        """Whether it consists of lines ``name: value``."""
        return isinstance(self.node, yaml.MappingNode)

    @property
    def is_unstated(self) -> bool:
        """Whether nothing is written, or a plain ``null`` or ``~``."""
        return (
            isinstance(self.node, yaml.ScalarNode)
            and self.node.style is None
            and self.node.value in ("", "~", "null")
        )

    def text(self, must: str = "a text") -> str:
        """Return the value as it is written.

        Raises:
            DataError: it is a list or a section, or empty.
        """
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.value.strip():
            raise self.wrong(must)
        return self.node.value

    def one_of(self, allowed: Collection[str]) -> str:
        """Return the value, which must be one of a few words."""
        *others, last = allowed
        words = f"{', '.join(others)} or {last}" if others else last
        value = self.text(words)
        if value not in allowed:
            raise self.wrong(words, near_match(value, allowed))
        return value

    def whole(self, low: int, high: int, *, beside: str = "") -> int:
        """Return the value as a whole number of ``low`` to ``high``."""
        limits = f"a whole number from {low} to {high:,}{beside}"
        value = self.text(limits)
        if not re.fullmatch(r"[0-9]+(_[0-9]+)*", value) or len(value) > 16:
            raise self.wrong(limits)
        if not low <= int(value) <= high:
            raise self.wrong(limits)
        return int(value)

    def number(self, must: str = "a number") -> float:
        """Return the value as a finite number."""
        value = self.text(must)
        if not re.fullmatch(r"[-+]?([0-9]{1,15}(\.[0-9]{0,15})?|\.[0-9]{1,15})", value):
            raise self.wrong(must)
        return float(value)

    def entries(self) -> list[Entry]:
        """Return the values of a list, numbered from 1; of a single value this one."""
        if not isinstance(self.node, yaml.SequenceNode):
            return [self]
        if not self.node.value:
            raise self.fault("is an empty list; fill it, or leave it out")
        return [
            Entry(self.file, f"{self.path}[{i}]", node.start_mark.line + 1, node)
            for i, node in enumerate(self.node.value, start=1)
        ]

    def texts(self, must: str = "a text") -> tuple[str, ...]:
        """Return a list of different texts; a single value is a list of one."""
        found: dict[str, Entry] = {}
        for entry in self.entries():
            value = entry.text(must)
            if value in found:
                raise entry.fault(f'"{shown_text(value)}" stands in the list twice; keep one')
            found[value] = entry
        return tuple(found)

    def section(
        self, known: Iterable[str] | None = None, *, elsewhere: dict[str, str] | None = None
    ) -> dict[str, Entry]:
        """Return the lines of a section by their keys, without those that state nothing.

        Args:
            known: the keys that are allowed; None: any, as where the keys are a person's
                own values. Then lines that state nothing are kept.
            elsewhere: keys that are allowed at another place, and what to do with each.

        Raises:
            DataError: it is no section, or a key is no text, unknown, or there twice.
        """
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong("lines of `name: value`")
        lines: dict[str, Entry] = {}
        for key, value in self.node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise Entry(self.file, self.path, line, key).fault(
                    "has a key that is a list or a section; a key must be a name"
                )
            path = f"{self.path}.{key.value}" if self.path else key.value
            entry = Entry(self.file, path, line, value)
            if key.value in lines:
                raise entry.fault(
                    f"is mapped twice, first in line {lines[key.value].line}; keep one of the two"
                )
            lines[key.value] = entry
        if known is None:
            return lines
        self._refuse_unknown(lines, [*known], elsewhere or {})
        return {key: entry for key, entry in lines.items() if not entry.is_unstated}

    def _refuse_unknown(
        self, lines: dict[str, Entry], known: list[str], elsewhere: dict[str, str]
    ) -> None:
        for key, entry in lines.items():
            if key not in known:
                hint = f" {elsewhere[key]}" if key in elsewhere else near_match(key, known)
                raise Entry(self.file, self.path, entry.line, None).fault(
                    f'has an unknown key "{shown_text(key)}"; it may have {", ".join(known)}', hint
                )


def parse(text: str, name: str) -> Entry | None:
    """Return the whole file as one entry; None where it states nothing.

    Args:
        text: the YAML.
        name: of the file, for messages.

    Raises:
        DataError: it is not YAML, or uses what is not allowed: anchors, tags, more than one
            document.

    Example:
        >>> parse("task: {cutoff: week}", "schema.yaml").section()["task"].line
        1
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except _RefusedError as error:
        raise DataError(f"{name}, line {error}") from None
    except yaml.reader.ReaderError as error:
        number = text.count("\n", 0, error.position) + 1
        raise DataError(
            f"{name}, line {number}: there is a character that no text holds (code "
            f"{ord(str(error.character)[:1] or chr(0))}); is this a text file?"
        ) from None
    except yaml.MarkedYAMLError as error:
        raise DataError(f"{name}{_problem(error, text)}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # Such as a character by a number that no character has.
        line = f", line {loader.line + 1}" if loader else ""
        raise DataError(
            f"{name}{line}: this is not readable YAML: {shown_text(str(error))}."
        ) from None
    if node is None:
        return None
    entry = Entry(name, "", node.start_mark.line + 1, node)
    return None if entry.is_unstated else entry


class _RefusedError(Exception):
    """What YAML allows and we do not; the message begins with the line's number."""


class _Loader(yaml.SafeLoader):
    """Builds plain nodes only, so that no file can be a bomb or run anything."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _RefusedError(
                f"{line}: anchors (&) and aliases (*) are not used here; write the value out, or "
                "put a text that begins so into quotes."
            )
        if event.tag is not None:
            raise _RefusedError(
                f"{line}: tags (!) are not used here; put a text that begins so into quotes."
            )
        if self.depth > _DEEPEST:
            raise _RefusedError(f"{line}: sections stand in sections too deeply; see the example.")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(node, yaml.ScalarNode) and re.search("[\0\ud800-\udfff]", node.value):
            raise _RefusedError(f"{line}: a text holds a character that no name can have.")
        return node


def _problem(error: yaml.MarkedYAMLError, text: str) -> str:
    """Return the place of a fault of YAML, in our words where it is a common one."""
    mark = error.problem_mark or error.context_mark
    problem = shown_text(error.problem or error.context or "unreadable")
    if mark is None:
        return f": this is not readable YAML: {problem}."
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
    written = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in written[: mark.column + 1]:
        remedy = "Indent with blanks, not with tabs."
    elif "mapping values are not allowed" in problem:
        remedy = "Put a text that holds a colon into quotes, and see that keys stand in one column."
    elif "cannot start any token" in problem:
        remedy = "Put a text that begins with such a character into quotes."
    elif "single document" in (error.context or ""):
        remedy = "Keep one document: remove the line ---."
    else:
        remedy = "See that quotes and brackets are closed and that keys stand in one column."
    return f", line {mark.line + 1}: this is not readable YAML: {problem}. {remedy}"
