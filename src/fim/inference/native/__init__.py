"""The forward pass that a C compiler builds for the processor of this machine."""

from __future__ import annotations

from fim.inference.native.model import NativeModel, NativeRows

__all__ = ["NativeModel", "NativeRows"]
