from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers.models.llama import modeling_llama

from fim.training import lean
from fim.training.blocks import Attended, gradients_in_blocks
from fim.training.lean import LoraProduct, Rotated, lean_forward, lean_layers, rotate_both
from fim.training.loss import base_model, head_batch_nll, supervised_forward
from fim.training.pieces import attention_in_pieces
from fim.training.rows import RightPadder
from packing_toys import document_rows, gradients, tiny_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from fim.model import LoadedModel

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapted(family: str = "llama", dtype: str = "float64", **more: object) -> LoadedModel:
    config = LoraConfig(r=4, lora_alpha=6, target_modules=PROJECTIONS, **more)
    torch.manual_seed(1)
    model = get_peft_model(tiny_model(family, dtype), config)
    for name, each in model.named_parameters():
        if "lora_" in name:
            each.data = torch.randn_like(each) * 0.2
            each.data = each.data.to(getattr(torch, dtype))
    return cast("LoadedModel", SimpleNamespace(model=model, device="cpu", backend="transformers"))


def step(model: PreTrainedModel) -> tuple[float, dict[str, torch.Tensor]]:
    rows = document_rows(2, 3)
    batch = RightPadder(0)([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])
    with supervised_forward(model):
        loss = head_batch_nll(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach()), gradients(model)


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_lean_layers_give_the_same_loss_and_gradients(family: str) -> None:
    loaded = adapted(family)
    loss, wanted = step(loaded.model)
    rotation = modeling_llama.apply_rotary_pos_emb
    with lean_layers(loaded), attention_in_pieces(base_model(loaded.model)):
        if family == "llama":
            assert modeling_llama.apply_rotary_pos_emb is not rotation
        layer = base_model(loaded.model).model.layers[0]
        assert "forward" in layer.mlp.down_proj.__dict__
        ours, found = step(loaded.model)
        with torch.no_grad():
            plain = loaded.model(input_ids=torch.arange(5, 25)[None]).logits
    assert modeling_llama.apply_rotary_pos_emb is rotation
    assert "forward" not in layer.mlp.down_proj.__dict__
    assert ours == pytest.approx(loss, rel=1e-9)
    assert found.keys() == wanted.keys()
    for name, each in wanted.items():
        assert float((found[name] - each).norm() / each.norm()) < 1e-9, name
    with torch.no_grad():
        logits = loaded.model(input_ids=torch.arange(5, 25)[None]).logits
    assert torch.allclose(plain, logits, rtol=1e-9)


def test_lean_layers_take_part_in_the_graph_of_adapters_alone() -> None:
    loaded = adapted()
    with lean_layers(loaded):
        _, found = step(loaded.model)
    assert all("lora_" in name for name in found)


@pytest.mark.parametrize(("device", "backend"), [("cuda:0", "transformers"), ("cpu", "unsloth")])
def test_other_devices_and_backends_keep_their_layers(device: str, backend: str) -> None:
    loaded = adapted()
    other = SimpleNamespace(model=loaded.model, device=device, backend=backend)
    with lean_layers(cast("LoadedModel", other)):
        layer = base_model(loaded.model).model.layers[0]
        assert "forward" not in layer.mlp.down_proj.__dict__


@pytest.mark.parametrize(
    "special", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": False, "r": 4}]
)
def test_only_plain_lora_is_computed_leanly(special: dict[str, object]) -> None:
    loaded = adapted(**{name: value for name, value in special.items() if name != "r"})
    layer = base_model(loaded.model).model.layers[0].self_attn.o_proj
    assert (lean_forward(layer) is None) == ("r" not in special)


def test_a_layer_without_its_adapter_computes_its_base() -> None:
    loaded = adapted()
    ids = torch.arange(5, 25)[None]
    with torch.no_grad(), lean_layers(loaded), loaded.model.disable_adapter():
        ours = loaded.model(input_ids=ids).logits
    with torch.no_grad(), loaded.model.disable_adapter():
        theirs = loaded.model(input_ids=ids).logits
    assert torch.allclose(ours, theirs, rtol=1e-9)


