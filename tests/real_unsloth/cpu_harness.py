"""Real Unsloth on a processor without a GPU: what has to be stood in for, and nothing else.

Unsloth imports without a GPU under its own switch ``UNSLOTH_ALLOW_CPU``, which leaves out the
rewriting of TRL; that is called here as the import does it where there is a GPU. Stood in for are
CUDA's queries, the device of the rotary cache, and the kernels of norm, rotation and SwiGLU by the
same formulas in torch. Loading, the forward passes, LoRA, the loss and the trainer are Unsloth's.
"""

from __future__ import annotations

import os
import socket
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

GIB = 1 << 30
CARD = SimpleNamespace(
    name="none", total_memory=80 * GIB, major=9, minor=0, multi_processor_count=132, warp_size=32
)
ANSWERS = {
    "device_count": 1,
    "current_device": 0,
    "get_device_capability": (9, 0),
    "get_device_properties": CARD,
    "mem_get_info": (40 * GIB, 80 * GIB),
    "memory_allocated": 0,
    "memory_reserved": 0,
}


class Seen:
    """What happened while Unsloth was at work."""

    def __init__(self) -> None:
        self.early: list[str] = []
        self.logins = 0
        self.addresses: list[str] = []


def install(*, has_fused_lora: bool) -> Seen:
    """Let the product load Unsloth on this machine; return what is seen of it from now on.

    Args:
        has_fused_lora: Let the functions of LoRA be the fused ones, which need bfloat16.
    """
    import fim.model.loader
    from fim.model import Hardware, unsloth_backend

    os.environ |= {"UNSLOTH_ALLOW_CPU": "1", "TORCHDYNAMO_DISABLE": "1"}
    for name, value in ANSWERS.items():
        setattr(torch.cuda, name, _answer(value))
    torch._C._cuda_getCurrentRawStream = _answer(0)  # type: ignore[attr-defined]
    hardware = Hardware("cuda", name="none", num_accelerators=1, has_bfloat16=True)
    fim.model.loader.detect_hardware = _answer(hardware)
    seen = Seen()
    _watch_network(seen)
    original = unsloth_backend.import_unsloth

    def import_unsloth() -> ModuleType:
        if "unsloth" in sys.modules:
            return original()
        seen.early = [name for name in ("trl", "peft", "transformers") if name in sys.modules]
        module = original()
        _watch_logins(seen)
        _finish(has_fused_lora=has_fused_lora)
        return module

    unsloth_backend.import_unsloth = import_unsloth
    return seen


def _answer(value: object) -> Any:
    return lambda *_, **__: value


def _watch_network(seen: Seen) -> None:
    """Refuse every connection that leaves this machine, and keep where it was to go."""
    original = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            seen.addresses.append(str(address))
            raise OSError("no network in this test")
        original(self, address)

    socket.socket.connect = connect  # type: ignore[method-assign,assignment]


def _watch_logins(seen: Seen) -> None:
    import huggingface_hub

    def login(*_: object, **__: object) -> None:
        seen.logins += 1

    for name, module in list(sys.modules.items()):
        is_one = name.startswith(("unsloth", "huggingface_hub"))
        if is_one and callable(vars(module).get("login")):
            module.login = login  # type: ignore[attr-defined]
    huggingface_hub.login = login


def _finish(*, has_fused_lora: bool) -> None:
    """Put Unsloth on the CPU and rewrite TRL, as its import does with a GPU."""
    import unsloth.models._utils as utils
    from unsloth.models import llama, loader, qwen3

    for module in list(sys.modules.values()):
        name = getattr(module, "__name__", "")
        is_own = name.startswith("unsloth") and name != "unsloth.device_type"
        if is_own and getattr(module, "DEVICE_TYPE_TORCH", "") == "cuda":
            module.DEVICE_TYPE_TORCH = "cpu"  # type: ignore[attr-defined]
    llama.get_current_device = _answer("cpu")
    cache = llama._PerDeviceRopeCache
    cache._build_rope_cache, cache._ensure_rope_cache = _build_rope, _ensure_rope
    for module in (llama, qwen3):
        module.fast_rms_layernorm, module.fast_rope_embedding = _norm, _rope
    qwen3._qk_norm_rope.QK_NORM_ROPE_ENABLED = False
    if has_fused_lora:
        for module in (utils, llama, loader):
            module.is_bfloat16_supported = _answer(value=True)
        _replace_swiglu()
    os.environ["UNSLOTH_ALLOW_CPU"] = "0"
    import unsloth.models.rl as rewriting
    from unsloth import trainer

    torch.cuda.device_count = _answer(0)
    rewriting.patch_trl_disable_gradient_checkpointing()
    rewriting._patch_trl_rl_trainers("sft_trainer")
    trainer._patch_trl_trainer()


def _replace_swiglu() -> None:
    """Let SwiGLU's forward be the formula in torch, and its backward Unsloth's own in torch."""
    import unsloth.kernels.fast_lora as fused
    import unsloth.kernels.swiglu as kernels

    def forward(gate: Tensor, up: Tensor) -> Tensor:
        return torch.nn.functional.silu(gate.float()).to(gate.dtype) * up

    fused.swiglu_fg_kernel = forward
    fused.swiglu_DWf_DW_dfg_kernel = kernels._DWf_DW_dfg_traced


def _build_rope(self: Any, _index: int) -> None:
    size = self.current_rope_size
    self._set_cos_sin_cache(
        seq_len=self._rope_cache_rows(),
        device=torch.device("cpu", 0),
        dtype=self._rope_cache_dtype,
    )
    self.current_rope_size, self._rope_cache_versions[0] = size, self._rope_cache_version


def _ensure_rope(self: Any, _index: int) -> int:
    if self._rope_cache_stale(self.multi_gpu_cos_cached[0], 0):
        _build_rope(self, 0)
        self._rope_rows_ready[0] = self.multi_gpu_cos_cached[0].shape[0]
    return 0


def _norm(layer: Any, x: Tensor, **_: object) -> Tensor:
    wide = x.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + layer.variance_epsilon)
    return (layer.weight * (wide * scale).to(x.dtype)).to(x.dtype)


def _rope(
    query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, at: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    if at is None:
        cos, sin = cos[None, : query.shape[-2]], sin[None, : query.shape[-2]]
    else:
        cos, sin = cos[at.long()], sin[at.long()]
    cos = cos.unsqueeze(1).to(query.dtype).clone()
    sin = sin.unsqueeze(1).to(query.dtype).clone()
    return query * cos + _turn(query) * sin, key * cos + _turn(key) * sin


def _turn(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), -1)
