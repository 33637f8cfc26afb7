"""Layers of a model on a CPU with fewer passes over memory: the same figures, sooner.

A training step of a small model on a CPU spends more time in elementwise passes than in products:
LoRA's scaling and adding, the casts of a norm, the halves of a rotation, each with a backward pass
and fresh memory. Here a LoRA layer, a norm and a rotation are each one step of the graph that
works in place. Layers with anything special (dropout, DoRA, several adapters, quantised or trained
weights) stay as they are, and so does every norm and rotation that a probe finds to be another.

Source:
    The idea is that of Unsloth's fused kernels (github.com/unslothai/unsloth), written with torch's
    own products.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from fim.training.loss import base_model, forward_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from peft.tuners.lora import Linear
    from torch import Tensor
    from torch.autograd.function import FunctionCtx

    from fim.model import LoadedModel

ROTATION = "apply_rotary_pos_emb"
KEPT_BLOCK_BYTES = 32 * 2**20
KEPT_FREE_BYTES = 2**30
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3


class LoraProduct(torch.autograd.Function):
    """``x W^T + b + s (x A^T) B^T`` of a frozen W, in place where it can be."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
    ) -> Tensor:
        """Return ``[..., O]`` for ``x`` ``[..., I]``, ``down`` ``[r, I]`` and ``up`` ``[O, r]``."""
        rows = x.reshape(-1, x.shape[-1])
        low, high = down.to(x.dtype), up.to(x.dtype)
        inner = torch.mm(rows, low.t())
        out = torch.mm(rows, weight.t()) if bias is None else torch.addmm(bias, rows, weight.t())
        out.addmm_(inner, high.t(), alpha=scale)
        ctx.save_for_backward(rows, weight, low, high, inner)
        ctx.scale, ctx.shape = scale, x.shape  # type: ignore[attr-defined]
        ctx.kinds = (down.dtype, up.dtype)  # type: ignore[attr-defined]
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the input and of both adapter matrices."""
        rows, weight, low, high, inner = ctx.saved_tensors  # type: ignore[attr-defined]
        scale, (down_kind, up_kind) = ctx.scale, ctx.kinds  # type: ignore[attr-defined]
        grad = grad.reshape(-1, grad.shape[-1])
        to_inner = torch.mm(grad, high).mul_(scale)
        to_input = None
        if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
            to_input = torch.mm(grad, weight).addmm_(to_inner, low)
            to_input = to_input.view(ctx.shape)  # type: ignore[attr-defined]
        to_down = torch.mm(to_inner.t(), rows).to(down_kind)
        to_up = torch.mm(grad.t(), inner).to(up_kind).mul_(scale)
        return to_input, None, None, to_down, to_up, None


class Normalised(torch.autograd.Function):
    """A root-mean-square norm with a frozen weight."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """Return ``weight * x / rms(x)`` ``[..., H]``, computed in float32 at least."""
        wide = x.to(_wide(x.dtype), copy=True)
        scale = wide.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return wide.mul_(scale).to(x.dtype).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the input."""
        x, weight, scale = ctx.saved_tensors  # type: ignore[attr-defined]
        unit = x.to(scale.dtype, copy=True).mul_(scale)
        found = (grad * weight).to(scale.dtype)
        along = (found * unit).mean(-1, keepdim=True)
        return found.addcmul_(unit, along, value=-1).mul_(scale).to(x.dtype), None, None


class Rotated(torch.autograd.Function):
    """A rotation of head halves by their positions."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return ``x`` ``[B, H, T, D]`` rotated; ``cos`` and ``sin`` broadcast against it."""
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin, 1.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient, rotated back."""
        cos, sin = ctx.saved_tensors  # type: ignore[attr-defined]
        return _rotate(grad, cos, sin, -1.0), None, None


@contextmanager
def lean_layers(loaded: LoadedModel) -> Iterator[None]:
    """Compute a model's LoRA layers, norms and rotations leanly where it runs on a CPU.

    Args:
        loaded: The model with its adapter.
    """
    if not loaded.device.startswith("cpu") or loaded.backend != "transformers":
        yield
        return
    keep_freed_memory()
    base = base_model(loaded.model)
    lean = [(module, forward) for module in base.modules() if (forward := lean_forward(module))]
    homes = {sys.modules[type(module).__module__] for module in base.modules()}
    with ExitStack() as stack:
        stack.enter_context(forward_kept(*(module for module, _ in lean)))
        for module, forward in lean:
            module.forward = forward
        for home in homes:
            original = getattr(home, ROTATION, None)
            if original is not None and _rotates_plainly(original):
                stack.callback(setattr, home, ROTATION, original)
                setattr(home, ROTATION, partial(rotate_both, original))
        yield


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, so that every tensor does not fault its pages anew."""
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, KEPT_BLOCK_BYTES)
        library.mallopt(_TRIM_THRESHOLD, KEPT_FREE_BYTES)