def test_a_trained_norm_keeps_its_gradient() -> None:
    loaded = adapted()
    norm = base_model(loaded.model).model.norm
    norm.weight.requires_grad_()
    wanted = step(loaded.model)[1]
    with lean_layers(loaded):
        found = step(loaded.model)[1]
    name = next(each for each in wanted if each.endswith("norm.weight"))
    assert torch.allclose(found[name], wanted[name], rtol=1e-9)


class ShiftedRMSNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8))
        self.variance_epsilon = 1e-6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (1 + self.weight) * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


def test_a_norm_of_another_kind_is_left_alone() -> None:
    assert lean_forward(ShiftedRMSNorm()) is None
    nameless = ShiftedRMSNorm()
    del nameless.variance_epsilon
    assert lean_forward(nameless) is None


def test_a_rotation_of_a_part_of_a_head_is_the_original_one() -> None:
    seen = []

    def original(*arguments: object) -> tuple[str, str]:
        seen.append(arguments)
        return "query", "key"

    heads, angles = torch.ones(1, 2, 3, 8), torch.ones(1, 3, 4)
    found = rotate_both(original, heads, heads, angles, angles)  # type: ignore[arg-type]
    assert found == ("query", "key")
    assert len(seen) == 1


def test_products_and_rotations_pass_torchs_own_check() -> None:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int, trained: bool = True) -> torch.Tensor:
        made = torch.randn(*shape, dtype=torch.float64, generator=generator)
        return made.requires_grad_(trained)

    x, down, up = random(2, 3, 5), random(2, 5), random(4, 2)
    weight, bias = random(4, 5, trained=False), random(4, trained=False)
    assert torch.autograd.gradcheck(
        lambda *each: LoraProduct.apply(each[0], weight, bias, each[1], each[2], 0.7),
        (x, down, up),
    )
    angles = random(1, 1, 3, 4, trained=False).repeat(1, 1, 1, 2)
    heads = random(1, 2, 3, 8)
    assert torch.autograd.gradcheck(
        lambda each: Rotated.apply(each, angles.cos(), angles.sin()), (heads,)
    )


def test_freed_memory_is_kept_where_the_c_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    library = SimpleNamespace(mallopt=lambda *numbers: asked.append(numbers))
    monkeypatch.setattr(lean.sys, "platform", "linux")
    monkeypatch.setattr(lean.ctypes, "CDLL", lambda _: library)
    lean.keep_freed_memory()
    assert asked == [(-3, lean.KEPT_BLOCK_BYTES), (-1, lean.KEPT_FREE_BYTES)]
    monkeypatch.setattr(lean.sys, "platform", "darwin")
    lean.keep_freed_memory()
    assert len(asked) == 2


def test_bfloat16_gradients_of_attention_are_as_near_as_the_kernels_own() -> None:
    torch.manual_seed(0)
    shape, scale = (2, 6, 150, 64), 0.11
    query, grad = (torch.randn(shape).bfloat16() for _ in range(2))
    key, value = (torch.randn(2, 2, 150, 64).bfloat16() for _ in range(2))
    forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, sums = forward(query, key, value, 0.0, True, scale=scale)
    from fim.packing import Piece

    kept = Attended(query, key, value, out, sums, scale)
    found = gradients_in_blocks(grad, kept, (Piece(0, 0, 150, 0, 0),))
    exact = [each.double().requires_grad_() for each in (query, key, value)]
    nn.functional.scaled_dot_product_attention(
        *exact, is_causal=True, enable_gqa=True, scale=scale
    ).backward(grad.double())
    for ours, theirs in zip(found, exact, strict=True):
        wanted = cast("torch.Tensor", theirs.grad)
        assert float((ours.double() - wanted).norm() / wanted.norm()) < 0.008
