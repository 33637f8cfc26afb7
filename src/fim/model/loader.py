"""The door to models: one object that loads a base, puts LoRA on it, or an adapter from disk."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from fim.model import transformers_backend, unsloth_backend
from fim.model.adapter import attach_adapter
from fim.model.embedded import ensure_embedded_model
from fim.model.extension import extend_embeddings, extend_tokenizer
from fim.model.hardware import Hardware, choose_dtype, detect_hardware, require_packages
from fim.model.loaded import LoadedModel
from fim.model.marks import marks_of
from fim.model.merging import merge_adapter
from fim.model.prepared import prepare_config, prepare_tokenizer, prepare_weights
from fim.model.requirements import check_requirements, choose_backend
from fim.model.source import (
    CONFIG_FILES,
    MODEL_FILES,
    TOKENIZER_FILES,
    WORD_FILES,
    ModelSource,
    check_folder,
    find_folder,
    find_on_hub,
    kind_of,
)
from fim.model.targets import find_targets, skeleton
from fim.model.vocabulary import check_ids, embedding_rows, text_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from fim.config import HfSettings, LoraSettings, ModelSettings

_logger = logging.getLogger(__name__)


class ModelLoader:
    """Load a base model with one of two backends and give it a LoRA adapter.

    Args:
        model: Which model and how.
        lora: Size and place of the adapter.
        hf: Access to the hub.
        hardware: The machine; None to look at it when it is first needed.
        cache_dir: Cache of the embedded model; None for the configured one.
        seed: Seed of new LoRA matrices.
    """

    def __init__(
        self,
        *,
        model: ModelSettings,
        lora: LoraSettings,
        hf: HfSettings,
        hardware: Hardware | None = None,
        cache_dir: Path | None = None,
        seed: int = 3407,
    ) -> None:
        self._model = model
        self._lora = lora
        self._token = hf.token.get_secret_value() if hf.token is not None else None
        self._hardware = hardware
        self._cache_dir = cache_dir
        self._seed = seed

    @property
    def hardware(self) -> Hardware:
        """The machine that the model is loaded on.

        Raises:
            MissingExtraError: torch is not installed.
        """
        if self._hardware is None:
            self._hardware = detect_hardware()
        return self._hardware

    def check(self, *, is_training: bool = True) -> None:
        """Refuse what this machine cannot do, before anything is downloaded.

        Args:
            is_training: Also check what only training needs.

        Raises:
            MissingExtraError: A package is not installed.
            NoAcceleratorError: The model needs a GPU and there is none.
            UnsupportedVersionError: A package version is known not to work here.
            ModelNotFoundError: A model folder is missing or lacks a part.
            SetupError: Unsloth is to train and cannot be imported, or comes too late to patch.
        """
        check_requirements(self._model, self.hardware, is_training=is_training)
        if kind_of(self._model.name) == "folder":
            check_folder(self._model.name)
        if choose_backend(self._model, self.hardware, is_training=is_training) == "unsloth":
            unsloth_backend.import_unsloth()

    def check_parts(self, *, is_training: bool = True) -> None:
        """Refuse parts that do not fit each other, before any data or weights are read.

        The tokenizer is compared with the embedding and, where LoRA is to be trained,
        ``lora.target_modules`` with the layers; both are known from the model's configuration.

        Raises:
            ModelNotFoundError: The model, its tokenizer or its configuration cannot be found.
            ModelError: The tokenizer has ids without a row, or LoRA finds no place.
            InvalidSettingError: LoRA is to go on the head, or on a part that is no layer.
        """
        config = self.config()
        check_ids(text_ids(self.tokenizer()), embedding_rows(config), name=self._model.name)
        if not is_training or self._model.full_finetuning:
            return
        model = skeleton(config)
        if model is not None:
            find_targets(model, self._lora)

    def check_control_ids(self, ids: Iterable[int]) -> None:
        """Refuse a format whose control tokens the model has no rows for.

        Raises:
            ModelError: The largest id has none.
        """
        if not self._model.add_tokens:
            check_ids(ids, embedding_rows(self.config()), name=self._model.name)

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer alone; a folder that holds nothing else will do.

        With ``model.add_tokens`` it gets the fill-in-the-middle tokens that it lacks.

        Raises:
            MissingExtraError: transformers is not installed.
            ModelNotFoundError: The model or its tokenizer cannot be found.
            EmbeddedModelError: The embedded model cannot be had.
        """
        require_packages("transformers")
        source = self._tokenizer_source()
        tokenizer = transformers_backend.load_tokenizer(source)
        if self._model.add_tokens:
            extend_tokenizer(tokenizer)
        return tokenizer

    def config(self) -> PretrainedConfig:
        """Load the model's configuration alone: its shape, none of its weights.

        Raises:
            MissingExtraError: transformers is not installed.
            ModelNotFoundError: The model or its configuration cannot be found.
            EmbeddedModelError: The embedded model cannot be had.
        """
        require_packages("transformers")
        name, kind = self._model.name, kind_of(self._model.name)
        if kind == "embedded":
            folder = prepare_config(ensure_embedded_model(self._cache_dir))
            source = ModelSource(name=name, kind=kind, location=str(folder))
        elif kind == "folder":
            source = find_folder(name, needs=CONFIG_FILES)
        else:
            source = self._on_hub(CONFIG_FILES)
        return transformers_backend.load_config(source)

    def load(self, *, is_training: bool = False) -> LoadedModel:
        """Load the base model and its tokenizer.

        Args:
            is_training: Load with the backend that trains, which may be Unsloth; transformers
                answers.

        Raises:
            MissingExtraError: A package is not installed.
            NoAcceleratorError: The model needs a GPU and there is none.
            UnsupportedVersionError: A package version is known not to work here.
            ModelNotFoundError: The model cannot be found or read.
            ModelError: The files are no causal language model.
            NotEnoughMemoryError: The model does not fit the memory.
            EmbeddedModelError: The embedded model cannot be had.
            ConflictingSettingsError: Tokens are to be added, which the backend cannot.
        """
        self.check(is_training=is_training)
        hardware = self.hardware
        backend = choose_backend(self._model, hardware, is_training=is_training)
        dtype = choose_dtype(self._model.dtype, hardware)
        source = self._source(dtype.name)
        _logger.info(
            "loading %s with %s in %s (%s)", source.name, backend, dtype.name, dtype.reason
        )
        if backend == "unsloth":
            model = unsloth_backend.load(
                source, self._model, self._lora, dtype=dtype.name, seed=self._seed
            )
        else:
            model = transformers_backend.load_model(
                source,
                self._model,
                dtype=dtype.name,
                device=hardware.accelerator,
            )
        tokenizer = transformers_backend.load_tokenizer(source)
        added_ids = extend_tokenizer(tokenizer) if self._model.add_tokens else ()
        if added_ids:
            extend_embeddings(model, added_ids, seed=self._seed)
        return LoadedModel(
            model=model,
            tokenizer=tokenizer,
            backend=backend,
            dtype=dtype.name,
            device=str(model.device),
            name=source.name,
            revision=source.revision,
            is_quantised=transformers_backend.is_quantised(model),
            added_token_ids=added_ids,
            marks=marks_of(model),
        )

    def for_training(
        self, loaded: LoadedModel, *, control_token_ids: Sequence[int] = ()
    ) -> LoadedModel:
        """Return the model with trainable LoRA matrices on it; everything else is frozen.

        With ``model.full_finetuning`` there are no matrices: every weight is trained.

        Args:
            loaded: What :meth:`load` returned.
            control_token_ids: The format's control tokens, trained with
                ``lora.train_control_tokens``. Tokens that were added to the base are always
                trained.

        Raises:
            ConflictingSettingsError: Control tokens shall be trained and cannot be.
            InvalidSettingError: LoRA is to go on the head, or on a part that is no layer.
            ModelError: The model lacks the projections.
            SetupError: Unsloth is not in place.
        """
        if self._model.full_finetuning:
            return self._for_full_training(loaded)
        targets = find_targets(loaded.model, self._lora)
        level = logging.WARNING if targets.unmatched else logging.INFO
        _logger.log(level, "layers with LoRA: %s", targets.summary)
        lora = self._lora.model_copy(update={"target_modules": targets.names})
        if loaded.backend == "unsloth":
            model = unsloth_backend.attach_lora(loaded.model, self._model, lora, seed=self._seed)
        else:
            model = transformers_backend.attach_lora(
                loaded.model,
                lora,
                control_token_ids=control_token_ids,
                added_token_ids=loaded.added_token_ids,
                seed=self._seed,
            )
        return replace(loaded, model=model)

    def _for_full_training(self, loaded: LoadedModel) -> LoadedModel:
        """Return the model with every weight trainable; Unsloth has made it so at loading."""
        if loaded.backend == "unsloth":
            unsloth_backend.check_patched()
            return replace(loaded, is_full=True)
        model = transformers_backend.train_all(loaded.model, self._lora)
        return replace(loaded, model=model, is_full=True)

    def with_adapter(self, loaded: LoadedModel, adapter_dir: Path) -> LoadedModel:
        """Return the model with an adapter from disk on it, ready to generate.

        Raises:
            ModelNotFoundError: The folder holds no adapter.
            AdapterMismatchError: The adapter was trained on another base.
        """
        return merge_adapter(attach_adapter(loaded, adapter_dir))

    def _source(self, dtype: str) -> ModelSource:
        """Find the model, fetching and preparing the embedded one."""
        name, kind = self._model.name, kind_of(self._model.name)
        if kind == "embedded":
            folder = prepare_weights(ensure_embedded_model(self._cache_dir), dtype)
            return ModelSource(name=name, kind=kind, location=str(folder))
        if kind == "folder":
            return find_folder(name, needs=CONFIG_FILES)
        return self._on_hub(MODEL_FILES)

    def _tokenizer_source(self) -> ModelSource:
        """Find the tokenizer; for the embedded model without preparing its weights."""
        name, kind = self._model.name, kind_of(self._model.name)
        if kind == "embedded":
            folder = prepare_tokenizer(ensure_embedded_model(self._cache_dir))
            return ModelSource(name=name, kind=kind, location=str(folder))
        if kind == "folder":
            return find_folder(name, needs=TOKENIZER_FILES)
        return self._on_hub(WORD_FILES)

    def _on_hub(self, needs: Sequence[str]) -> ModelSource:
        """Fetch files of the model from the hub."""
        return find_on_hub(
            self._model.name, revision=self._model.revision, token=self._token, needs=needs
        )
