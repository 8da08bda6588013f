"""Splits Snowflake SQL into tokens: enough to find statements, placeholders and account statements."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import SqlError, syntax

_TOKEN = re.compile(
    r"""
    (?P<space>\s+ | --[^\n]* | //[^\n]* | /\*.*?\*/)
  | (?P<string>'(?:[^'\\]|\\.|'')*')
  | (?P<dollars>\$\$.*?\$\$)
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<word>[^\W\d][\w$]*|\$[\w]+)
  | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
  | (?P<punct>=>|::|->>|->|<=|>=|<>|!=|\|\||.)
    """,
    re.VERBOSE | re.DOTALL,
)

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f"}


@dataclass(frozen=True)
class Token:
    """`text` is the value: unquoted for strings and quoted names, as written otherwise."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """The upper-cased keyword, or an empty text for anything that is not a bare word."""
        return self.text.upper() if self.kind == "word" else ""


def lex(sql: str) -> list[Token]:
    tokens, at = [], 0
    while at < len(sql):
        found = _TOKEN.match(sql, at)
        if not found:
            raise syntax(f"parse error line 1 at position {at} near '{sql[at:at + 10]}'.")
        kind, raw = found.lastgroup, found.group()
        if kind == "punct" and raw in "'\"":
            raise syntax(f"parse error line 1 at position {at} near '{raw}'.")
        if kind == "string":
            tokens.append(Token("string", _unescape(raw[1:-1]), at, found.end()))
        elif kind == "dollars":
            tokens.append(Token("string", raw[2:-2], at, found.end()))
        elif kind == "quoted":
            tokens.append(Token("quoted", raw[1:-1].replace('""', '"'), at, found.end()))
        elif kind != "space":
            tokens.append(Token(kind, raw, at, found.end()))
        at = found.end()
    return tokens


def statements(tokens: list[Token]) -> list[list[Token]]:
    """The tokens between semicolons, empty statements left out."""
    found: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind == "punct" and token.text == ";":
            found.append([])
        else:
            found[-1].append(token)
    return [statement for statement in found if statement]


def _unescape(body: str) -> str:
    return re.sub(r"\\(.)|''", lambda m: _ESCAPES.get(m[1], m[1]) if m[1] else "'", body, flags=re.DOTALL)


class Reader:
    """Walks the tokens of one statement."""

    def __init__(self, tokens: list[Token]):
        self.tokens, self.at = tokens, 0

    @property
    def next(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    @property
    def done(self) -> bool:
        return self.next is None

    def accept(self, *words: str) -> bool:
        """Takes these words (or punctuation) if all of them come next."""
        ahead = self.tokens[self.at : self.at + len(words)]
        if len(ahead) < len(words):
            return False
        if any((t.word or (t.text if t.kind == "punct" else "")) != w for t, w in zip(ahead, words)):
            return False
        self.at += len(words)
        return True

    def expect(self, *words: str) -> None:
        if not self.accept(*words):
            raise self.unexpected()

    def take(self) -> Token:
        token = self.next
        if token is None:
            raise self.unexpected()
        self.at += 1
        return token

    def identifier(self) -> str:
        """One identifier, folded as Snowflake does."""
        token = self.take()
        if token.kind == "quoted":
            return token.text
        if token.kind == "word":
            return token.text.upper()
        if token.kind == "string":  # names may be given as strings, and are then folded too
            return token.text.upper()
        self.at -= 1
        raise self.unexpected()

    def name(self) -> tuple[str, ...]:
        """A dotted name."""
        parts = [self.identifier()]
        while self.accept("."):
            parts.append("PUBLIC" if self.next and self.next.text == "." else self.identifier())
        return tuple(parts)

    def unexpected(self) -> SqlError:
        token = self.next
        return syntax(f"syntax error line 1 at position {token.start if token else 0} "
                      f"unexpected '{token.text if token else '<EOF>'}'.")

    def end(self) -> None:
        if not self.done:
            raise self.unexpected()
