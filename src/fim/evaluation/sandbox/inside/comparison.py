"""Whether the output of a script is the wanted one, as the published judge of SAFIM compares."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation, localcontext

PRECISION = Decimal("1e-12")
DIGITS = 60
WORDS_WITHOUT_CASE = frozenset({"yes", "no", "true", "false"})


def outputs_match(output: str, wanted: str) -> bool:
    """Tell whether lines are equal without outer blanks, or else all tokens are.

    Numbers are equal within 1e-12; yes, no, true and false have no case.

    Source: https://github.com/ntunlp/ExecEval, ``execution_engine.init_validate_outputs``.
    """
    lines, wanted_lines = output.strip().split("\n"), wanted.strip().split("\n")
    if [line.strip() for line in lines] == [line.strip() for line in wanted_lines]:
        return True
    tokens, wanted_tokens = output.split(), wanted.split()
    if len(tokens) != len(wanted_tokens):
        return False
    return all(map(_tokens_match, tokens, wanted_tokens))


def _tokens_match(token: str, wanted: str) -> bool:
    try:
        with localcontext() as context:
            context.prec = DIGITS
            return abs(Decimal(token) - Decimal(wanted)) <= PRECISION
    except (InvalidOperation, ValueError):
        lowered = [text.lower() for text in (token, wanted)]
        has_no_case = all(text in WORDS_WITHOUT_CASE for text in lowered)
        return lowered[0] == lowered[1] if has_no_case else token == wanted
