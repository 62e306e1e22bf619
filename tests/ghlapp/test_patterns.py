"""Text from outside costs time in proportion to its length: in every pattern of the product, every text field of the
API and every header that it reads, with inputs made to let a pattern backtrack."""

import ast
import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from pydantic import BaseModel

from appointments import times
from appointments.pagination import PageQuery
from appointments.requests import (
    BookingRequest,
    ChangeRequest,
    ContactDetails,
    CustomField,
    InvalidRequest,
    ListQuery,
    read,
)
from ghlapp.redaction import Filter
from oauth import redis_clients
from oauth.models import Location
from tests.fixtures import Persona

PACKAGES = ("ghlapp", "appointments", "webhooks", "oauth", "ghl")
# Lengths that exponential, cubic and quadratic work show at, each before the next one would take for ever.
LENGTHS = (24, 36, 400, 4_000, 30_000)
# In CPU time of the thread, so that a busy machine does not count. Linear work takes a few milliseconds.
MAX_CPU_SECONDS = 0.2
NO_MATCH = "\x01"


def modules() -> Iterator[Any]:
    for package in PACKAGES:
        root = importlib.import_module(package)
        for found in pkgutil.walk_packages(root.__path__, f"{package}."):
            if ".migrations" not in found.name and not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def within(value: Any, depth: int = 3) -> Iterator[re.Pattern[str]]:
    """The patterns in a module's attribute: itself, in a table, or in a row of one."""
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from within(each, depth - 1)
    elif depth and isinstance(value, dict):
        yield from within(list(value.values()), depth - 1)
    elif depth and type(value).__module__.startswith(PACKAGES):
        names = getattr(type(value), "__slots__", None) or vars(value)
        yield from within([getattr(value, name, None) for name in names], depth - 1)


def calls(module: Any) -> Iterator[tuple[str, str, ast.expr]]:
    """Method calls with an argument, as the object's last name, the method and that argument."""
    with open(module.__file__, encoding="utf-8") as source:  # noqa: PTH123
        tree = ast.parse(source.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Attribute):
            yield ast.unparse(node.func.value).rpartition(".")[2], node.func.attr, node.args[0]


SEARCHES = {"search", "sub", "subn", "split", "findall", "finditer"}


def patterns() -> dict[str, tuple[re.Pattern[str], bool]]:  # noqa: C901
    """Every pattern, and whether it is searched for rather than held against a whole text."""
    all_modules = list(modules())
    called = [(module, *each) for module in all_modules for each in calls(module)]
    searched = {name for _, name, method, _ in called if method in SEARCHES and name != "re"}
    found: dict[str, tuple[re.Pattern[str], bool]] = {}

    def note(pattern: re.Pattern[str], is_searched: bool) -> None:
        if isinstance(pattern.pattern, str):
            name = f"{pattern.pattern!r} {pattern.flags}"
            found[name] = (pattern, is_searched or found.get(name, (pattern, False))[1])

    for module in all_modules:
        own = {name: value for name, value in vars(module).items() if not name.startswith("__")}
        for value in list(own.values()):
            if isinstance(value, type) and value.__module__ == module.__name__:
                own.update(vars(value))
        for name, value in own.items():
            for pattern in within(value):
                note(pattern, name in searched or not isinstance(value, re.Pattern))
    for module, name, method, argument in called:
        text = getattr(module, argument.id, None) if isinstance(argument, ast.Name) else None
        if isinstance(argument, ast.Constant):
            text = argument.value
        if name == "re" and method != "compile" and isinstance(text, str):
            note(re.compile(text), method in SEARCHES)
    return found


PATTERNS = patterns()


def attacks(pattern: re.Pattern[str], length: int) -> set[str]:
    """Texts that fit up to a repeated part, repeat that part or all before it, and then do not fit."""
    texts = set()
    tree = parser.parse(pattern.pattern, pattern.flags)
    for number in range(_repeats(tree)):
        before, repeated = _sample(tree, number)
        for pumped in {repeated, before + repeated, before, f"{before} ", f"{repeated} ", " "} - {""}:
            body = pumped * (length // len(pumped) + 1)
            for start in {before, ""}:
                texts |= {f"{start}{body}{NO_MATCH}", f"{start}{body}"}
    return texts


def _is_repeat(op: Any) -> bool:
    return op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT)


def _repeats(tree: Any) -> int:
    return len(list(_walk_repeats(tree)))


def _walk_repeats(tree: Any) -> Iterator[Any]:
    for op, argument in tree:
        if _is_repeat(op):
            if argument[1] == ops.MAXREPEAT or argument[1] > 50:
                yield argument
            yield from _walk_repeats(argument[2])
        elif op is ops.SUBPATTERN:
            yield from _walk_repeats(argument[3])
        elif op is ops.BRANCH:
            for each in argument[1]:
                yield from _walk_repeats(each)
        elif op in (ops.ASSERT, ops.ASSERT_NOT):
            yield from _walk_repeats(argument[1])


def _sample(tree: Any, number: int) -> tuple[str, str]:  # noqa: C901
    """A text that fits what stands before the repeat of that number, and one that fits what it repeats."""
    wanted = list(_walk_repeats(tree))[number]
    groups: dict[int, str] = {}

    def text_of(part: Any) -> tuple[str, bool]:
        made = ""
        for op, argument in part:
            if _is_repeat(op) and argument is wanted:
                return made, True
            piece, is_cut = piece_of(op, argument)
            made += piece
            if is_cut:
                return made, True
        return made, False

    def piece_of(op: Any, argument: Any) -> tuple[str, bool]:  # noqa: PLR0911
        if op is ops.LITERAL:
            return chr(argument), False
        if op in (ops.ANY, ops.NOT_LITERAL, ops.IN, ops.CATEGORY):
            return _character(op, argument), False
        if _is_repeat(op):
            piece, is_cut = text_of(argument[2])
            return (piece, True) if is_cut else (piece * max(1, argument[0]), False)
        if op is ops.SUBPATTERN:
            piece, is_cut = text_of(argument[3])
            groups[argument[0]] = piece
            return piece, is_cut
        if op is ops.BRANCH:
            made = [text_of(each) for each in argument[1]]
            return next((each for each in made if each[1]), made[0])
        if op is ops.GROUPREF:
            return groups.get(argument, ""), False
        return "", False

    before, _ = text_of(tree)
    return before, text_of([(op, argument) for op, argument in wanted[2] if argument is not wanted])[0]


