"""Which side of a set a row stands on: what the row says, else what its file says."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import PurePath

TRAIN = "train"
HELD_OUT = "held_out"
TRAIN_WORDS = frozenset({"train", "training", "trainset"})
HELD_OUT_WORDS = frozenset(
    {
        *("test", "tests", "testing", "tst", "testset", "testdev", "devtest"),
        *("valid", "validation", "validate", "val", "validset", "valset"),
        *("dev", "devset", "development", "eval", "evals", "evalset", "evaluate", "evaluation"),
        *("heldout", "holdout", "unseen"),
    }
)
_PAIRS = frozenset({("held", "out"), ("hold", "out")})
_NOT_TRAINED = re.compile(r"\b(no|not|never|non|without)( (for|to|be|in))* train(ing)?\b")
_FOLDER_ENDS = frozenset({"set", "split", "data", "rows", "files"})
_FOLDERS_NEVER = frozenset({"tests"})
_PART = re.compile(r"[^\W\d_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def side_of_word(word: str) -> str:
    """Return the side that a value of the column ``split`` names; an empty one names none.

    Only ``train`` and ``training`` are trained on. Every other word, known or not, is held out.

    >>> side_of_word(" Train"), side_of_word("validation"), side_of_word("fold-3")
    ('train', 'held_out', 'held_out')
    """
    plain = word.strip().casefold()
    if not plain:
        return ""
    return TRAIN if plain in TRAIN_WORDS else HELD_OUT


def side_of_name(name: str) -> str:
    """Return the side that the name of a file or of a hub split says, or an empty text.

    A word that means "held out" anywhere in the name counts, whatever else stands there: a wrongly
    trained row costs more than a row left out.

    >>> side_of_name("validation-00000-of-00001.parquet"), side_of_name("latest.jsonl")
    ('held_out', '')
    """
    parts = _parts(name)
    pairs = set(pairwise(parts))
    if HELD_OUT_WORDS.intersection(parts) or pairs & _PAIRS:
        return HELD_OUT
    if _NOT_TRAINED.search(" ".join(parts)):
        return HELD_OUT
    return TRAIN if TRAIN_WORDS.intersection(parts) else ""


def side_of_folder(name: str) -> str:
    """Return the side of a folder whose whole name says one, as ``test`` or ``validation-set``."""
    if name.casefold() in _FOLDERS_NEVER or any(letter.isdigit() for letter in name):
        return ""
    parts = _parts(name)
    bare = [part for part in parts if part not in _FOLDER_ENDS]
    is_whole = len(bare) == 1 or tuple(bare) in _PAIRS
    return side_of_name(" ".join(bare)) if is_whole else ""


def side_of_file(path: PurePath, *, root: PurePath) -> str:
    """Return the side of a data file: by its own name, else by the nearest folder that says one.

    Args:
        path: The file.
        root: The path that was given. Folders from it down to the file count, and of a file that
            was given itself the one that it lies in.
    """
    own = side_of_name(path.name)
    if own:
        return own
    top = root.parent if path == root else root
    folders = [path.parent, *path.parent.parents]
    within = [each for each in folders if each == top or each.is_relative_to(top)]
    return next(filter(None, (side_of_folder(each.name) for each in within)), "")


def side_of_row(word: str, file_side: str) -> str:
    """Return the side of a row: its own word first, then its file's side; else an empty text.

    A row without a side is trained on, unless a seeded share of such rows is held out.
    """
    return side_of_word(word) or file_side


def split_names(wanted: str) -> tuple[str, ...]:
    """Return the names in a split expression of the hub, as in ``train[:10%]+validation``."""
    return tuple(each.partition("[")[0].strip() for each in wanted.split("+"))


def _parts(name: str) -> list[str]:
    return [part.casefold() for part in _PART.findall(_HUMP.sub(" ", name))]
