"""torch and CuPy: all that is needed of them. Neither is imported before one of its arrays arrives."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeAlias

__all__ = ["LIBRARIES", "DeviceArray", "Library"]


class DeviceArray(NamedTuple):
    """What the kernels need to know of an array. Strides are in elements."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    device: int
    contiguous: bool
    aligned: bool


class _Torch:
    """What is needed of torch."""

    name = "torch"
    to_host = "x.cpu()"

    def __init__(self) -> None:
        self._torch = importlib.import_module("torch")

    def on_device(self, tensor: Any) -> bool:
        return bool(getattr(tensor, "is_cuda", False))

    def adopt(self, values: Any) -> Any:
        if hasattr(values, "__dlpack__"):
            return self._torch.from_dlpack(values)
        return self._torch.as_tensor(values, device="cuda")

    def describe(self, tensor: Any) -> DeviceArray:
        return DeviceArray(
            tensor.data_ptr(),
            tuple(tensor.shape),
            tensor.stride(),
            str(tensor.dtype).removeprefix("torch."),
            tensor.device.index,
            tensor.is_contiguous(),
            tensor.data_ptr() % tensor.element_size() == 0,
        )

    def stream(self, device: int) -> int:
        return int(self._torch.cuda.current_stream(device).cuda_stream)

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> Any:
        return self._torch.empty(shape, dtype=getattr(self._torch, dtype), device=f"cuda:{device}")

    def integers(self, values: list[int], device: int) -> Any:
        return self._torch.tensor(values, dtype=self._torch.int64, device=f"cuda:{device}")

    def to_numpy(self, tensor: Any) -> Any:
        return tensor.cpu().numpy()

    def cast(self, tensor: Any, dtype: str) -> Any:
        return tensor.to(getattr(self._torch, dtype)).contiguous()

    def sort_rows(self, tensor: Any) -> tuple[Any, Any]:
        """Return sorted rows and their order; equal values keep theirs."""
        return tuple(self._torch.sort(tensor, dim=1, stable=True))


class _Cupy:
    """What is needed of CuPy."""

    name = "cupy"
    to_host = "cupy.asnumpy(x)"

    def __init__(self) -> None:
        self._cupy = importlib.import_module("cupy")

    def on_device(self, array: Any) -> bool:
        return isinstance(array, self._cupy.ndarray)

    def adopt(self, values: Any) -> Any:
        if hasattr(values, "__dlpack__"):
            return self._cupy.from_dlpack(values)
        return self._cupy.asarray(values)

    def describe(self, array: Any) -> DeviceArray:
        size = array.itemsize
        return DeviceArray(
            array.data.ptr,
            array.shape,
            tuple(step // size for step in array.strides),
            array.dtype.name,
            array.device.id,
            array.flags.c_contiguous,
            all(number % size == 0 for number in (array.data.ptr, *array.strides)),
        )

    def stream(self, device: int) -> int:
        return int(self._cupy.cuda.get_current_stream(device).ptr)

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> Any:
        with self._cupy.cuda.Device(device):
            return self._cupy.empty(shape, dtype)

    def integers(self, values: list[int], device: int) -> Any:
        with self._cupy.cuda.Device(device):
            return self._cupy.asarray(values, dtype="int64")

    def to_numpy(self, array: Any) -> Any:
        return self._cupy.asnumpy(array)

    def cast(self, array: Any, dtype: str) -> Any:
        with array.device:
            return self._cupy.ascontiguousarray(array, dtype=dtype)

    def sort_rows(self, array: Any) -> tuple[Any, Any]:
        """Return sorted rows and their order; equal values keep theirs."""
        order = self._cupy.argsort(array, axis=1, kind="stable")
        return self._cupy.take_along_axis(array, order, 1), order


Library: TypeAlias = _Torch | _Cupy

LIBRARIES: dict[str, Callable[[], Library]] = {"torch": cache(_Torch), "cupy": cache(_Cupy)}