def _character(op: Any, argument: Any) -> str:
    """A character that a class takes, of those that patterns quarrel about first."""
    for candidate in '0aAbf <-"._,; \t':
        if _takes(op, argument, candidate):
            return candidate
    return next((chr(code) for code in range(1, 0x250) if _takes(op, argument, chr(code))), "x")


CATEGORIES: dict[Any, Callable[[str], bool]] = {
    ops.CATEGORY_DIGIT: str.isdigit,
    ops.CATEGORY_SPACE: str.isspace,
    ops.CATEGORY_WORD: lambda one: one.isalnum() or one == "_",
    ops.CATEGORY_NOT_DIGIT: lambda one: not one.isdigit(),
    ops.CATEGORY_NOT_SPACE: lambda one: not one.isspace(),
    ops.CATEGORY_NOT_WORD: lambda one: not (one.isalnum() or one == "_"),
}


def _takes(op: Any, argument: Any, one: str) -> bool:
    if op is ops.ANY:
        return True
    if op is ops.CATEGORY:
        return CATEGORIES[argument](one)
    if op is ops.RANGE:
        return bool(argument[0] <= ord(one) <= argument[1])
    if op in (ops.LITERAL, ops.NOT_LITERAL):
        return (argument == ord(one)) == (op is ops.LITERAL)
    negated = argument[0][0] is ops.NEGATE
    return any(_takes(*each, one) for each in argument if each[0] is not ops.NEGATE) != negated


def seconds(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


def is_linear(work: Callable[[str], object], texts: Callable[[int], set[str]]) -> bool:
    return all(
        seconds(lambda text=text: work(text)) < MAX_CPU_SECONDS  # type: ignore[misc]
        for length in LENGTHS
        for text in texts(length)
    )


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_it_is_linear_in_every_pattern_of_the_product(name: str) -> None:
    pattern, is_searched = PATTERNS[name]
    work = pattern.search if is_searched else pattern.fullmatch

    assert is_linear(work, lambda length: attacks(pattern, length))


def test_it_finds_the_patterns_of_the_product() -> None:
    """A module's, a class's, a table's, and those that stand where they are used."""
    written = {pattern.pattern for pattern, _ in PATTERNS.values()}

    assert {
        times.WRITTEN.pattern,
        Filter.hidden_settings.pattern,
        "route is not yet supported by the IAM",
    } <= written
    assert {redis_clients.HOST, "<[^<>]*>"} <= written


@pytest.mark.parametrize(
    "pattern",
    [
        # The product's own once: 8,000 zeros took 2 s.
        r"(?:^|[,;\s])wait\s*=\s*\"?0*(\d+)\"?(?=$|[,;\s])",
        r"<[^>]*>",
    ],
)
def test_it_would_notice_one_that_is_not(pattern: str) -> None:
    assert not is_linear(re.compile(pattern).search, lambda length: attacks(re.compile(pattern), length))


HOSTILE = (
    "0",
    "9",
    " ",
    "wait=",
    "wait=0",
    ",",
    ";",
    "=",
    '"',
    'W/"',
    '"",',
    "a@",
    "\u0130",
    "+0 ",
    "../",
    "*/*,",
    "a/b;q=0,",
)


def long_texts(longest: int = LENGTHS[-1]) -> Iterator[str]:
    for start in ("", "wait=", 'W/"', "FREQ=DAILY;COUNT=", "2027-06-23T03:30:00.", "a@"):
        for piece in HOSTILE:
            yield (start + piece * longest)[:longest]


@pytest.mark.parametrize(
    "header",
    ["Prefer", "Idempotency-Key", "If-Match", "Accept", "Content-Type", "Authorization", "X-Request-Id"],
)
def test_it_reads_no_header_for_long(acme: Persona, header: str) -> None:
    acme.location.brake(Location.Waiting.DAILY_QUOTA, None)  # or `wait` would be waited for
    path = acme.book().headers["Location"]
    for text in ("wait=" + "0" * 16_000, 'W/"' * 5_000, "a/b;q=0," * 2_000, "=" * 16_000, ", " * 8_000):
        given = {header: text}
        taken = seconds(lambda given=given: acme.api.patch(path, {"title": ""}, format="json", headers=given))
        taken += seconds(lambda given=given: acme.book(None, **given))
        assert taken < 1, text[:40]


def text_fields() -> list[tuple[type[BaseModel], str]]:
    asked = (BookingRequest, ChangeRequest, ListQuery, ContactDetails, CustomField, PageQuery)
    return [(model, field.alias or name) for model in asked for name, field in model.model_fields.items()]


@pytest.mark.parametrize(("model", "name"), text_fields())
def test_it_reads_no_field_for_long(model: type[BaseModel], name: str) -> None:
    def work(text: str) -> None:
        with suppress(InvalidRequest):
            read(model, {name: text})

    assert [text[:40] for text in long_texts() if seconds(lambda: work(text)) > MAX_CPU_SECONDS] == []  # noqa: B023
