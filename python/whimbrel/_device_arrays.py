"""Arrays on CUDA devices: whose they are, where they are, and new ones of the same kind.

Arrays of torch and CuPy are used as they are. Those of other libraries are taken over by one of these two,
without a copy: by DLPack, or else by ``__cuda_array_interface__``, both of which order the work on their
stream before the work on ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._array_libraries import LIBRARIES, DeviceArray, Library
from ._cuda_status import require_cuda

__all__ = ["Place", "is_device_array", "place_of"]

CUDA_DEVICE_TYPES = (2, 13)  # DLPack: device memory, managed memory


def is_device_array(values: Any) -> bool:
    """Whether an array says that its memory is that of a CUDA device."""
    if isinstance(values, np.ndarray):
        return False
    root = _root(values)
    if root in LIBRARIES:  # asking for the protocol takes longer
        return LIBRARIES[root]().on_device(values)
    device = getattr(values, "__dlpack_device__", None)
    if device is not None:
        return int(device()[0]) in CUDA_DEVICE_TYPES
    return hasattr(values, "__cuda_array_interface__")


def _root(values: Any) -> str:
    return type(values).__module__.partition(".")[0]


def _library_for(name: str, values: Any) -> Library:
    """Return the library of an array, or one that can take it over."""
    if _root(values) in LIBRARIES:
        return LIBRARIES[_root(values)]()
    for library in ("cupy", "torch"):
        try:
            return LIBRARIES[library]()
        except ModuleNotFoundError:
            continue
    raise TypeError(
        f"{name}: expected a numpy array, a CuPy array or a torch tensor, got {type(values).__name__} on a "
        "CUDA device; install cupy-cuda13x, which takes it over without a copy"
    )


class Place:
    """Where a call runs: a device, the stream that its caller works on, and the library of the arrays.

    Enqueued work is ordered on that stream, as is the reuse of memory that the library frees. An array of
    another library could be freed, and its memory reused, on another stream: calls that got one wait for
    their work in `finish`.
    """

    def __init__(self, library: Library, device: int) -> None:
        self.library = library
        self.device = device
        self.stream = library.stream(device)
        self._foreign = False

    def describe(self, name: str, values: Any) -> tuple[DeviceArray, Any]:
        """Return a description of an array on this device, and the array that it describes."""
        if not is_device_array(values):
            raise TypeError(
                f"{name}: expected an array on cuda:{self.device} like the others, got "
                f"{type(values).__name__} in host memory; move it there, or all of them to the host "
                f"({self.library.to_host})"
            )
        if _root(values) != self.library.name:
            values = self.library.adopt(values)
            self._foreign = True
        array = self.library.describe(values)
        if array.device != self.device:
            raise ValueError(
                f"{name}: expected an array on cuda:{self.device} like the others, got one on "
                f"cuda:{array.device}"
            )
        return array, values

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Return a new array of the caller's library."""
        return self.library.empty(shape, dtype, self.device)

    def finish(self) -> None:
        """Wait for what was enqueued, if an array of another library takes part in it."""
        if self._foreign:
            self.wait()

    def wait(self) -> None:
        """Wait for what was enqueued."""
        from . import _cuda

        _cuda.synchronize(self.stream, self.device)


def place_of(arrays: dict[str, Any], device: int | None = None) -> Place:
    """Where the first device array of a call wants it to run; on `device`, if that is given.

    Raises
    ------
    CudaError
        If the package has no kernels, or there is no device for them.
    TypeError
        If no library can take the array over.
    """
    found = [(name, values) for name, values in arrays.items() if is_device_array(values)]
    if not found:
        name, values = next(iter(arrays.items()))
        raise TypeError(f"{name}: expected an array on a CUDA device, got {type(values).__name__}")
    name, values = found[0]
    if getattr(values, "__cuda_array_interface__", "") is None:
        raise TypeError(f"{name}: expected an array on a CUDA device, got {type(values).__name__}")
    require_cuda()
    library = _library_for(name, values)
    if _root(values) != library.name:
        values = library.adopt(values)
    place = Place(library, library.describe(values).device)
    if device not in (None, place.device):
        raise ValueError(f"device: expected cuda:{place.device}, that of {name}, got cuda:{device}")
    return place
