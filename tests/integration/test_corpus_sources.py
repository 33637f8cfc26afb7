"""Where files come from: folders of repositories, levels above a root, clones of every kind."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fim.config import CorpusSettings
from fim.corpus import BuiltCorpus, explain_file, git, rehearse_corpus
from fim.corpus.cache import usable_cache
from fim.errors import EmptyDatasetError, FimError, SourceNotFoundError

SETTINGS = CorpusSettings(held_out_fraction=0.3, holes_per_file=4)
WHO = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy"


def module(name: str, number: int = 8) -> str:
    return "\n".join(
        f"def {name}_{n}(value, factor_{n}):\n    {name} = value * factor_{n} + {n}\n"
        f"    if {name} > 100:\n        return {name} - value\n    return {name}\n"
        for n in range(number)
    )


def run(root: Path, *arguments: str) -> str:
    command = ["git", *WHO, "-c", "protocol.file.allow=always", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def commit(root: Path, files: dict[str, str]) -> Path:
    """Write files, commit them, and make the repository first where there is none."""
    root.mkdir(parents=True, exist_ok=True)
    if not (root / ".git").exists():
        run(root, "init", "-q", "-b", "main")
    write(root, files)
    run(root, "add", "-A")
    run(root, "commit", "-q", "--allow-empty", "-m", "work")
    return root


def rehearse(
    roots: Sequence[Path], *, exclude: Sequence[str] = (), **values: object
) -> tuple[BuiltCorpus, dict[str, int]]:
    """Return what a build would make of roots, and how many files each reason drops."""
    settings = CorpusSettings.model_validate({**SETTINGS.model_dump(), **values})
    out = Path(roots[0]).parent / "out set"
    built = rehearse_corpus(roots, settings=settings, out=out, exclude=exclude)
    files = built.manifest["files"]
    assert isinstance(files, dict)
    return built, files["dropped"]


def inputs(built: BuiltCorpus) -> dict[str, str]:
    found = built.manifest["inputs"]
    assert isinstance(found, list)
    return {item["name"]: item["kind"] for item in found}


def fate(roots: Sequence[Path], file: Path | str) -> str:
    """Return why a file is left out, or ``used``, or ``unseen``."""
    try:
        found = explain_file(roots, Path(file), settings=SETTINGS)
    except SourceNotFoundError:
        return "unseen"
    return found.reason or "used"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    for name in ("alpha", "beta"):
        ignored = {".gitignore": "local.py\nbuild/\n", "src/main.py": module(name)}
        commit(root / "group" / name, ignored)
        private = {"local.py": module(f"p{name}"), "build/made.py": module(f"b{name}")}
        write(root / "group" / name, {**private, "untracked.py": module(f"u{name}")})
    write(root, {"loose.py": module("loose")})
    return root


def test_repositories_below_a_folder_are_read_at_head(workspace: Path) -> None:
    run(workspace, "clone", "-q", "--bare", "group/alpha", "mirror.git")
    run(workspace / "group/beta", "worktree", "add", "-q", "--detach", str(workspace / "tree"))
    built, _ = rehearse([workspace])
    assert inputs(built) == {
        "workspace": "folder", "alpha": "git", "beta": "git", "mirror": "git", "tree": "git"
    }  # fmt: skip
    (told,) = built.notices
    assert told.message.startswith("4 repositories found in workspace")
    alpha = workspace / "group" / "alpha"
    assert fate([workspace], alpha / "src/main.py") == "used"
    assert fate([workspace], "loose.py") == "used"
    for name in ("local.py", "build/made.py", "untracked.py"):
        assert fate([workspace], alpha / name) == "unseen"


def test_a_split_by_repository_holds_out_one_that_was_met(workspace: Path) -> None:
    out = workspace.parent / "set"
    settings = CorpusSettings(split="repo", held_out_repos=("beta",))
    built = rehearse_corpus([workspace], settings=settings, out=out)
    splits = built.manifest["splits"]
    assert isinstance(splits, dict)
    assert splits["held_out"]["files"] == 1


def test_a_repository_given_as_well_is_read_once(workspace: Path) -> None:
    built, dropped = rehearse([workspace, workspace / "group/alpha"])
    assert sorted(inputs(built)) == ["alpha", "beta", "workspace"]
    assert "exact_duplicate" not in dropped


def test_patterns_of_the_given_folder_count_in_what_is_met(workspace: Path) -> None:
    _, dropped = rehearse([workspace], exclude=["group/alpha/src/"])
    assert dropped["excluded"] == 1
    built, dropped = rehearse([workspace], exclude=["/group/alpha"])
    assert (dropped["excluded"], "alpha" in inputs(built)) == (1, False)
    write(workspace, {".fimignore": "group/beta/src/main.py\n"})
    assert fate([workspace], workspace / "group/beta/src/main.py") == "excluded"
    assert fate([workspace], workspace / "group/alpha/src/main.py") == "used"
    commit(workspace / "node_modules/dep", {"a.py": module("dep")})
    built, dropped = rehearse([workspace])
    assert ("dep" in inputs(built), dropped["vendored"]) == (False, 1)


def test_what_cannot_be_read_at_head_is_counted(workspace: Path) -> None:
    run(workspace, "init", "-q", "fresh")
    for name in ("broken", "gone", "fresh"):
        write(workspace, {f"{name}/a.py": module(name)})
    (workspace / "broken/.git").mkdir()
    (workspace / "gone/.git").write_text("gitdir: /nowhere/at/all\n")
    tree = commit(workspace / "hurt", {"a.py": module("hurt")})
    name = run(tree, "rev-parse", "HEAD^{tree}")
    (tree / ".git/objects" / name[:2] / name[2:]).unlink()
    built, dropped = rehearse([workspace])
    assert (dropped["broken_repository"], dropped["no_commits"]) == (3, 1)
    for name in ("broken", "gone", "fresh", "hurt"):
        assert fate([workspace], workspace / name / "a.py") == "unseen"
        assert any(f"{workspace}/{name}" in notice.message for notice in built.notices)


def test_history_of_a_plain_folder_is_refused_with_its_repositories(workspace: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="holds 2 repositories") as caught:
        rehearse([workspace], from_commits=2)
    paths = [str(workspace / "group" / name) for name in ("alpha", "beta")]
    assert caught.value.hint == shlex.join(["fim", "data", "build", *paths])


def test_ignored_children_of_a_repository_are_told(workspace: Path) -> None:
    root = commit(workspace, {".gitignore": "group/\nnode_modules/\n", "top.py": module("top")})
    commit(root / "node_modules/dep", {"a.py": module("dep")})
    built, _ = rehearse([root])
    (told,) = built.notices
    assert "2 repositories in workspace are no part of it" in told.message
    words = shlex.split(told.hint)
    assert words == [
        *("fim", "data", "build", str(root), f"{root}/group/alpha", f"{root}/group/beta"),
        *("--out", f"{root.parent}/out set"),
    ]
    again, _ = rehearse([Path(word) for word in words[3:6]])
    assert again.notices == ()
    assert sorted(inputs(again)) == ["alpha", "beta", "workspace"]


def test_before_the_first_commit_children_are_told_and_ignored_files_stay_out(
    workspace: Path,
) -> None:
    run(workspace, "init", "-q")
    write(workspace, {".gitignore": "hidden.py\n", "src/a.py": module("a")})
    write(workspace, {"src/hidden.py": module("h")})
    built, _ = rehearse([workspace])
    assert "2 repositories in workspace are no part of it" in built.notices[0].message
    assert fate([workspace / "src"], "hidden.py") == "unseen"
    assert fate([workspace / "src"], "a.py") == "used"


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    library = commit(tmp_path / "library", {"lib.py": module("lib")})
    root = commit(tmp_path / "my app", {"main.py": module("main")})
    run(root, "submodule", "--quiet", "add", str(library), "deps/the lib")
    return commit(root, {})


def test_a_submodule_is_told_with_the_command_that_takes_it(parent: Path, tmp_path: Path) -> None:
    built, dropped = rehearse([parent])
    assert dropped["submodule"] == 1
    (told,) = built.notices
    words = shlex.split(told.hint)
    assert words[:5] == ["fim", "data", "build", str(parent), f"{parent}/deps/the lib"]
    again, _ = rehearse([Path(word) for word in words[3:5]])
    assert inputs(again) == {"my app": "git", "the lib": "git"}
    assert again.notices == ()
    run(tmp_path, "clone", "-q", str(parent), "fresh clone")
    fresh = tmp_path / "fresh clone"
    built, _ = rehearse([fresh])
    first, _, second = built.notices[0].hint.partition(" && ")
    run(fresh, *shlex.split(first)[3:])
    again, _ = rehearse([Path(word) for word in shlex.split(second)[3:5]])
    assert inputs(again) == {"fresh clone": "git", "the lib": "git"}
    run(tmp_path, "clone", "-q", "--bare", str(parent), "bare.git")
    built, _ = rehearse([tmp_path / "bare.git"])
    assert built.notices[0].hint.startswith("git clone --recurse-submodules ")


def test_a_given_submodule_that_is_not_checked_out_is_told(parent: Path, tmp_path: Path) -> None:
    run(tmp_path, "clone", "-q", str(parent), "fresh")
    root = tmp_path / "fresh/deps/the lib"
    with pytest.raises(EmptyDatasetError, match="1 submodule") as caught:
        rehearse([root])
    first, _, second = caught.value.hint.partition(" && ")
    run(root, *shlex.split(first)[3:])
    assert shlex.split(second)[:4] == ["fim", "data", "build", str(root)]
    assert inputs(rehearse([root])[0]) == {"the lib": "git"}


def test_a_submodule_without_an_origin_is_told(parent: Path) -> None:
    commit(parent, {".gitmodules": ""})
    run(parent, "rm", "-q", "--cached", "deps/the lib")
    run(parent, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lost")
    run(parent, "commit", "-q", "-m", "lost")
    built, _ = rehearse([parent])
    lost = built.notices[0]
    assert "no .gitmodules tells where lost come from" in lost.message
    assert lost.hint == ""


def test_levels_above_a_given_folder_count(tmp_path: Path) -> None:
    root = commit(
        tmp_path / "mono",
        {
            ".gitattributes": '[attr]made linguist-generated\n"packages/a/g n/**" made\n',
            ".fimignore": "\ufeffpackages/a/skip/\n",
            "packages/.fimignore": "/a/low.py\n",
            "LICENSE": MIT,
            "packages/a/deep/.fimignore": "own.py\n",
            **{
                f"packages/a/{path}": module(f"part{number}")
                for number, path in enumerate(
                    ("g n/a.py", "skip/a.py", "low.py", "deep/own.py", "deep/use.py", "src/a.py")
                )
            },
        },
    )
    for given in (root, root / "packages/a"):
        found = {
            path: fate([given], root / "packages/a" / path)
            for path in (
                "g n/a.py",
                "skip/a.py",
                "low.py",
                "deep/own.py",
                "deep/use.py",
                "src/a.py",
            )
        }
        assert found == {
            "g n/a.py": "generated",
            "skip/a.py": "excluded",
            "low.py": "excluded",
            "deep/own.py": "excluded",
            "deep/use.py": "used",
            "src/a.py": "used",
        }
        built, _ = rehearse([given])
        content = built.manifest["content"]
        assert isinstance(content, dict)
        assert content["licences"] == {"MIT": 2}
    built, _ = rehearse([root / "packages/a/src/a.py"])
    content = built.manifest["content"]
    assert isinstance(content, dict)
    assert content["licences"] == {"MIT": 1}
    (root / ".git/info").mkdir(exist_ok=True)
    (root / ".git/info/attributes").write_text("packages/a/src/** linguist-vendored\n")
    assert fate([root / "packages/a"], "src/a.py") == "vendored"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    root = tmp_path / "origin"
    for number in range(5):
        commit(root, {f"src/m{number}.py": module(f"m{number}")})
        if number == 2:
            run(root, "tag", "v1")
    commit(root, {"src/m0.py": module("m0") + module("more", 3), "other/n.py": module("n")})
    run(root, "config", "uploadpack.allowFilter", "true")
    return root


def clone(origin: Path, *options: str) -> Path:
    target = origin.parent / "the clone"
    run(origin.parent, "clone", "-q", *options, f"file://{origin}", str(target))
    return target


def holes(built: BuiltCorpus) -> object:
    report = built.manifest["holes"]
    assert isinstance(report, dict)
    return report["seen"]


def test_the_edge_of_a_shallow_clone_added_nothing(origin: Path) -> None:
    whole, _ = rehearse([origin], from_commits=3)
    two, _ = rehearse([origin], from_commits=2)
    root = clone(origin, "--depth", "3")
    built, _ = rehearse([root], from_commits=3)
    assert holes(built) == holes(two)
    (told,) = built.notices
    assert "1 commit is left out at the edge of the shallow clone" in told.message
    assert shlex.split(told.hint) == ["git", "-C", str(root), "fetch", "--deepen=3"]
    run(root, *shlex.split(told.hint)[3:])
    built, _ = rehearse([root], from_commits=3)
    assert holes(built) == holes(whole)
    assert built.notices == ()
    assert rehearse([root], from_commits=1)[0].notices == ()


def test_a_clone_of_one_commit_has_no_added_lines(origin: Path) -> None:
    root = clone(origin, "--depth", "1")
    with pytest.raises(SourceNotFoundError, match="0 of the 2 commits") as caught:
        rehearse([root], from_commits=2)
    run(root, *shlex.split(caught.value.hint)[3:])
    assert holes(rehearse([root], from_commits=2)[0]) == holes(
        rehearse([origin], from_commits=2)[0]
    )


def test_a_commit_beyond_the_edge_is_fetched_by_the_hint(origin: Path) -> None:
    root = clone(origin, "--depth", "1")
    with pytest.raises(SourceNotFoundError, match="shallow") as caught:
        rehearse([root], split="time", split_commit="v1")
    run(root, *shlex.split(caught.value.hint)[3:])
    built, _ = rehearse([root], split="time", split_commit="v1")
    assert holes(built) == holes(rehearse([origin], split="time", split_commit="v1")[0])


def test_replaced_and_grafted_history_is_not_read_as_real(origin: Path) -> None:
    whole, _ = rehearse([origin], from_commits=1)
    head = run(origin, "rev-parse", "HEAD")
    run(origin, "replace", "--graft", "HEAD")
    assert holes(rehearse([origin], from_commits=1)[0]) == holes(whole)
    (origin / ".git/info").mkdir(exist_ok=True)
    (origin / ".git/info/grafts").write_text(f"{head}\n")
    assert git.cut_commits(origin) == {head}


@pytest.mark.parametrize("kind", ["blob:none", "tree:0"])
@pytest.mark.parametrize(
    "values",
    [{"from_commits": 3}, {"split": "time", "split_commit": "v1"}],
    ids=["commits", "time"],
)
def test_a_partial_clone_is_completed_by_the_hint(
    origin: Path, kind: str, values: dict[str, object]
) -> None:
    root = clone(origin, f"--filter={kind}")
    with pytest.raises(SourceNotFoundError, match="partial clone") as caught:
        rehearse([root], **values)
    run(root, *shlex.split(caught.value.hint)[3:])
    assert holes(rehearse([root], **values)[0]) == holes(rehearse([origin], **values)[0])


def test_contents_that_a_clone_lacks_have_a_reason_of_their_own(origin: Path) -> None:
    root = clone(origin, "--filter=blob:none", "--sparse")
    with pytest.raises(EmptyDatasetError, match="6 not_in_clone") as caught:
        rehearse([root])
    run(root, "sparse-checkout", "set", "src")
    built, dropped = rehearse([root])
    assert dropped == {"not_in_clone": 1}
    assert "1 file of the clone are named" in built.notices[0].message
    run(root, *shlex.split(caught.value.hint)[3:])
    built, dropped = rehearse([root])
    assert (dropped, built.notices) == ({}, ())


def test_a_treeless_clone_says_that_it_knows_no_ages(origin: Path) -> None:
    built, _ = rehearse([clone(origin, "--filter=tree:0")])
    assert "without regard to when files changed" in built.notices[0].message


@pytest.mark.parametrize(
    "options",
    [(), ("--no-checkout",), ("--bare",), ("--sparse",), ("--depth", "1"), ("--filter=blob:none",)],
)
def test_every_kind_of_clone_gives_the_same_files(origin: Path, options: tuple[str, ...]) -> None:
    built, dropped = rehearse([clone(origin, *options)])
    assert holes(built) == holes(rehearse([origin])[0])
    assert (dropped, built.notices) == ({}, ())


def test_other_object_names_a_detached_head_and_a_worktree(origin: Path, tmp_path: Path) -> None:
    run(origin, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"), "v1")
    assert inputs(rehearse([tmp_path / "tree"])[0]) == {"tree": "git"}
    long = tmp_path / "long names"
    run(tmp_path, "init", "-q", "--object-format=sha256", str(long))
    commit(long, {".gitattributes": "g.py linguist-generated\n", "g.py": module("g")})
    commit(long, {"a.py": module("a"), "b.py": module("other")})
    built, _ = rehearse([long], from_commits=1)
    splits = built.manifest["splits"]
    assert isinstance(splits, dict)
    assert sum(side["documents_with_examples"] for side in splits.values()) == 2
    assert fate([long], "g.py") == "generated"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    root = tmp_path / "app"
    write(root, {f"m{n}.py": module(f"part{n}") for n in range(3)})
    return root


def fim(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "fim.cli.app", *arguments]
    values = {**os.environ, "FIM_NO_PROGRESS": "1", **environment}
    return subprocess.run(command, cwd=cwd, env=values, capture_output=True, check=False)


@pytest.mark.parametrize("rehearsal", [(), ("--dry-run",)])
def test_a_cache_that_cannot_be_written_is_done_without(
    app: Path, tmp_path: Path, rehearsal: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("no folder")
    done = fim(
        *("data", "build", "app", "--out", "the set", *rehearsal),
        cwd=tmp_path,
        FIM_CACHE_DIR=str(tmp_path / "file" / "cache"),
    )
    assert app.exists()
    talk = done.stderr.decode()
    assert done.returncode == 0, talk
    assert talk.count("cannot be written") == 1
    assert "export FIM_CACHE_DIR=" in talk
    if not rehearsal:
        assert "fim data check 'the set'" in talk


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_home_that_is_no_place_for_files_is_told_by_the_doctor(tmp_path: Path) -> None:
    done = fim("doctor", "--json", cwd=tmp_path, HOME="/proc", XDG_CACHE_HOME="")
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["cache"]["status"] == "warn"
    assert "FIM_CACHE_DIR" in rows["cache"]["fix"]


def test_what_a_cache_kept_is_used_where_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, notices = usable_cache(tmp_path / "cache", SETTINGS)
    assert path is not None
    assert notices == ()
    path.write_bytes(b"")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    kept, (told,) = usable_cache(tmp_path / "cache", SETTINGS)
    assert kept == path
    assert "Permission denied" in told.message


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
@pytest.mark.parametrize("is_repository", [False, True])
def test_names_are_utf8_whatever_the_locale(tmp_path: Path, is_repository: bool) -> None:
    root = tmp_path / "gr\u00f6\u00dfe"
    write(root, {"ma\u00df/a.py": module("a"), "b.py": module("other")})
    (root / os.fsdecode(b"bad\xff.py")).write_text(module("bad"))
    if is_repository:
        commit(root, {})
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = fim("data", "build", str(root), "--dry-run", "--json", cwd=tmp_path, **locale)
    answer = json.loads(done.stdout)
    assert answer["files"]["dropped"] == {"bad_file_name": 1}
    explained = fim(
        "data", "build", ".", "--explain", "ma\u00df/a.py", "--json", cwd=root, **locale
    )
    assert json.loads(explained.stdout)["file"] == "gr\u00f6\u00dfe/ma\u00df/a.py"


def test_a_pattern_that_can_match_nothing_is_refused(app: Path) -> None:
    with pytest.raises(FimError, match="would match no file"):
        rehearse([app], exclude=["!"])
