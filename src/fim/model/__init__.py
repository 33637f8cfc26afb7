"""Models: where they come from, how they are loaded, and their adapters."""

from __future__ import annotations

from fim.config import EMBEDDED_MODEL_NAME
from fim.model.adapter import (
    AdapterRecord,
    attach_adapter,
    check_adapter,
    read_adapter_record,
    save_adapter,
    write_adapter_record,
)
from fim.model.embedded import ensure_embedded_model
from fim.model.hardware import DtypeChoice, Hardware, choose_dtype, detect_hardware
from fim.model.loaded import LoadedModel
from fim.model.loader import ModelLoader
from fim.model.merging import merge_adapter
from fim.model.requirements import check_requirements, choose_backend, needs_accelerator
from fim.model.shape import ModelShape

__all__ = [
    "EMBEDDED_MODEL_NAME",
    "AdapterRecord",
    "DtypeChoice",
    "Hardware",
    "LoadedModel",
    "ModelLoader",
    "ModelShape",
    "attach_adapter",
    "check_adapter",
    "check_requirements",
    "choose_backend",
    "choose_dtype",
    "detect_hardware",
    "ensure_embedded_model",
    "merge_adapter",
    "needs_accelerator",
    "read_adapter_record",
    "save_adapter",
    "write_adapter_record",
]
