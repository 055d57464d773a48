"""What a PromQL expression reads."""

from __future__ import annotations

import promql_parser


def metrics_in(expr: str) -> set[str]:
    """The names of the metrics that an expression selects; a selector by a pattern of names names none.

    Raises:
        ValueError: the expression does not parse; the message says where.
    """
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            named = [node.name] if node.name else [each.value for each in _by_name(node)]
            found.update(named)
        elif isinstance(node, promql_parser.MatrixSelector):
            visit(node.vector_selector)

    promql_parser.walk(promql_parser.parse(expr), visit)
    return found


def _by_name(selector: promql_parser.VectorSelector) -> list[promql_parser.Matcher]:
    """The matchers of a selector like ``{__name__="up"}``."""
    equal = promql_parser.MatchOp.Equal
    return [each for each in selector.matchers.matchers if each.name == "__name__" and each.op == equal]
