"""The language of files whose ending several languages share, and of the kinds beside them."""

from __future__ import annotations

import pytest

from fim.corpus import language_of
from fim.corpus.languages import LANGUAGES, language_named, may_be_code


def name_of(path: str, text: str = "") -> str | None:
    language = language_of(path, text)
    return language.name if language else None


@pytest.mark.parametrize(
    "text",
    [
        "namespace pool {\nint size();\n}\n",
        "class Queue;\nint size(void);\n",
        "class EXPORT Queue final : public Base\n{\n public:\n  int size();\n};\n",
        "template <typename T> T first(T* items);\n",
        "void name(std::string text);\n",
        "enum class Color { Red };\n",
        "bool valid(const Key& key);\nvoid level(int depth = 3);\n",
        "struct A { A() = default; };\n",
        "static constexpr int LIMIT = 3;\n",
        "void* none = nullptr;\n",
        "#ifndef A_H\n#define A_H\nusing Row = int;\n#endif\n",
    ],
)
def test_headers_in_cpp(text: str) -> None:
    assert name_of("src/a.h", "/* licence of a C library */\n" + text) == "C++"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "struct point { int x; int y; };\nint area(struct point *p);\n",
        '#ifdef __cplusplus\nextern "C" {\n#endif\nint f(int class);\n'
        "#ifdef __cplusplus\n}\n#endif\n",
        "int class;\nint new(void);\nunion u { float namespace; };\n",
        "/* class Queue { public: std::string name; }; */\nint f(void);\n",
        '#define TEXT "std::string class Queue {"\nint f(void);\n',
        "static inline int both(int a, int b) { return (a & b); }\n",
        "LIB_API(int) lib_open(const char *name) LIB_NOTHROW;\n",
    ],
)
def test_headers_in_c(text: str) -> None:
    assert name_of("src/a.h", text) == "C"


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a.h", "@interface A : NSObject\n- (void)run;\n@end\n", "Objective-C"),
        ("a.m", "#import <A/A.h>\n@implementation A\n@end\n", "Objective-C"),
        ("a.m", "% sums\nfunction s = total(x)\n  s = sum(x);\nend\n", "MATLAB"),
        ("a.m", "x = linspace(0, 1);\nplot(x)\n", "MATLAB"),
        ("a.m", 'BeginPackage["A`"]\nf[x_] := x^2\n', "Mathematica"),
        ("a.pl", "use strict;\nmy $x = 1;\nprint $x;\n", "Perl"),
        ("a.pl", "parent(ann, bob).\nold(X) :- parent(X, Y), parent(Y, _).\n", "Prolog"),
        ("a.pl", ":- use_module(library(lists)).\n", "Prolog"),
        ("a.ts", "export const x: number = 1\n", "TypeScript"),
        ("a.ts", '<?xml version="1.0"?>\n<!DOCTYPE TS>\n<TS language="de"></TS>\n', None),
        ("a.tsx", '<?xml version="1.0"?>\n<tileset></tileset>\n', None),
        ("a.v", "module top(input a);\nendmodule\n", "Verilog"),
        ("a.v", "Theorem t : forall n, n = n.\nProof. auto. Qed.\n", "Coq"),
        ("a.v", "module main\n\nfn main() {\n  println('a')\n}\n", "V"),
        ("a.cls", "\\NeedsTeXFormat{LaTeX2e}\n", "TeX"),
        ("a.cls", 'VERSION 1.0 CLASS\nAttribute VB_Name = "A"\n', "Visual Basic"),
        ("a.cls", "public with sharing class A {\n}\n", "Apex"),
        ("a.inc", "<?php\necho 1;\n", "PHP"),
        ("a.inc", "#include <a.h>\nint x;\n", "C++"),
        ("a.inc", "some notes about nothing\n", None),
        ("a.pro", "QT += core\nSOURCES = a.cpp\n", "QMake"),
        ("a.pro", "-keep class a.B { *; }\n", None),
        ("a.d", "main.o: main.c main.h\n", "Makefile"),
        ("a.d", "module a;\nvoid main() {}\n", "D"),
    ],
)
def test_shared_endings(path: str, text: str, expected: str | None) -> None:
    assert name_of(path, text) == expected
    assert may_be_code(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.svelte", "Svelte"),
        ("a.astro", "Astro"),
        ("a.vue", "Vue"),
        ("a.pyx", "Cython"),
        ("a.cu", "CUDA"),
        ("a.cuh", "CUDA"),
        ("a.cppm", "C++"),
        ("a.ixx", "C++"),
        ("a.tpp", "C++"),
        ("a.inl", "C++"),
        ("a.ipp", "C++"),
        ("main.tf", "Terraform"),
        ("a.proto", "Protocol Buffers"),
        ("a.graphql", "GraphQL"),
        ("a.html", "HTML"),
        ("a.css", "CSS"),
        ("a.scss", "SCSS"),
        ("page.html.jinja", "Jinja"),
        ("a.ps1", "PowerShell"),
        ("a.zsh", "Zsh"),
        ("a.sol", "Solidity"),
        ("build.gradle", "Groovy"),
        ("build.gradle.kts", "Kotlin"),
        ("BUILD.bazel", "Starlark"),
        ("Jenkinsfile", "Groovy"),
        ("Jenkinsfile.release", "Groovy"),
        ("Dockerfile.prod", "Dockerfile"),
        ("docker/app.Dockerfile", "Dockerfile"),
        ("Makefile.am", "Makefile"),
        ("docker.Makefile", "Makefile"),
        ("CMakeLists.txt", "CMake"),
        ("Dockerfile.md", None),
        ("Makefile.PL", "Perl"),
        ("a.json", None),
        ("a.xml", None),
    ],
)
def test_kinds_by_name(path: str, expected: str | None) -> None:
    assert name_of(path) == expected


def test_names_of_the_table_are_distinct() -> None:
    names = [language.name for language in LANGUAGES]
    assert len(names) == len(set(names))
    assert language_named("Coq") is not None
