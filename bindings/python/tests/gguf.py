"""Parses GGUF files, and writes them again with changes."""

import struct
from dataclasses import dataclass

#: The size in bytes of each type of value with a fixed size.
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9
ALIGNMENT = 32


@dataclass
class Tensor:
    dims: list[int]
    dtype: int
    offset: int


class Gguf:
    """`values` are the types and bytes of the metadata's values."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 4
        self.version = self._number("<I")
        tensors, keys = self._number("<Q"), self._number("<Q")
        self.values: dict[str, tuple[int, bytes]] = {}
        for _ in range(keys):
            key = self._string()
            kind = self._number("<I")
            start = self._at
            self._skip(kind)
            self.values[key] = (kind, data[start : self._at])
        self.tensors: dict[str, Tensor] = {}
        for _ in range(tensors):
            name = self._string()
            dims = [self._number("<Q") for _ in range(self._number("<I"))]
            self.tensors[name] = Tensor(dims, self._number("<I"), self._number("<Q"))
        self._weights = data[-(-self._at // ALIGNMENT) * ALIGNMENT :]

    def strings(self, key: str) -> list[str]:
        """The strings of an array."""
        kind, value = self.values[key]
        assert kind == ARRAY
        self._data, self._at = value, 4
        return [self._string() for _ in range(self._number("<Q"))]

    def set_strings(self, key: str, strings: list[str]) -> None:
        head = struct.pack("<IQ", STRING, len(strings))
        self.values[key] = (ARRAY, head + b"".join(map(text, strings)))

    def set_string(self, key: str, string: str) -> None:
        self.values[key] = (STRING, text(string))

    def set_u32(self, key: str, number: int) -> None:
        self.values[key] = (4, struct.pack("<I", number))

    def bytes(self) -> bytes:
        head = struct.pack("<IQQ", self.version, len(self.tensors), len(self.values))
        out = b"GGUF" + head
        for key, (kind, value) in self.values.items():
            out += text(key) + struct.pack("<I", kind) + value
        for name, tensor in self.tensors.items():
            count = len(tensor.dims)
            out += text(name) + struct.pack(f"<I{count}Q", count, *tensor.dims)
            out += struct.pack("<IQ", tensor.dtype, tensor.offset)
        return out + bytes(-len(out) % ALIGNMENT) + self._weights

    def _number(self, form: str) -> int:
        (number,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return int(number)

    def _string(self) -> str:
        length = self._number("<Q")
        self._at += length
        return self._data[self._at - length : self._at].decode()

    def _skip(self, kind: int) -> None:
        if kind == STRING:
            self._string()
        elif kind == ARRAY:
            inner, count = self._number("<I"), self._number("<Q")
            for _ in range(count):
                self._skip(inner)
        else:
            self._at += SIZES[kind]


def text(string: str) -> bytes:
    encoded = string.encode()
    return struct.pack("<Q", len(encoded)) + encoded
