"""The text form of label selectors: "app in (web, api), tier != cache, !canary".

Used where a user writes a selector on one line (command line, policies). The grammar is
Kubernetes', with its corners: "a in ()" is the empty value, "a=" too, "in" may be a key.
"""

from __future__ import annotations

from herz.errors import ConfigError
from herz.model.labels import (
    DOES_NOT_EXIST,
    DOUBLE_EQUALS,
    EQUALS,
    EVERYTHING,
    EXISTS,
    GREATER,
    IN,
    LESS,
    NOT_EQUALS,
    NOT_IN,
    LabelMatcher,
    Requirement,
    label_key_problem,
    make_requirement,
)

_BLANKS = " \t\r\n"
_SYMBOLS = ("==", "!=", "=", "!", "(", ")", ",", ">", "<")
_SPECIAL = frozenset("=!(),><")
_OPERATORS = {
    "in": IN,
    "notin": NOT_IN,
    "=": EQUALS,
    "==": DOUBLE_EQUALS,
    "!=": NOT_EQUALS,
    ">": GREATER,
    "<": LESS,
}
_FIX = 'write e.g. "app in (web,api),tier!=cache,!canary"'
_END = ""


def parse_selector(text: str) -> LabelMatcher:
    """The matcher of a text selector; an empty text matches everything.

    Raises:
        ConfigError: the text isn't in the grammar, or a key or value is no label text.
    """
    requirements = _Parser(text).parse()
    ordered = sorted(requirements, key=lambda requirement: requirement.key)
    return LabelMatcher(tuple(ordered)) if ordered else EVERYTHING


class _Parser:
    """Reads tokens from left to right. The end is the empty token, which no other token is."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._position = 0

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        if self._peek() == _END:
            return requirements
        # Bound: every round takes at least one token.
        while True:
            requirements.append(self._requirement())
            separator = self._take()
            if separator == _END:
                return requirements
            if separator != ",":
                raise self._error(separator, "',' or the end")

    def _requirement(self) -> Requirement:
        is_negated = self._peek() == "!"
        if is_negated:
            self._take()
        key = self._take()
        if not _is_word(key):
            raise self._error(key, "a label key")
        if problem := label_key_problem(key):
            raise ConfigError(problem, value=key, fix=_FIX)
        if is_negated:
            return make_requirement(key, DOES_NOT_EXIST, ())
        if self._peek() in (_END, ","):
            return make_requirement(key, EXISTS, ())
        sign = self._take()
        operator = _OPERATORS.get(sign)
        if operator is None:
            raise self._error(sign, "an operator")
        values = self._values() if operator in (IN, NOT_IN) else {self._exact_value()}
        return make_requirement(key, operator, sorted(values))

    def _exact_value(self) -> str:
        if self._peek() in (_END, ","):
            return ""
        value = self._take()
        if not _is_word(value):
            raise self._error(value, "a value")
        return value

    def _values(self) -> set[str]:
        """The values between parentheses; a missing one beside a comma is the empty value."""
        if (opening := self._take()) != "(":
            raise self._error(opening, "'('")
        values: set[str] = set()
        word = ""
        while True:
            token = self._take()
            if token in (",", ")"):
                values.add(word)
                word = ""
                if token == ")":
                    return values
            elif _is_word(token) and not word:
                word = token
            else:
                raise self._error(token, "',' or ')'")

    def _peek(self) -> str:
        return self._tokens[self._position]

    def _take(self) -> str:
        token = self._tokens[self._position]
        # The end stays where it is: it may be taken any number of times.
        self._position = min(self._position + 1, len(self._tokens) - 1)
        return token

    def _error(self, found: str, expected: str) -> ConfigError:
        seen = f"found {found!r}" if found else "found the end"
        return ConfigError(f"{seen} where {expected} was expected", value=self._text, fix=_FIX)


def _tokens(text: str) -> list[str]:
    """Words and symbols in order, then the end."""
    tokens: list[str] = []
    position = 0
    while position < len(text):
        if text[position] in _BLANKS:
            position += 1
            continue
        symbol = next((item for item in _SYMBOLS if text.startswith(item, position)), None)
        if symbol is None:
            end = position
            while end < len(text) and text[end] not in _SPECIAL and text[end] not in _BLANKS:
                end += 1
            symbol = text[position:end]
        tokens.append(symbol)
        position += len(symbol)
    return [*tokens, _END]


def _is_word(token: str) -> bool:
    """Whether the token is a key or a value ("in" and "notin" may be either)."""
    return token != _END and token[0] not in _SPECIAL
