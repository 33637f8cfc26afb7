"""List the files of roots: gated by path, marked, and every dropped one accounted for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fim.corpus import git
from fim.corpus.attributes import Attributes, is_attributes_file, read_attributes
from fim.corpus.commits import lines_added_since, open_commits
from fim.corpus.disk import place_of
from fim.corpus.gates import compile_patterns, path_reason
from fim.corpus.hashing import stable_hash
from fim.corpus.history import History, last_changes
from fim.corpus.ignores import IgnoreRules, Level, ignore_levels
from fim.corpus.licence import read_licences
from fim.corpus.notices import Notice, command_of, counted, listed, shown
from fim.corpus.reasons import DropReason, Tally
from fim.corpus.roots import (
    ITSELF,
    Root,
    named_roots,
    told_repositories,
    told_submodules,
    unique_name,
)
from fim.corpus.scan import (
    STANDARD_LIBRARY_EXCLUDE,
    existing_folder,
    open_source,
    require_commit,
    require_no_repository,
    stdlib_root,
)
from fim.errors import SourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fim.config import CorpusSettings
    from fim.corpus.guides import Guides
    from fim.corpus.selection import Selection
    from fim.corpus.sources import ContentPlace, Source, SourceEntry

_BY_ENDING = (DropReason.UNKNOWN_LANGUAGE, DropReason.NOT_SUPPORTED)
_LEFT_OUT = frozenset({DropReason.EXCLUDED, DropReason.VENDORED})
_UNUSABLE = frozenset({DropReason.BROKEN_REPOSITORY, DropReason.NO_COMMITS})


@dataclass(frozen=True, slots=True)
class CorpusInput:
    """What was read: a root's name, its kind and its commit."""

    name: str
    kind: str
    commit: str | None
    num_files: int
    since: str | None = None

    def as_json(self) -> Mapping[str, object]:
        """Return JSON-ready facts, without the machine's own folders."""
        return {
            "name": self.name,
            "kind": self.kind,
            "commit": self.commit,
            "files": self.num_files,
        } | ({"since": self.since} if self.since is not None else {})


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file that passed the gates by path, not read yet, small enough for another process.

    Args:
        repo: Name of the root.
        entry: The file in its root.
        place: Where its content is read.
        licence: SPDX expression of the nearest licence file above it.
    """

    repo: str
    entry: SourceEntry
    place: ContentPlace
    licence: str = ""

    @property
    def key(self) -> str:
        """Name the file by its place."""
        return f"{self.repo}/{self.entry.path}"


class Listing:
    """The files of roots, in order of root and path.

    Args:
        settings: Limits of the gates.
        selection: Which files are read.
        tally: Counts what is seen and dropped.
        on_drop: Told of every file dropped: its place and why.
    """

    def __init__(
        self,
        settings: CorpusSettings,
        selection: Selection,
        tally: Tally,
        on_drop: Callable[[str, str], None] | None,
    ) -> None:
        self._settings = settings
        self._selection = selection
        self._tally = tally
        self._on_drop = on_drop
        self._lacking: Counter[str] = Counter()
        self._notices: list[Notice] = []
        self._given: tuple[Root, ...] = ()
        self.roots: list[Root] = []
        self.inputs: list[CorpusInput] = []
        self.endings: dict[str, Counter[str]] = {str(reason): Counter() for reason in _BY_ENDING}

    @property
    def notices(self) -> Sequence[Notice]:
        """What is to be said of the roots, of what could not be read of them too."""
        return (*self._notices, *(self._not_in_clone(name) for name in self._lacking))

    def files(self, paths: Sequence[Path]) -> tuple[FileRef, ...]:
        """Return the files of every root that pass the gates by path.

        Args:
            paths: The given roots.

        Raises:
            SourceNotFoundError: A root is missing or is a repository that git cannot read.
        """
        self._given = named_roots(paths)
        self.roots = [*self._given]
        found: list[FileRef] = []
        for root in self._given:
            with self._open(root) as source:
                found += self._files_of(root, source, ())
        return tuple(found)

    def drop(self, key: str, reason: str) -> None:
        """Count a file that is dropped."""
        self._tally.drop(reason)
        if reason in self.endings:
            name = key.rpartition("/")[2]
            self.endings[str(reason)][PurePosixPath(name).suffix.lower() or name] += 1
        if reason == DropReason.NOT_IN_CLONE:
            self._lacking[key.partition("/")[0]] += 1
        if self._on_drop is not None:
            self._on_drop(key, str(reason))

    def _open(self, root: Root) -> Source:
        chosen = self._selection
        if chosen.from_commits is not None:
            return open_commits(
                root.path,
                chosen.from_commits,
                revision=chosen.revision,
                with_context=self._settings.context_items > 0,
            )
        return open_source(root.path, skip=chosen.skip, revision=chosen.revision)

    def _files_of(self, root: Root, source: Source, outer: Sequence[Level]) -> list[FileRef]:
        """Return the files of an opened root, then those of the repositories met in it."""
        entries, since = self._with_lines(root, source)
        self.inputs.append(CorpusInput(root.name, source.kind, source.commit, len(entries), since))
        self._tally.see(len(entries))
        guides = source.guides()
        levels = (*outer, *ignore_levels(guides.texts, root.base))
        rules = self._rules(root, source, levels)
        found = list(self._gated(root, source, entries, guides, rules))
        self._notices += source.notices
        self._tell_unread(root, source, guides)
        self._tell_left_out(root, source, rules)
        if source.is_walked:
            found += self._met(root, source, rules, levels)
        return found

    def _gated(
        self,
        root: Root,
        source: Source,
        entries: Sequence[SourceEntry],
        guides: Guides,
        rules: IgnoreRules,
    ) -> Sequence[FileRef]:
        include = self._selection.include
        included = compile_patterns(include) if include else None
        attributes = self._attributes(root, source, entries, guides)
        licences = read_licences(guides.texts)
        wanted = []
        for entry in entries:
            reason = path_reason(entry.path, rules, attributes)
            is_wanted = included is None or included.match_file(root.base + entry.path)
            if not is_wanted and reason is not DropReason.BAD_FILE_NAME:
                reason = DropReason.EXCLUDED
            kind = entry.reason
            if reason in (DropReason.BAD_FILE_NAME, DropReason.EXCLUDED) or (
                reason and kind is DropReason.NOT_IN_CLONE
            ):
                kind = reason
            if kind or reason:
                self.drop(f"{root.name}/{entry.path}", str(kind or reason))
            else:
                licence = licences.of(source.prefix + entry.path)
                wanted.append(FileRef(root.name, entry, source.place, licence))
        return self._limited(root.name, wanted)

    def _rules(self, root: Root, source: Source, levels: Sequence[Level]) -> IgnoreRules:
        """Return the rules for the paths of a root; those of the command line count from it."""
        is_stdlib = root.path.expanduser().resolve() == stdlib_root()
        built_in = STANDARD_LIBRARY_EXCLUDE if is_stdlib else ()
        start = root.base + source.prefix
        own = ((start, built_in), *levels, (source.prefix, self._selection.exclude))
        return IgnoreRules(own, start)

    def _attributes(
        self, root: Root, source: Source, entries: Sequence[SourceEntry], guides: Guides
    ) -> Attributes:
        if not git.git_available() and any(map(is_attributes_file, guides.texts)):
            self._notices.append(
                Notice(f"no git is installed, so no .gitattributes of {root.name} counts")
            )
            return Attributes({})
        paths = (entry.path for entry in entries)
        return read_attributes(guides.texts, paths, prefix=source.prefix)

    def _tell_unread(self, root: Root, source: Source, guides: Guides) -> None:
        if guides.unread:
            self._notices.append(
                Notice(
                    f"{counted(len(guides.unread), 'file')} of {root.name} that speak of other "
                    f"files cannot be read, and what they say does not count: "
                    f"{listed(guides.unread)}",
                    git.repair_command(root.path) if source.commit is not None else "",
                )
            )

    def _tell_left_out(self, root: Root, source: Source, rules: IgnoreRules) -> None:
        out, given = self._selection.skip, [each.path for each in self._given]
        submodules = [
            path
            for path in source.submodules()
            if path == ITSELF or self._is_wanted(root, path, rules)
        ]
        if submodules:
            self._notices.append(told_submodules(root, source, submodules, given, out))
        if source.is_walked:
            return
        below = [path for path in source.repositories() if self._is_wanted(root, path, rules)]
        if below:
            paths = [root.path / place_of(path) for path in below]
            self._notices.append(told_repositories(root, paths, given, out))

    def _is_wanted(self, root: Root, path: str, rules: IgnoreRules) -> bool:
        folder = (root.folder / place_of(path)).resolve()
        is_given = any(folder == each.folder for each in self._given)
        return not is_given and path_reason(f"{path}/module.py", rules) not in _LEFT_OUT

    def _met(
        self, root: Root, source: Source, rules: IgnoreRules, levels: Sequence[Level]
    ) -> list[FileRef]:
        """Return the files of the repositories that were met while walking a folder."""
        found: list[FileRef] = []
        names: list[str] = []
        unusable: dict[str, DropReason] = {}
        for path in source.repositories():
            folder = root.folder / place_of(path)
            if not self._is_wanted(root, path, rules):
                self._drop_repository(root, path, path_reason(f"{path}/module.py", rules))
                continue
            require_no_repository(folder, own_repository=not git.git_available())
            reason = _reason_of_repository(folder)
            if reason is None:
                taken = {each.name for each in self.roots}
                each = Root(unique_name(folder, taken), root.path / place_of(path), f"{path}/")
                try:
                    with open_source(folder, skip=self._selection.skip) as opened:
                        self.roots.append(each)
                        found += self._files_of(each, opened, levels)
                    names.append(each.name)
                except SourceNotFoundError as error:
                    self._notices.append(Notice(str(error), error.hint))
                    reason = DropReason.BROKEN_REPOSITORY
            if reason is not None:
                unusable[path] = reason
                self._drop_repository(root, path, reason)
        self._tell_met(root, names, unusable)
        return found

    def _drop_repository(self, root: Root, path: str, reason: DropReason | None) -> None:
        if reason is not None and reason in (*_LEFT_OUT, *_UNUSABLE):
            self._tally.see()
            self.drop(f"{root.name}/{path}", reason)

    def _tell_met(
        self, root: Root, names: Sequence[str], unusable: Mapping[str, DropReason]
    ) -> None:
        if names:
            self._notices.insert(
                0,
                Notice(
                    f"{counted(len(names), 'repository', 'repositories')} found in {root.name}, "
                    f"each read at its HEAD under its own name: {listed(names)}"
                ),
            )
        for path, reason in unusable.items():
            why = {
                DropReason.NO_COMMITS: "has no commit yet, so none of its files is tracked",
                DropReason.BROKEN_REPOSITORY: "has a .git that git cannot read",
            }[reason]
            folder = root.path / place_of(path)
            message = f"{shown(folder)} {why}; nothing below it is read ({reason})"
            self._notices.append(Notice(message, command_of("git", "-C", folder, "status")))

    def _not_in_clone(self, name: str) -> Notice:
        root = next(each for each in self.roots if each.name == name)
        return Notice(
            f"{counted(self._lacking[name], 'file')} of {name} are named by its commit, and this "
            "clone does not hold their content",
            git.repair_command(root.path),
        )

    def _with_lines(self, root: Root, source: Source) -> tuple[Sequence[SourceEntry], str | None]:
        entries, since = self._with_history(root, source), self._selection.since
        if since is None:
            return entries, None
        folder = existing_folder(root.path)
        first = require_commit(folder, since)
        added = lines_added_since(folder, first, require_commit(folder, source.commit or "HEAD"))
        marked = [replace(entry, lines=added.get(entry.path)) for entry in entries]
        return marked, first

    def _with_history(self, root: Root, source: Source) -> Sequence[SourceEntry]:
        entries = source.entries()
        is_state = self._selection.from_commits is None and source.commit is not None
        if not is_state or self._settings.context_items == 0:
            return entries
        changes = last_changes(existing_folder(root.path), str(source.commit))
        if not changes and entries and git.is_partial(root.folder):
            message = (
                f"the history of {root.name} is not in this clone, so context is chosen without "
                "regard to when files changed"
            )
            self._notices.append(Notice(message, git.repair_command(root.path)))
        return [
            replace(entry, history=History(changes[entry.path])) if entry.path in changes else entry
            for entry in entries
        ]

    def _limited(self, name: str, wanted: Sequence[FileRef]) -> Sequence[FileRef]:
        limit = self._settings.max_files
        if limit is None or len(wanted) <= limit:
            return wanted
        seed = self._settings.seed
        ranked = sorted(wanted, key=lambda ref: stable_hash(seed, "file", name, ref.entry.path))
        for ref in ranked[limit:]:
            self.drop(ref.key, DropReason.OVER_MAX_FILES)
        return sorted(ranked[:limit], key=lambda ref: ref.entry.path)


def _reason_of_repository(folder: Path) -> DropReason | None:
    """Return why a folder with a ``.git`` cannot be read at its HEAD, None where it can."""
    if not git.is_top(folder):
        return DropReason.BROKEN_REPOSITORY
    return DropReason.NO_COMMITS if git.head_commit(folder) is None else None