def lean_forward(module: nn.Module) -> Callable[..., Tensor] | None:
    """Return the lean way to compute a layer, None for one that has no such way."""
    from peft.tuners.lora import Linear

    if isinstance(module, Linear) and _is_plain(module):
        return partial(_lora, module, module.forward)
    if type(module).__name__.endswith("RMSNorm") and _norms_plainly(module):
        return partial(_norm, module, module.forward)
    return None


def rotate_both(
    original: Callable[..., tuple[Tensor, Tensor]],
    query: Tensor,
    key: Tensor,
    cos: Tensor,
    sin: Tensor,
    unsqueeze_dim: int = 1,
) -> tuple[Tensor, Tensor]:
    """Return queries and keys rotated, the original way where only a part of a head is.

    Args:
        original: Transformers' own function, whose arguments follow.
        query: ``[B, H, T, D]``.
        key: As ``query``.
        cos: ``[B, T, D]``.
        sin: As ``cos``.
        unsqueeze_dim: Where ``cos`` and ``sin`` get the axis of heads.
    """
    if cos.shape[-1] != query.shape[-1] or cos.dtype != query.dtype:
        return original(query, key, cos, sin, unsqueeze_dim)
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    rotate = cast("Callable[..., Tensor]", Rotated.apply)
    return rotate(query, cos, sin), rotate(key, cos, sin)


def _lora(module: Linear, original: Callable[..., Tensor], x: Tensor, **more: object) -> Tensor:
    """Compute a LoRA layer, the original way where its state or input is not the plain one."""
    base = cast("nn.Linear", module.base_layer)
    names = [name for name in module.active_adapters if name in module.lora_A]
    is_plain = len(names) == 1 and not (more or module.disable_adapters or module.merged)
    if not is_plain or x.dtype != base.weight.dtype or base.weight.requires_grad:
        return original(x, **more)
    product = cast("Callable[..., Tensor]", LoraProduct.apply)
    down, up = module.lora_A[names[0]].weight, module.lora_B[names[0]].weight
    return product(x, base.weight, base.bias, down, up, module.scaling[names[0]])


def _is_plain(module: Linear) -> bool:
    """Tell whether a LoRA layer is a product with a linear layer and nothing more."""
    has_dropout = any(not isinstance(each, nn.Identity) for each in module.lora_dropout.values())
    is_linear = type(module.base_layer) is nn.Linear
    return is_linear and not (has_dropout or any(module.lora_bias.values()) or module.lora_variant)


def _norm(module: nn.Module, original: Callable[..., Tensor], x: Tensor) -> Tensor:
    """Compute a norm, the original way where its weight is trained or of another type."""
    weight = cast("Tensor", module.weight)
    if weight.requires_grad or weight.dtype != x.dtype:
        return original(x)
    return _normalised(module, x)


def _normalised(module: nn.Module, x: Tensor) -> Tensor:
    """Return a norm's output in one step of the graph."""
    normalise = cast("Callable[..., Tensor]", Normalised.apply)
    return normalise(x, module.weight, module.variance_epsilon)


def _norms_plainly(module: nn.Module) -> bool:
    """Tell by a probe whether a norm is the one that is computed here."""
    weight = getattr(module, "weight", None)
    if weight is None or not hasattr(module, "variance_epsilon"):
        return False
    probe = torch.linspace(-2, 3, weight.numel(), dtype=weight.dtype)
    with torch.no_grad():
        return _is_close(module(probe), _normalised(module, probe))


def _rotates_plainly(original: Callable[..., tuple[Tensor, Tensor]]) -> bool:
    """Tell by a probe whether a rotation is the one that is computed here."""
    heads = torch.linspace(-2, 3, 48).view(1, 2, 3, 8)
    angles = torch.linspace(0, 1, 12).view(1, 3, 4).repeat(1, 1, 2)
    arguments = (heads, heads, angles.cos(), angles.sin())
    return _is_close(original(*arguments)[0], rotate_both(original, *arguments)[0])


def _is_close(one: Tensor, other: Tensor) -> bool:
    """Tell whether two results are the same within the rounding of their number type."""
    return torch.allclose(one, other, rtol=8 * torch.finfo(one.dtype).eps, atol=1e-6)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    """Return heads rotated by an angle, or back by it."""
    half = x.shape[-1] // 2
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-sign)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:], value=sign)
    return out


def _wide(kind: torch.dtype) -> torch.dtype:
    """Return the number type that sums of squares are kept in."""
    return torch.float64 if kind == torch.float64 else torch.float32
