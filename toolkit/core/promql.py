"""Static analysis of PromQL expressions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import promql_parser
from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)

SCALARS = frozenset({"pi", "scalar", "time"})
"""Functions that return a number, not a vector."""
RATES = frozenset({"rate", "increase", "irate"})
"""Functions of counters, which see a replaced container as a reset."""
BOUNDS = frozenset({">", "<", ">=", "<="})
COMPARISONS = frozenset({"==", "!="}) | BOUNDS


def metrics_in(expr: str) -> set[str]:
    """The names of the metrics that an expression selects; a selector with a regular expression has none.

    Raises:
        ValueError: the expression does not parse; the message has the position.
    """
    found: set[str] = set()

    def visit(node: Expr) -> None:
        if isinstance(node, VectorSelector):
            found.update(_names(node))
        elif isinstance(node, MatrixSelector):
            visit(node.vector_selector)

    promql_parser.walk(promql_parser.parse(expr), visit)
    return found


def partial_sums(expr: str, absent: Callable[[str], bool]) -> list[str]:
    """The operands of ``+`` and ``-`` between vectors that can be empty, which empties the result; shortest first.

    Args:
        expr: The expression.
        absent: Whether a metric with this name may have no series.

    Raises:
        ValueError: the expression does not parse; the message has the position.
    """
    found: list[str] = []

    def visit(node: Expr) -> None:
        if isinstance(node, BinaryExpr) and str(node.op) in {"+", "-"}:
            sides = (node.lhs, node.rhs)
            if not any(map(_is_scalar, sides)):
                found.extend(" ".join(str(side).split()) for side in sides if _may_be_empty(side, absent))

    promql_parser.walk(promql_parser.parse(expr), visit)
    return sorted(found, key=len)


@dataclass(frozen=True)
class Reads:
    """The inputs of an expression: metrics by their values, metrics at an earlier time, the absence of metrics.

    A counter that is read by its rate or increase only is not among the values. ``instants`` are the values that are
    read without a range: each at most as old as the look-back.
    """

    values: frozenset[str] = frozenset()
    instants: frozenset[str] = frozenset()
    former: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()


def reads(expr: str) -> Reads:
    """The inputs of an expression.

    Raises:
        ValueError: the expression does not parse; the message has the position.
    """
    values: set[str] = set()
    instants: set[str] = set()
    former: set[str] = set()
    absent: set[str] = set()

    def visit(node: Expr, found: set[str]) -> None:
        match node:
            case VectorSelector():
                (former if node.offset else found).update(_names(node))
                instants.update(() if node.offset or found is absent else _names(node))
            case MatrixSelector(vector_selector=inner):
                (former if inner.offset else found).update(_names(inner))
            case Call():
                kind = absent if node.func.name.startswith("absent") else found
                for each in node.args:
                    visit(each, set() if node.func.name in RATES else kind)
            case BinaryExpr():
                visit(node.lhs, found)
                visit(node.rhs, found)
            case ParenExpr(expr=inner) | UnaryExpr(expr=inner) | SubqueryExpr(expr=inner) | AggregateExpr(expr=inner):
                visit(inner, found)

    visit(promql_parser.parse(expr), values)
    return Reads(frozenset(values), frozenset(instants), frozenset(former), frozenset(absent))


def has_threshold(expr: str) -> bool:
    """Whether an expression bounds its value, rather than a condition beside it.

    Raises:
        ValueError: the expression does not parse; the message has the position.
    """
    return _bounded(promql_parser.parse(expr))


def _bounded(node: Expr) -> bool:
    match node:
        case BinaryExpr():
            operator = str(node.op)
            if operator in {"and", "unless"}:
                return _bounded(node.lhs)
            return operator in BOUNDS or _bounded(node.lhs) or _bounded(node.rhs)
        case Call():
            return any(map(_bounded, node.args))
        case ParenExpr(expr=inner) | UnaryExpr(expr=inner) | SubqueryExpr(expr=inner) | AggregateExpr(expr=inner):
            return _bounded(inner)
    return False


def bare_timestamps(expr: str) -> list[str]:
    """The metrics that are taken for times whatever their value: one that is 0 is half a century ago.

    That is a metric in a difference with ``time()``, or below a bound that is made of it.

    Raises:
        ValueError: the expression does not parse; the message has the position.
    """
    found: list[str] = []

    def visit(node: Expr) -> None:
        if not isinstance(node, BinaryExpr):
            return
        operator, sides = str(node.op), (node.lhs, node.rhs)
        if operator == "-":
            pairs = [sides, sides[::-1]]
        elif operator in {"<", "<="}:
            pairs = [sides[::-1]]
        elif operator in {">", ">="}:
            pairs = [sides]
        else:
            return
        for now, other in pairs:
            if _is_now(now):
                found.extend(_bare(other))

    promql_parser.walk(promql_parser.parse(expr), visit)
    return found


def _is_now(node: Expr) -> bool:
    """Whether a node is ``time()``, or that plus or minus a number."""
    match node:
        case Call():
            return node.func.name == "time"
        case ParenExpr(expr=inner):
            return _is_now(inner)
        case BinaryExpr():
            return _is_scalar(node) and (_is_now(node.lhs) or _is_now(node.rhs))
    return False


def _bare(node: Expr) -> list[str]:
    """The metrics whose values a node passes on, even if they are 0."""
    match node:
        case VectorSelector():
            return _names(node)
        case MatrixSelector(vector_selector=inner) | ParenExpr(expr=inner) | AggregateExpr(expr=inner):
            return _bare(inner)
        case Call() if node.func.name.endswith("_over_time"):
            return [name for each in node.args for name in _bare(each)]
        case BinaryExpr() if str(node.op) == "or":
            return [*_bare(node.lhs), *_bare(node.rhs)]
        case BinaryExpr() if str(node.op) in {"and", "unless"}:
            return _bare(node.lhs)
    return []


def unscraped_news(expr: str) -> list[str]:
    """The metrics that count as new where they are missing at an earlier time, also if nothing was scraped then.

    The condition that their target was scraped is ``and … up offset D == 1``, with the same offset, after
    ``x unless x offset D``.

    Raises:
        ValueError: the expression does not parse; the message has the position.
    """
    found: list[str] = []
    guarded: set[str] = set()

    def visit(node: Expr) -> None:
        if not isinstance(node, BinaryExpr):
            return
        if str(node.op) == "and":
            lhs = node.lhs
            while isinstance(lhs, ParenExpr):
                lhs = lhs.expr
            if isinstance(lhs, BinaryExpr) and {each for _, each in _offsets(lhs.rhs)} == _scraped_at(node.rhs):
                guarded.add(str(lhs))
        elif str(node.op) == "unless" and str(node) not in guarded:
            own = metrics_in(str(node.lhs))
            found.extend(name for name, _ in _offsets(node.rhs) if name in own)

    promql_parser.walk(promql_parser.parse(expr), visit)
    return found


def _offsets(node: Expr) -> list[tuple[str, str]]:
    """The metrics that a node reads at an earlier time, and their offsets."""
    found: list[tuple[str, str]] = []

    def visit(each: Expr) -> None:
        if isinstance(each, VectorSelector) and each.offset:
            found.extend((name, str(each.offset)) for name in _names(each))

    promql_parser.walk(node, visit)
    return found


def _scraped_at(node: Expr) -> set[str]:
    """The offset at which a condition requires ``up`` to be 1; empty for another condition."""
    match node:
        case BinaryExpr(lhs=VectorSelector() as up, rhs=NumberLiteral(val=1.0)) if str(node.op) == "==":
            return {each for name, each in _offsets(up) if name == "up"}
        case ParenExpr(expr=inner):
            return _scraped_at(inner)
    return set()


def constant_defaults(expr: str) -> list[str]:
    """The right operands of ``or`` that select no series, such as ``vector(0)``, as they are printed.

    Raises:
        ValueError: the expression does not parse; the message has the position.
    """
    found: list[str] = []

    def visit(node: Expr) -> None:
        if isinstance(node, BinaryExpr) and str(node.op) == "or" and not _selectors(node.rhs):
            found.append(" ".join(str(node.rhs).split()))

    promql_parser.walk(promql_parser.parse(expr), visit)
    return found


def _selectors(node: Expr) -> int:
    """The number of selectors in an expression."""
    found: list[VectorSelector | MatrixSelector] = []

    def visit(each: Expr) -> None:
        if isinstance(each, VectorSelector | MatrixSelector):
            found.append(each)

    promql_parser.walk(node, visit)
    return len(found)


def _is_scalar(node: Expr) -> bool:
    match node:
        case NumberLiteral():
            return True
        case ParenExpr() | UnaryExpr():
            return _is_scalar(node.expr)
        case Call():
            return node.func.name in SCALARS
        case BinaryExpr():
            return _is_scalar(node.lhs) and _is_scalar(node.rhs)
    return False


def _may_be_empty(node: Expr, absent: Callable[[str], bool]) -> bool:
    match node:
        case VectorSelector():
            return any(map(absent, _names(node)))
        case Call():
            return node.func.name.startswith("absent") or any(_may_be_empty(each, absent) for each in node.args)
        case BinaryExpr():
            sides = [_may_be_empty(side, absent) for side in (node.lhs, node.rhs)]
            return all(sides) if str(node.op) == "or" else _filters(node) or any(sides)
        case MatrixSelector(vector_selector=inner):
            return _may_be_empty(inner, absent)
        case ParenExpr(expr=inner) | UnaryExpr(expr=inner) | SubqueryExpr(expr=inner) | AggregateExpr(expr=inner):
            return _may_be_empty(inner, absent)
    return False


def _filters(node: BinaryExpr) -> bool:
    if str(node.op) in COMPARISONS:
        return not (node.modifier and node.modifier.return_bool)
    return str(node.op) in {"and", "unless"}


def _names(selector: VectorSelector) -> list[str]:
    return [selector.name] if selector.name else [each.value for each in _by_name(selector)]


def _by_name(selector: VectorSelector) -> list[promql_parser.Matcher]:
    """The matchers of a selector like ``{__name__="up"}``."""
    equal = promql_parser.MatchOp.Equal
    return [each for each in selector.matchers.matchers if each.name == "__name__" and each.op == equal]
