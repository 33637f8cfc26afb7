"""Fill-in-the-middle tokens for a base that has none: added, given rows, trained with the adapter.

New ids follow the base's own in a fixed order, so the same base always gets the same ids, and an
adapter that was trained on them finds them again. The rows that the adapter holds replace those
made here; these only have to be a sensible start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fim.errors import FormatUnsupportedError
from fim.formats import resolve_format
from fim.formats.sentinel_families import ADDED_TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SPARE_FAMILY = "smollm2"
INITIAL_NOISE = 0.1
_NATIVE_FORMATS = ("psm", "spm", "codestral")


class AddedVocabulary:
    """The control tokens of a tokenizer; implements ``Vocabulary``.

    Args:
        tokenizer: Any tokenizer of transformers.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._ids = dict(tokenizer.get_added_vocab())

    def control_token_id(self, token: str) -> int | None:
        """Return the id of an added token, or None when the tokenizer has no such token."""
        return self._ids.get(token)


def extend_tokenizer(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Add the fill-in-the-middle tokens that a tokenizer lacks.

    A tokenizer of a family that was trained to fill holes stays as it is. Tokens that it has under
    the same text, such as the end of a document, are used and not added.

    Returns:
        The new ids, in order; none when nothing was missing.
    """
    from tokenizers import AddedToken

    vocabulary = AddedVocabulary(tokenizer)
    if any(_speaks_natively(name, vocabulary) for name in _NATIVE_FORMATS):
        return ()
    missing = [token for token in ADDED_TOKENS if vocabulary.control_token_id(token) is None]
    tokenizer.add_tokens([AddedToken(each, special=False, normalized=False) for each in missing])
    known = tokenizer.get_added_vocab()
    return tuple(known[token] for token in missing)


def extend_embeddings(model: PreTrainedModel, token_ids: Sequence[int], *, seed: int) -> None:
    """Give new ids rows in the embedding and, where it is another matrix, in the head.

    A row is the mean of all old rows and a little noise, so that no two are alike. Matrices that
    are long enough already, as padded vocabularies are, keep their length.

    Args:
        model: The base; changed in place.
        token_ids: The new ids.
        seed: Seed of the noise; the global generator is left as it was.
    """
    num_old = min(token_ids)
    num_rows = max(token_ids) + 1
    if num_rows > len(cast("Tensor", model.get_input_embeddings().weight)):
        model.resize_token_embeddings(num_rows, mean_resizing=False)
    matrices = [cast("Tensor", model.get_input_embeddings().weight)]
    if has_own_head(model):
        matrices.append(cast("Tensor", head_of(model).weight))
    for number, matrix in enumerate(matrices):
        _fill_rows(matrix, token_ids, num_old=num_old, seed=seed + number)


def has_own_head(model: PreTrainedModel) -> bool:
    """Tell whether a model's head is another matrix than its embedding."""
    return head_of(model).weight is not model.get_input_embeddings().weight


def head_of(model: PreTrainedModel) -> Module:
    """Return the module that turns hidden states into logits."""
    return cast("Module", model.get_output_embeddings())  # type: ignore[no-untyped-call]


def _speaks_natively(name: str, vocabulary: AddedVocabulary) -> bool:
    try:
        return resolve_format(name, vocabulary).format.family != SPARE_FAMILY
    except FormatUnsupportedError:
        return False


def _fill_rows(matrix: Tensor, token_ids: Sequence[int], *, num_old: int, seed: int) -> None:
    import torch

    old = matrix.data[:num_old].float()
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((len(token_ids), old.shape[1]), generator=generator).to(old.device)
    rows = old.mean(dim=0) + INITIAL_NOISE * old.std(dim=0) * noise
    matrix.data[list(token_ids)] = rows.to(matrix.dtype)
