"""Which of several languages a text is in, where its file's ending belongs to more than one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from fim.corpus.grammars import error_bytes, load_parser

NOT_CODE = ""
_HEAD_CHARS = 60_000
_NO_CODE = re.compile(
    r"/\*.*?(?:\*/|\Z)|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'", re.DOTALL
)
_FOR_CPP_ONLY = re.compile(
    r"^[ \t]*#[ \t]*if(?:def[ \t]+__cplusplus|[ \t]+defined\b[ \t(]*__cplusplus).*?"
    r"^[ \t]*#[ \t]*(?:else|elif|endif)\b",
    re.DOTALL | re.MULTILINE,
)
_CPP = re.compile(
    r"^[ \t]*(?:template[ \t]*<|(?:inline[ \t]+)?namespace\b[\w: \t]*(?:\[\[.*\]\][ \t]*)?[{=\n]"
    r"|(?:enum[ \t]+)?class\b[ \t]+(?:[\w:]+[ \t]+|[A-Z_]+\([^)\n]*\)[ \t]*)*[\w:]+[ \t]*"
    r"(?:final[ \t]*)?[:;{\n]"
    r"|(?:friend|enum)[ \t]+(?:class|struct)\b"
    r"|(?:public|private|protected)(?:[ \t]+\w+)?[ \t]*:(?!:)"
    r"|using[ \t]+(?:namespace\b|\w+[ \t]*=|[\w:]+::)"
    r"|(?:virtual|explicit|constexpr|typename)[ \t]+\w)"
    r"|\bstd::|\b\w+::[~\w]|\bnullptr\b|\bconstexpr[ \t]+\w|\btypename[ \t]+[A-Z]"
    r"|\boperator[ \t]*[^\w\s;,]"
    r"|\)[ \t]*(?:const[ \t]*)?(?:noexcept|override|final)\b|=[ \t]*(?:default|delete)[ \t]*;"
    r"|\b(?:static|dynamic|reinterpret|const)_cast[ \t]*<|\bmutable[ \t]+\w|\bdecltype[ \t]*\("
    r"|\)[ \t]*const[ \t]*(?:;|\{|=)"
    r"|\bstruct[ \t]+\w+[ \t]*(?:final[ \t]*)?:[ \t]*(?:public\b|\w+\s*\{)",
    re.MULTILINE,
)
_PERHAPS_CPP = re.compile(
    r"[(,][ \t\n]*(?:const[ \t]+)?[\w:<>*, \t]{0,80}[\w>][ \t]*&{1,2}[ \t]*\w*[ \t]*[,)=]"
    r"|[(,][ \t\n]*(?:const[ \t]+)?\w+[ \t*]+\w+[ \t]*=[ \t]*[-\w.]+[ \t]*[,)]"
    r"|\w[ \t]*<[ \t]*\w+[ \t*]*>[ \t]*[\w&*]|\[\[\w+|\)[ \t]*(?::[ \t]*\w+[ \t]*[({]|->[ \t]*\w)"
)
_OBJECTIVE_C = re.compile(
    r"^[ \t]*(?:@(?:interface|implementation|protocol|class|import|property|end|optional"
    r"|autoreleasepool)\b|#[ \t]*import\b|[-+][ \t]*\([^)\n]*\)[ \t]*\w)|@\"|\bNS_ASSUME_NONNULL",
    re.MULTILINE,
)
_C_ITSELF = re.compile(r"^[ \t]*#[ \t]*(?:include|define|ifdef|ifndef|pragma)\b", re.MULTILINE)
_XML = re.compile(r"\s*<(?:\?xml|!DOCTYPE|TS|tileset)\b", re.IGNORECASE)
_MPEG_SYNC = "G@"
_PERL = re.compile(
    r"^[ \t]*(?:use[ \t]+(?:strict|warnings|[A-Z]\w*|v?5)|package[ \t]+\w|sub[ \t]+\w+"
    r"|(?:my|our|local)[ \t]*[($@%]|=(?:pod|head\d|cut)\b|require[ \t]+[\w'\"]|print\b|foreach\b"
    r"|[$@]\w+[ \t]*(?:=|\[|->))|^#!.*\bperl",
    re.MULTILINE,
)
_PROLOG = re.compile(
    r"^[ \t]*(?::-|\?-)[ \t]*\w|^[a-z]\w*(?:\([^\n]*\))?[ \t]*(?::-|-->)"
    r"|^[a-z]\w*\([^()\n]*\)\.[ \t]*$|^#!.*\bswipl",
    re.MULTILINE,
)
_MATHEMATICA = re.compile(r"\(\*[ \t]*(?:::|Mathematica|Content)|\bBeginPackage\[|\bModule\[\{|:=")
_MERCURY = re.compile(r"^:-[ \t]*module\b", re.MULTILINE)
_Rules = tuple[tuple[str, re.Pattern[str]], ...]


def _rules(*pairs: tuple[str, str]) -> _Rules:
    return tuple((name, re.compile(pattern, re.MULTILINE)) for name, pattern in pairs)


_BY_RULE: Mapping[str, _Rules] = {
    ".v": _rules(
        ("Verilog", r"^[ \t]*(?:module[ \t]+\w+\s*[(#;]|endmodule\b|always\b|`\w+)"),
        ("Coq", r"^[ \t]*(?:Require|Import|Theorem|Lemma|Definition|Inductive|Fixpoint|Proof)\b"),
        ("V", r"^[ \t]*(?:pub[ \t]+)?(?:fn|struct|import|module|const|enum)\b"),
    ),
    ".cls": _rules(
        ("TeX", r"\\(?:NeedsTeXFormat|ProvidesClass|LoadClass|documentclass|newcommand|def\b)"),
        ("Visual Basic", r"(?i)^(?:VERSION[ \t]+\d|Attribute[ \t]+VB_|Option[ \t]+Explicit)"),
        ("Apex", r"(?i)^[ \t]*(?:global|public|private)\b[\w \t]*\b(?:class|interface|enum)\b"),
        ("ObjectScript", r"^Class[ \t]+[%\w.]+[^\n]*(?:\n\{|\{)"),
        ("OpenEdge ABL", r"(?i)^[ \t]*class[ \t]+[\w.]+[^\n]*:[ \t]*$"),
    ),
    ".inc": _rules(
        ("PHP", r"<\?(?:php\b|=)"),
        ("C++", r"^[ \t]*#[ \t]*(?:include|define|if|ifdef|ifndef|pragma)\b"),
        ("BitBake", r"^(?:[A-Z]+(?:_[\w:]+)?[ \t]*[?+:.]*=|(?:require|inherit)[ \t]+\S)"),
        ("Pascal", r"(?i)^[ \t]*(?:\{\$\w+|procedure[ \t]+\w|function[ \t]+\w[^\n]*:[ \t]*\w+;)"),
        ("SQL", r"(?i)^[ \t]*(?:create|select|insert|alter|drop)[ \t]+\w"),
        (
            "Assembly",
            r"(?i)^[ \t]*(?:%macro|%define|\.macro|\.globl|\.equ|\w+[ \t]+(?:equ|macro))\b",
        ),
    ),
    ".pro": _rules(
        ("QMake", r"^[ \t]*(?:QT|TARGET|TEMPLATE|SOURCES|HEADERS|CONFIG|SUBDIRS)[ \t]*[+*-]?="),
        ("IDL", r"(?i)^[ \t]*(?:pro|function)[ \t]+\w+"),
        ("Prolog", _PROLOG.pattern),
    ),
    ".cl": _rules(
        ("Common Lisp", r"^[ \t]*\((?:defun|defpackage|in-package|defmacro|defvar|defclass)\b"),
        ("OpenCL", r"\b(?:__kernel|kernel|__global)\b"),
    ),
    ".d": _rules(
        ("Makefile", r"^[^\s:]+\.(?:o|d|lo|obj|so)\b[^\n]*:"),
        ("DTrace", r"^[\w$*-]+:[\w$*-]*:[\w$*-]*:|^#pragma[ \t]+D[ \t]"),
    ),
    ".fs": _rules(
        ("GLSL", r"^[ \t]*(?:#version\b|uniform\b|varying\b|precision[ \t]+\w+p)|\bgl_Frag"),
        ("Forth", r"^: [^\n]+|^\\ "),
    ),
    ".pp": _rules(("Pascal", r"(?i)^[ \t]*(?:unit|program|procedure|uses|interface)\b")),
    ".t": _rules(("Perl", _PERL.pattern)),
}


def language_in(ending: str, text: str, default: str) -> str:
    """Return the name of the language of a text whose file's ending several languages share.

    Args:
        ending: The ending, lower case, with the dot.
        text: The text; where it is empty nothing but the ending is known.
        default: The language that an ending means where the text says nothing else.

    Returns:
        The name, or ``NOT_CODE`` where the text is no program at all.
    """
    if not text.strip():
        return default
    head = text[:_HEAD_CHARS]
    choose = _BY_FUNCTION.get(ending)
    if choose is not None:
        return choose(head, default)
    found = next((name for name, rule in _BY_RULE.get(ending, ()) if rule.search(head)), None)
    return default if found is None else found


def _header(text: str, default: str) -> str:
    bare = _NO_CODE.sub(" ", text)
    if _OBJECTIVE_C.search(bare):
        return "Objective-C"
    if _CPP.search(_FOR_CPP_ONLY.sub("", bare)):
        return "C++"
    if _FOR_CPP_ONLY.search(bare):
        return default
    is_likely = _PERHAPS_CPP.search(bare) is not None
    is_cpp = is_likely and _is_understood_better(text, "tree_sitter_cpp", "tree_sitter_c")
    return "C++" if is_cpp else default


def _is_understood_better(text: str, grammar: str, other: str) -> bool:
    """Tell whether a grammar accepts a text with less than half of another one's errors."""
    content = text.encode("utf-8", "surrogatepass")
    parsers = [load_parser(name, "language") for name in (grammar, other)]
    errors = [error_bytes(parser.parse(content).root_node) for parser in parsers if parser]
    return len(errors) == len(parsers) and 2 * errors[0] < errors[1]


def _method_file(text: str, default: str) -> str:
    bare = _NO_CODE.sub(" ", text)
    if _OBJECTIVE_C.search(bare) or _C_ITSELF.search(bare):
        return default
    if _MERCURY.search(text):
        return "Mercury"
    return "Mathematica" if _MATHEMATICA.search(text) else "MATLAB"


def _perl_or_prolog(text: str, default: str) -> str:
    is_prolog = _PROLOG.search(text) is not None and _PERL.search(text) is None
    return "Prolog" if is_prolog else default


def _typescript(text: str, default: str) -> str:
    is_other = _XML.match(text) is not None or text.startswith(_MPEG_SYNC)
    return NOT_CODE if is_other else default


_BY_FUNCTION: Mapping[str, Callable[[str, str], str]] = {
    ".h": _header,
    ".m": _method_file,
    ".pl": _perl_or_prolog,
    ".ts": _typescript,
    ".tsx": _typescript,
}
CONTESTED_ENDINGS = frozenset({*_BY_FUNCTION, *_BY_RULE})
