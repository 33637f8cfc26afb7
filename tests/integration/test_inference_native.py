"""The compiled forward pass: forms of matrices, products, adapters, threads, and its compiler."""

from __future__ import annotations

import ctypes
import logging
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from fim.config.switches import c_compiler
from fim.inference.fast import fast_form
from fim.inference.native import NativeModel, NativeRows
from fim.inference.native.encoding import Encoded, encode
from fim.inference.native.library import build_library, native_library
from fim.inference.rows import Part

pytestmark = pytest.mark.skipif(c_compiler() is None, reason="there is no C compiler")

VOCABULARY = 101
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
LANES = (4, 8, 16)
GGUF_TYPES = {4: GGMLQuantizationType.Q4_1, 8: GGMLQuantizationType.Q8_0}


@pytest.fixture(scope="module", params=LANES)
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ctypes.CDLL:
    """The library for vectors of so many numbers, whatever this processor has."""
    flags = [f"-DLANES={request.param}", "-O1"]
    return build_library(tmp_path_factory.mktemp("native"), flags)


def _in_form(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Return a matrix like another that a form holds exactly."""
    if bits in GGUF_TYPES:
        kind = GGUF_TYPES[bits]
        return torch.from_numpy(dequantize(quantize(weight.numpy(), kind), kind))
    return weight.bfloat16().float() if bits == 16 else weight


def _decoded(encoded: Encoded, panel: int) -> np.ndarray:
    """Read a matrix as ``matrices.h`` describes it."""
    outputs, inputs = encoded.shape
    bits, panels = encoded.bits, -(-outputs // panel)
    per_word, length = 32 // bits, 16 if bits == 32 else 32
    blocks = encoded.data.reshape(panels, inputs // length, -1)
    num_numbers = {4: 2, 8: 1}.get(bits, 0)
    numbers = blocks[..., : num_numbers * panel * 4].copy().view(np.float32)
    words = blocks[..., num_numbers * panel * 4 :].copy().view(np.uint32)
    words = words.reshape(panels, inputs // length, length // per_word, 1, panel)
    codes = words >> (np.arange(per_word, dtype=np.uint32) * np.uint32(bits % 32))[:, None]
    codes = codes.reshape(panels, inputs // length, length, panel)
    scale = numbers[..., None, :panel] if num_numbers else None
    if bits == 4:
        values = (codes & 15).astype(np.float32) * scale + numbers[..., None, panel:]
    elif bits == 8:
        values = (codes & 255).astype(np.uint8).view(np.int8).astype(np.float32) * scale
    elif bits == 16:
        values = (codes << np.uint32(16)).view(np.float32)
    else:
        values = codes.view(np.float32)
    return values.transpose(0, 3, 1, 2).reshape(-1, inputs)[:outputs]


@pytest.mark.parametrize("bits", [4, 8, 16, 32])
@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-5, 0.0])
@pytest.mark.parametrize("outputs", [1, 16, 37])
def test_a_matrix_takes_the_smallest_form_that_holds_it(
    library: ctypes.CDLL, bits: int, size: float, outputs: int
) -> None:
    torch.manual_seed(outputs)
    weight = _in_form(torch.randn(outputs, 96) * size, bits)
    encoded = encode(library, weight, (4, 8, 16, 32))
    assert encoded is not None
    assert encoded.bits == (bits if size else 4)
    np.testing.assert_array_equal(_decoded(encoded, library.fim_panel()), weight.numpy())


@given(
    st.lists(st.floats(-(2.0**14), 2.0**14, width=16), min_size=2, max_size=2),
    st.lists(st.integers(0, 15), min_size=30, max_size=30),
)
def test_any_scales_of_a_block_are_found_again(numbers: list[float], codes: list[int]) -> None:
    scale, low = np.float32(abs(numbers[0])), np.float32(numbers[1])
    values = np.array([0, 15, *codes], dtype=np.float32) * scale + low
    library = native_library()
    found = encode(library, torch.from_numpy(values[None]), (4, 32))
    assert found is not None
    np.testing.assert_array_equal(_decoded(found, library.fim_panel())[0], values)


def test_a_matrix_that_is_almost_of_a_form_is_not_put_into_it(library: ctypes.CDLL) -> None:
    for bits in (4, 8, 16):
        weight = _in_form(torch.randn(20, 64), bits)
        weight[13, 40] = torch.nextafter(weight[13, 40], torch.tensor(9.0))
        assert encode(library, weight, (bits,)) is None
        assert encode(library, weight, (bits,), error=1e-6) is not None
    broken = torch.full((20, 64), float("nan"))
    assert encode(library, broken, (4, 8, 16, 32)) is None


def _model(bits: int = 32, **changes: object) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = LlamaForCausalLM(LlamaConfig(**{**SHAPE, **changes})).eval()
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.data = _in_form(weight.data * 5, bits)
    return model


@pytest.fixture
def native(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> ctypes.CDLL:
    monkeypatch.setattr("fim.inference.native.model.native_library", lambda: library)
    return library


def _ids(count: int) -> list[int]:
    return torch.randint(VOCABULARY, (count,), generator=torch.Generator().manual_seed(1)).tolist()


@pytest.mark.parametrize("bits", [4, 8, 16, 32])
def test_logits_are_those_of_the_library_for_any_number_of_ids(
    native: ctypes.CDLL, bits: int
) -> None:
    model = _model(bits)
    fast = NativeModel(model)
    assert set(fast.forms) == {bits}
    ids = _ids(240)
    expected = model(torch.tensor([ids])).logits[0].detach()
    rows = fast.rows(2, len(ids))
    for count in (1, 2, 3, 4, 5, 6, 7, 12, 13, 95, 97, 102, 193):
        for start in (0, 1, 39):
            rows.lengths[1] = 0
            if start:
                rows.read([Part(1, ids[:start])])
            found = rows.read([Part(1, ids[start : start + count], count)])
            wanted = expected[start : start + count]
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_results_do_not_depend_on_the_number_of_threads(native: ctypes.CDLL) -> None:
    fast = NativeModel(_model(4))
    before, found = torch.get_num_threads(), []
    try:
        for num_threads in (1, 2, 3, 8):
            torch.set_num_threads(num_threads)
            rows = fast.rows(1, 120)
            found.append(rows.read([Part(0, _ids(110), 40)]))
            found[-1] = torch.cat([found[-1], rows.read([Part(0, _ids(3), 3)])])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert torch.equal(found[0], other)


@pytest.fixture
def rows() -> NativeRows:
    return NativeModel(_model()).rows(1, 4)


def test_what_does_not_fit_is_refused(rows: NativeRows) -> None:
    rows.read([Part(0, [1, 2, 3])])
    with pytest.raises(IndexError, match="Row 0 has room for 4 ids, not for 3 and 2 more"):
        rows.read([Part(0, [1, 2])])
    for bad in (-1, VOCABULARY):
        with pytest.raises(IndexError, match="not one of the model's"):
            rows.read([Part(0, [bad])])
    assert rows.lengths == [3]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_attention_heads": 64, "num_key_value_heads": 64}, "heads of 4 numbers"),
        ({"intermediate_size": 100}, "a matrix has 100 inputs, no multiple of 32"),
        ({"hidden_size": 200, "head_dim": 64}, "hidden states of 200 numbers"),
    ],
)
def test_sizes_that_are_not_taken_are_told(changes: dict[str, int], reason: str) -> None:
    with pytest.raises(RuntimeError, match=reason):
        NativeModel(_model(**changes))
    assert fast_form(_model(**changes)) is not None


def test_numbers_that_are_none_are_told() -> None:
    model = _model()
    model.model.layers[1].mlp.up_proj.weight.data[3, 3] = float("inf")
    with pytest.raises(RuntimeError, match="numbers that are none"):
        NativeModel(model)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize("bits", [4, 16, 32])
@pytest.mark.parametrize("rank", [3, 32])
def test_a_merged_adapter_leaves_the_base_in_its_form(
    native: ctypes.CDLL, bits: int, rank: int
) -> None:
    from peft import LoraConfig, get_peft_model

    targets = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj", "lm_head"]
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=targets, init_lora_weights=False
    )
    model = get_peft_model(_model(bits), config).eval()
    model.merge_adapter()
    fast = NativeModel(model)
    assert set(fast.forms) == {bits}
    ids = _ids(130)
    expected = model(input_ids=torch.tensor([ids])).logits[0].detach()
    for parts in ((130,), (101, 1, 4, 24)):
        rows, start = fast.rows(1, 130), 0
        for count in parts:
            found = rows.read([Part(0, ids[start : start + count], count)])
            torch.testing.assert_close(found, expected[start : start + count], rtol=2e-3, atol=2e-3)
            start += count


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize("kind", ["DoRA", "bias", "two adapters"])
def test_other_adapters_are_part_of_the_weights(kind: str) -> None:
    from peft import LoraConfig, get_peft_model

    how = {"use_dora": kind == "DoRA", "lora_bias": kind == "bias", "init_lora_weights": False}
    config = LoraConfig(r=4, target_modules=["q_proj"], **how)
    model = get_peft_model(_biased_model(4), config).eval()
    model.add_adapter("second", config)
    model.merge_adapter(["default", "second"] if kind == "two adapters" else ["default"])
    fast = NativeModel(model)
    assert fast.forms[32] == 2 * SHAPE["hidden_size"] ** 2
    ids = _ids(9)
    expected = model(input_ids=torch.tensor([ids])).logits[0].detach()
    found = fast.rows(1, 9).read([Part(0, ids, 9)])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def _biased_model(bits: int) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = Qwen2ForCausalLM(Qwen2Config(**SHAPE)).eval()
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.data = _in_form(weight.data * 5, bits)
        for name, weight in model.named_parameters():
            weight.data.add_(torch.rand_like(weight) * ("bias" in name))
    return model


def test_biases_are_added_for_any_number_of_ids(native: ctypes.CDLL) -> None:
    model = _biased_model(8)
    ids = _ids(50)
    expected = model(torch.tensor([ids])).logits[0].detach()
    rows = NativeModel(model).rows(1, 50)
    found = torch.cat([rows.read([Part(0, ids[:46], 46)]), rows.read([Part(0, ids[46:], 4)])])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_gates_may_be_as_large_as_they_like() -> None:
    model = _model()
    for layer in model.model.layers:
        layer.mlp.gate_proj.weight.data *= 3000
        layer.self_attn.q_proj.weight.data *= 300
    ids = _ids(20)
    expected = model(torch.tensor([ids])).logits[0].detach()
    found = NativeModel(model).rows(1, 20).read([Part(0, ids, 20)])
    assert torch.isfinite(expected).all()
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2 * float(expected.std()))


def test_the_library_is_compiled_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIM_CACHE_DIR", str(tmp_path))
    with caplog.at_level(logging.INFO, logger="fim"):
        for _ in range(2):
            native_library.cache_clear()
            assert native_library().fim_panel() in {16, 32}
    assert caplog.text.count("compiling completions for this processor") == 1
    assert [path.suffix for path in (tmp_path / "native").iterdir()] == [".so"]
    native_library.cache_clear()


def _program(folder: Path, text: str) -> str:
    file = folder / "compiler"
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo 'forward.c: no such thing' >&2; exit 1", "refuses the source: forward.c: no such"),
        ("exit 3", "refuses the source: status 3"),
        ("exit 0", "refuses the source: status 0"),
        ("sleep 5", "takes longer than 0.2 s"),
        ("echo nonsense > forward.so", "is not to be had"),
    ],
)
def test_a_compiler_that_fails_is_told(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CC", _program(tmp_path, text))
    monkeypatch.setattr("fim.inference.native.library.TIMEOUT_SECONDS", 0.2)
    native_library.cache_clear()
    with pytest.raises(RuntimeError, match=reason):
        native_library()
    assert list((tmp_path / "cache" / "native").iterdir()) == []
    native_library.cache_clear()


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("FIM_CACHE_DIR", str(tmp_path / "file"))
    native_library.cache_clear()
    with pytest.raises(RuntimeError, match="is not to be had"):
        native_library()
    native_library.cache_clear()


def test_no_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="there is no C compiler"):
        build_library(tmp_path)
