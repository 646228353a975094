"""The fixture zoo: image files of every mode, and every kind of broken file, made in memory.

Files that Pillow cannot write are written here byte by byte, after the formats' definitions; the
colours expected come from those definitions too, never from the decoder under test.
"""

from __future__ import annotations

import base64
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

MAX_PIXELS = 1_000_000
"""The limit at which the zoo's bombs are `too-large`, and nothing else is."""

Colour = tuple[int, ...]
RED, GREEN, BLUE, WHITE = (200, 40, 40), (40, 160, 60), (40, 60, 200), (230, 230, 230)
PLACES = ((16, 8), (48, 8), (16, 24), (48, 24))
"""Centres (x, y) of the four quarters of the standard picture, of 64 x 32 pixels."""
QUARTERS = (RED, GREEN, BLUE, WHITE)


@dataclass(frozen=True)
class Specimen:
    """A file, and what it must be taken for."""

    name: str
    payload: bytes = field(repr=False)
    status: str = "ok"
    size: tuple[int, int] = (64, 32)
    """Width and height, upright, of good ones."""
    mode: str = "RGB"
    """Of the canonical picture."""
    colours: dict[tuple[int, int], Colour] = field(default_factory=dict)
    """Canonical colours at some places (x, y)."""
    tolerance: int = 0
    """How far lossy storage or rounding may take them."""
    or_status: str = ""
    """Just as right, where a damaged file is hardly known for an image any more."""


def picture(colours: tuple[Colour, ...] = QUARTERS) -> np.ndarray:
    """The standard picture, uint8 [32, 64, channels]: a colour in each quarter."""
    quarters = np.array(colours, dtype=np.uint8).reshape(2, 2, -1)
    return quarters.repeat(16, axis=0).repeat(32, axis=1)


def encode(pixels: np.ndarray | Image.Image, kind: str, **how: Any) -> bytes:
    """A file as Pillow writes it."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels.squeeze())
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    check = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + check


def png(
    pixels: np.ndarray, depth: int, kind: int, *extra: tuple[bytes, bytes], adam7: bool = False
) -> bytes:
    """A PNG of samples [H, W, channels] of any depth and colour type (PNG specification, 11.2)."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    steps = [*passes, (0, 1, 1, 2)] if adam7 else [(0, 0, 1, 1)]
    rows = b""
    for left, top, across, down in steps:
        for row in pixels[top::down, left::across]:
            rows += b"\0" + pack_bits(row.ravel(), depth)
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(adam7))
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in chunks)


def pack_bits(samples: np.ndarray, depth: int, order: str = ">") -> bytes:
    """Samples one after another with `depth` bits each, the last byte filled up with zeros."""
    if depth >= 16:
        return samples.astype(f"{order}u{depth // 8}").tobytes()
    shifts = np.arange(depth)[::-1]
    bits = (samples[:, None].astype(np.int64) >> shifts) & 1
    return np.packbits(bits.astype(np.uint8).ravel()).tobytes()


def tiff(
    size: tuple[int, int], data: bytes, tags: dict[int, list[int] | bytes], order: str = "<"
) -> bytes:
    """An uncompressed TIFF of one strip; tags beside size and strip as given (TIFF 6.0)."""
    width, height = size
    every: dict[int, list[int] | bytes] = {
        256: [width], 257: [height], 259: [1], 273: [8], 278: [height], 279: [len(data)], **tags
    }  # fmt: skip
    data += b"\0" * (len(data) % 2)
    entries, beyond = b"", b""
    after = 8 + len(data) + 2 + 12 * len(every) + 4
    for tag, values in sorted(every.items()):
        if isinstance(values, bytes):
            kind, count, content = 7, len(values), values
        else:
            kind, count = 4, len(values)
            content = struct.pack(f"{order}{count}I", *values)
        if len(content) > 4:
            beyond, content = beyond + content, struct.pack(f"{order}I", after + len(beyond))
        entries += struct.pack(f"{order}HHI", tag, kind, count) + content.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(every)) + entries + b"\0" * 4 + beyond


# sRGB's red, green and blue in XYZ under D50, as ICC profiles have them (IEC 61966-2-1, adapted
# by Bradford's matrix), one colour a row
SRGB_PRIMARIES = np.array(
    [[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]]
)
# Adobe RGB (1998), 4.3.5.3 and its white under D50
WIDE_PRIMARIES = np.array(
    [[0.60974, 0.31111, 0.01947], [0.20528, 0.62567, 0.06087], [0.14919, 0.06322, 0.74457]]
)
WIDE_GAMMA = 563 / 256


def icc(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    """An ICC profile, version 2.1 (ICC.1:1998-09)."""
    text = b"desc\0\0\0\0" + struct.pack(">I", 4) + b"zoo\0" + bytes(78)
    white = b"XYZ \0\0\0\0" + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    every = {b"desc": text, b"cprt": b"text\0\0\0\0zoo\0", b"wtpt": white, **tags}
    table, body = struct.pack(">I", len(every)), b""
    start = 132 + 12 * len(every)
    for name, content in every.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = struct.pack(">I4xI", start + len(body), 0x02100000) + kind + space + connection
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + table + body


def curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def matrix_profile(primaries: np.ndarray, gamma: float) -> bytes:
    """A profile of an RGB display: out = primaries^T @ in^gamma."""
    tags = {}
    for name, colour in zip(b"rgb", primaries, strict=True):
        fixed = struct.pack(">3i", *(round(value * 65536) for value in colour))
        tags[bytes([name]) + b"XYZ"] = b"XYZ \0\0\0\0" + fixed
        tags[bytes([name]) + b"TRC"] = curve(gamma)
    return icc(b"RGB ", tags)


WIDE = matrix_profile(WIDE_PRIMARIES, WIDE_GAMMA)
NEARLY_SRGB = matrix_profile(SRGB_PRIMARIES, 2.2)
GREY_LINEAR = icc(b"GRAY", {b"kTRC": curve(1.0)})


def srgb(linear: np.ndarray) -> np.ndarray:
    """8-bit sRGB of linear light (IEC 61966-2-1), clipped."""
    light = np.clip(linear, 0, 1)
    bent = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * bent)


def from_xyz(xyz: np.ndarray) -> Colour:
    return tuple(int(value) for value in srgb(xyz @ np.linalg.inv(SRGB_PRIMARIES)))


def from_wide(colour: Colour, gamma: float = WIDE_GAMMA) -> Colour:
    """8-bit sRGB of a colour under the profile WIDE."""
    return from_xyz((np.array(colour) / 255) ** gamma @ WIDE_PRIMARIES)


def from_lab(lightness: float, a: float, b: float) -> Colour:
    """8-bit sRGB of CIE L*a*b* under D50 (CIE 15:2004)."""
    y = (lightness + 16) / 116
    bent = np.array([y + a / 500, y, y - b / 200])
    relative = np.where(bent > 6 / 29, bent**3, 3 * (6 / 29) ** 2 * (bent - 4 / 29))
    return from_xyz(relative * [0.9642, 1.0, 0.8249])


def cmyk_profile() -> tuple[bytes, Callable[[int, int, int, int], Colour]]:
    """A profile of an odd press whose inks are pastels, and sRGB of inks that are all 0 or 255."""

    def lab(c: int, m: int, y: int, k: int) -> tuple[int, int, int]:
        # black is black, so that it does not matter how black points are matched
        inks = 100 - 15 * c - 10 * m - 5 * y, 8 * m - 16 * c, 20 * y - 4 * c - 4 * m
        return (0, 0, 0) if k else inks

    corners = [lab(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    body = b"".join(bytes([round(L * 2.55), a + 128, b + 128]) for L, a, b in corners)
    straight = bytes(range(256))
    unit = struct.pack(">9I", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit + straight * 4 + body + straight * 3
    profile = icc(b"CMYK", {b"A2B0": table}, b"Lab ")
    return profile, lambda *inks: from_lab(*lab(*(ink // 255 for ink in inks)))


def turned(orientation: int) -> np.ndarray:
    """The standard picture as a camera stores it: EXIF 2.3, tag 274, says what row and column 0
    are: (top, left), (top, right), (bottom, right), (bottom, left), then column and row swapped."""
    upright = picture()
    from_bottom, from_right = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    stored = upright[:: -1 if from_bottom else 1, :: -1 if from_right else 1]
    return np.ascontiguousarray(stored.swapaxes(0, 1) if orientation > 4 else stored)


def held(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def at(colours: tuple[Colour, ...]) -> dict[tuple[int, int], Colour]:
    return dict(zip(PLACES, colours, strict=True))


def good() -> Iterator[Specimen]:
    """Files that decode, with their colours."""
    yield from _plain()
    yield from _turned()
    yield from _pngs()
    yield from _tiffs()
    yield from _jpegs()
    yield from _profiled()
    yield from _others()


def _plain() -> Iterator[Specimen]:
    """The standard picture in every format that can hold it."""
    colours = at(QUARTERS)
    exact: dict[str, dict[str, Any]] = {
        "PNG": {}, "BMP": {}, "DIB": {}, "TIFF": {}, "PPM": {}, "TGA": {}, "PCX": {}, "SGI": {},
        "JPEG2000": {"irreversible": False}, "WEBP": {"lossless": True},
        "ICO": {"sizes": [(64, 32)]},
    }  # fmt: skip
    for kind, how in exact.items():
        mode = "RGB"
        yield Specimen(
            f"plain {kind}", encode(picture(), kind, **how), "ok", (64, 32), mode, colours
        )
    for kind, how in {
        "JPEG": {"quality": 95},
        "WEBP": {"quality": 95},
        "AVIF": {"quality": 90},
        "MPO": {"save_all": True, "append_images": [Image.new("RGB", (64, 32))], "quality": 95},
    }.items():
        payload = encode(picture(), kind, **how)
        yield Specimen(f"lossy {kind}", payload, colours=colours, tolerance=3)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        payload = encode(picture(), "TIFF", compression=compression)
        yield Specimen(f"TIFF {compression}", payload, colours=colours)
    yield Specimen(
        "TIFF jpeg",
        encode(picture(), "TIFF", compression="jpeg", quality=95),
        colours=colours,
        tolerance=3,
    )
    yield Specimen("TGA rle", encode(picture(), "TGA", compression="tga_rle"), colours=colours)
    few = Image.fromarray(picture()).quantize(4)
    for kind in ("GIF", "PNG", "BMP", "TIFF", "TGA", "PCX"):
        yield Specimen(f"palette {kind}", encode(few, kind), colours=colours)


def _turned() -> Iterator[Specimen]:
    for orientation in range(1, 9):
        for kind, how, tolerance in (
            ("JPEG", {"quality": 95, "subsampling": 0}, 3),
            ("PNG", {}, 0),
            ("WEBP", {"lossless": True}, 0),
            ("TIFF", {}, 0),
            ("AVIF", {"quality": 95, "subsampling": "4:4:4"}, 3),
        ):
            payload = encode(turned(orientation), kind, exif=held(orientation), **how)
            yield Specimen(
                f"{kind} orientation {orientation}",
                payload,
                colours=at(QUARTERS),
                tolerance=tolerance,
            )
    broken = {
        "no TIFF": b"Exif\0\0damaged",
        "cut": b"Exif\0\0II*\0\xff",
        "loop": b"Exif\0\0MM\0*" * 9,
    }
    for name, exif in broken.items():
        for kind in ("JPEG", "PNG", "WEBP"):
            how = {"lossless": True} if kind == "WEBP" else {}
            payload = encode(picture(), kind, exif=exif, **how)
            yield Specimen(f"{kind} EXIF {name}", payload, colours=at(QUARTERS), tolerance=5)


def _pngs() -> Iterator[Specimen]:
    """All 15 kinds of PNG, with and without transparency, and interlaced."""
    for depth in (1, 2, 4, 8, 16):
        most = 2**depth - 1
        samples = np.array([[0, most], [most // 3, most]]).repeat(16, 0).repeat(32, 1)[..., None]
        greys = [
            round(255 * int(value) / most) for value in samples[(8, 8, 24, 24), (16, 48) * 2, 0]
        ]
        expected = at(tuple((grey,) * 3 for grey in greys))
        rounding = int(depth == 16)
        for adam7 in (False, True):
            payload = png(samples, depth, 0, adam7=adam7)
            yield Specimen(
                f"PNG grey {depth} adam7={adam7}",
                payload,
                "ok",
                (64, 32),
                "RGB",
                expected,
                rounding,
            )
        key = (b"tRNS", struct.pack(">H", most))
        expected = at(tuple((0,) * 4 if grey == 255 else (grey,) * 3 + (255,) for grey in greys))
        yield Specimen(
            f"PNG grey {depth} keyed",
            png(samples, depth, 0, key),
            "ok",
            (64, 32),
            "RGBA",
            expected,
            rounding,
        )
    numbers = np.array([[0, 1], [2, 3]]).repeat(16, 0).repeat(32, 1)[..., None]
    palette = (b"PLTE", bytes(sum(QUARTERS, ())))
    seen = at(((0, 0, 0, 0), (*GREEN, 128), (*BLUE, 255), (*WHITE, 255)))
    for depth in (2, 4, 8):
        yield Specimen(
            f"PNG palette {depth}", png(numbers, depth, 3, palette), colours=at(QUARTERS)
        )
        payload = png(numbers, depth, 3, palette, (b"tRNS", bytes([0, 128])), adam7=True)
        yield Specimen(f"PNG palette {depth} alpha", payload, mode="RGBA", colours=seen)
    one = (b"tRNS", bytes([0]))
    first = at(((0, 0, 0, 0), *((*colour, 255) for colour in QUARTERS[1:])))
    yield Specimen(
        "PNG palette one clear", png(numbers, 8, 3, palette, one), mode="RGBA", colours=first
    )
    for depth in (8, 16):
        scale = (2**depth - 1) // 255
        colour = picture().astype(np.int64) * scale
        yield Specimen(f"PNG RGB {depth}", png(colour, depth, 2), colours=at(QUARTERS))
        key = (b"tRNS", struct.pack(">3H", *(value * scale for value in RED)))
        yield Specimen(
            f"PNG RGB {depth} keyed", png(colour, depth, 2, key), mode="RGBA", colours=first
        )
        alpha = picture(((0,), (128,), (255,), (255,))).astype(np.int64) * scale
        payload = png(np.concatenate([colour, alpha], axis=2), depth, 6)
        yield Specimen(f"PNG RGBA {depth}", payload, mode="RGBA", colours=seen)
        full = np.concatenate([colour, np.full_like(alpha, 255 * scale)], axis=2)
        yield Specimen(f"PNG RGBA {depth} opaque", png(full, depth, 6), colours=at(QUARTERS))
        grey = picture(((50,), (100,), (150,), (200,))).astype(np.int64) * scale
        payload = png(np.concatenate([grey, alpha], axis=2), depth, 4)
        greys = ((0, 0, 0, 0), (100, 100, 100, 128), (150, 150, 150, 255), (200, 200, 200, 255))
        yield Specimen(f"PNG LA {depth}", payload, mode="RGBA", colours=at(greys))
    whole = png(picture(), 8, 2)
    crc = whole[:-16] + b"\0\0\0\0" + whole[-12:]
    yield Specimen("PNG bad pixel CRC, zlib's check right", crc, colours=at(QUARTERS))
    late = png(turned(6), 8, 2)
    late = late[:-12] + chunk(b"eXIf", held(6).tobytes()[6:]) + late[-12:]
    yield Specimen("PNG EXIF after the pixels", late, colours=at(QUARTERS))
    frame = struct.pack(">IIIIIHHBB", 0, 64, 32, 0, 0, 1, 10, 0, 0)
    single = png(numbers, 8, 3, palette, (b"acTL", struct.pack(">II", 1, 0)), (b"fcTL", frame))
    yield Specimen("APNG of one frame", single, colours=at(QUARTERS))
    body = zlib.compress(b"".join(b"\0" + bytes(64) for _ in range(32)))
    default = png(numbers, 8, 3, palette, (b"acTL", struct.pack(">II", 1, 0)))
    frames = chunk(b"fcTL", frame) + chunk(b"fdAT", struct.pack(">I", 1) + body)
    yield Specimen(
        "APNG of a default picture and one frame",
        default[:-12] + frames + default[-12:],
        colours=at(QUARTERS),
    )


def _tiffs() -> Iterator[Specimen]:
    """What Pillow cannot write: odd depths, both byte orders, premultiplied alpha."""
    size, greys = (64, 32), picture(((0,), (51,), (102,), (255,)))[..., 0]
    plain = at(tuple((value,) * 3 for value in (0, 51, 102, 255)))
    for order, name in (("<", "little"), (">", "big")):
        deep = pack_bits(greys.ravel().astype(np.int64) * 257, 16, order)
        tags: dict[int, list[int] | bytes] = {258: [16], 262: [1], 277: [1]}
        yield Specimen(f"TIFF 16 {name}", tiff(size, deep, tags, order), colours=plain)
        colour = pack_bits(picture().ravel().astype(np.int64) * 257, 16, order)
        tags = {258: [16] * 3, 262: [2], 277: [3]}
        yield Specimen(f"TIFF RGB 16 {name}", tiff(size, colour, tags, order), colours=at(QUARTERS))
        for kind, top in (("float", 1.0), ("float to 255", 255.0)):
            real = (greys / 255 * top).astype(f"{order}f4").tobytes()
            tags = {258: [32], 262: [1], 277: [1], 339: [3]}
            yield Specimen(f"TIFF {kind} {name}", tiff(size, real, tags, order), colours=plain)
        for kind, factor in (("8", 1), ("16", 257), ("31", 0x808080)):
            wide = (greys.astype(np.int64) * factor).astype(f"{order}i4").tobytes()
            tags = {258: [32], 262: [1], 277: [1], 339: [2]}
            yield Specimen(
                f"TIFF int32 of {kind} bits {name}", tiff(size, wide, tags, order), colours=plain
            )
    whole = (greys.astype(np.int64) * 0x01010101).astype("<u4").tobytes()
    yield Specimen(
        "TIFF uint32", tiff(size, whole, {258: [32], 262: [1], 277: [1], 339: [1]}), colours=plain
    )
    twelve = pack_bits(np.rint(greys.ravel() / 255 * 4095).astype(np.int64), 12)
    yield Specimen("TIFF 12", tiff(size, twelve, {258: [12], 262: [1], 277: [1]}), colours=plain)
    for depth in (1, 2, 4, 8, 16):
        inverse = (2**depth - 1) - np.rint(greys / 255 * (2**depth - 1)).astype(np.int64)
        rows = b"".join(pack_bits(row, depth, "<") for row in inverse)
        kept = np.rint((2**depth - 1 - inverse) * 255 / (2**depth - 1)).astype(int)
        expected = {place: (int(kept[place[1], place[0]]),) * 3 for place in PLACES}
        yield Specimen(
            f"TIFF {depth} white is zero",
            tiff(size, rows, {258: [depth], 262: [0], 277: [1]}),
            colours=expected,
        )
    alpha = picture(((0,), (128,), (255,), (255,)))
    for name, extra, base in (("RGB", 2, picture()), ("grey", 1, greys[..., None])):
        straight = np.concatenate([base, alpha], axis=2)
        grown = np.rint(base * (alpha / 255)).astype(np.uint8)
        multiplied = np.concatenate([grown, alpha], axis=2)
        values = [tuple(int(v) for v in base[y, x]) * (3 // base.shape[2]) for x, y in PLACES]
        opaque = (0, 128, 255, 255)
        expected = at(
            tuple((*v, a) if a else (0,) * 4 for v, a in zip(values, opaque, strict=True))
        )
        bits = [8] * straight.shape[2]
        for kind, data, mark in (("straight", straight, 2), ("premultiplied", multiplied, 1)):
            tags = {258: bits, 262: [extra], 277: [len(bits)], 338: [mark]}
            yield Specimen(
                f"TIFF {name} {kind} alpha",
                tiff(size, data.tobytes(), tags),
                "ok",
                size,
                "RGBA",
                expected,
                1,
            )
    tags = {258: [8] * 4, 262: [2], 277: [4], 338: [0]}
    padded = np.concatenate([picture(), alpha], axis=2).tobytes()
    yield Specimen("TIFF RGB and padding", tiff(size, padded, tags), colours=at(QUARTERS))
    ycc = picture(tuple(to_ycc(colour) for colour in QUARTERS)).tobytes()
    yield Specimen(
        "TIFF YCbCr",
        tiff(size, ycc, {258: [8] * 3, 262: [6], 277: [3], 530: [1, 1]}),
        colours=at(QUARTERS),
        tolerance=1,
    )
    labs = ((0, 0, 0), (60, 40, -30), (80, -20, 50), (100, 0, 0))
    stored = picture(tuple((round(L * 2.55), a % 256, b % 256) for L, a, b in labs)).tobytes()
    yield Specimen(
        "TIFF LAB",
        tiff(size, stored, {258: [8] * 3, 262: [8], 277: [3]}),
        colours=at(tuple(from_lab(*lab) for lab in labs)),
        tolerance=2,
    )
    inks = picture(tuple((*(255 - value for value in colour), 0) for colour in QUARTERS)).tobytes()
    yield Specimen(
        "TIFF CMYK",
        tiff(size, inks, {258: [8] * 4, 262: [5], 277: [4]}),
        colours=at(QUARTERS),
        tolerance=1,
    )


def to_ycc(colour: Colour) -> Colour:
    """Luma and colour differences in full range (ITU-T T.871, section 7)."""
    r, g, b = colour
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return round(y), round((b - y) / 1.772 + 128), round((r - y) / 1.402 + 128)


def _jpegs() -> Iterator[Specimen]:
    for name, how in (
        ("progressive", {"progressive": True}),
        ("4:2:2", {"subsampling": 1}),
        ("optimised", {"optimize": True, "subsampling": 0}),
        ("with restarts", {"restart_marker_blocks": 1}),
    ):
        payload = encode(picture(), "JPEG", quality=95, **how)
        yield Specimen(f"JPEG {name}", payload, colours=at(QUARTERS), tolerance=3)
    grey = picture(((50,), (100,), (150,), (200,)))
    expected = at(tuple((value,) * 3 for value in (50, 100, 150, 200)))
    yield Specimen("JPEG grey", encode(grey, "JPEG", quality=95), colours=expected, tolerance=2)
    # Pillow stores 255 - value, as Adobe does
    inks = ((55, 215, 215, 0), (215, 95, 195, 0), (107, 0, 0, 128), (0, 0, 0, 25))
    seen = tuple(tuple(round((255 - ink) * (255 - k) / 255) for ink in cmy) for *cmy, k in inks)
    adobe = encode(Image.fromarray(picture(inks), "CMYK"), "JPEG", quality=95)
    yield Specimen("JPEG CMYK of Adobe", adobe, colours=at(seen), tolerance=4)
    upright = encode(Image.fromarray(255 - picture(inks), "CMYK"), "JPEG", quality=95)
    mark = upright.index(b"\xff\xee\x00\x0eAdobe")
    payload = upright[:mark] + upright[mark + 16 :]
    yield Specimen("JPEG CMYK without Adobe's mark", payload, colours=at(seen), tolerance=4)
    # YCCK is YCbCr of 255 less what CMYK would store, which Adobe stores upside down: of the inks
    stored = tuple((*to_ycc(tuple(cmy)), 255 - k) for *cmy, k in inks)
    ycck = encode(Image.fromarray(255 - picture(stored), "CMYK"), "JPEG", quality=95)
    place = ycck.index(b"\xff\xee\x00\x0eAdobe") + 15
    ycck = ycck[:place] + b"\x02" + ycck[place + 1 :]
    yield Specimen("JPEG YCCK", ycck, colours=at(seen), tolerance=4)


def _profiled() -> Iterator[Specimen]:
    wide = at(tuple(from_wide(colour) for colour in QUARTERS))
    for kind, how, tolerance in (
        ("PNG", {}, 2),
        ("TIFF", {}, 2),
        ("WEBP", {"lossless": True}, 2),
        ("JPEG", {"quality": 100, "subsampling": 0}, 6),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 6),
    ):
        payload = encode(picture(), kind, icc_profile=WIDE, **how)
        yield Specimen(f"{kind} wide gamut", payload, colours=wide, tolerance=tolerance)
    few = encode(Image.fromarray(picture()).quantize(4), "PNG", icc_profile=WIDE)
    yield Specimen("PNG palette wide gamut", few, colours=wide, tolerance=2)
    alpha = np.concatenate([picture(), picture(((0,), (128,), (255,), (255,)))], axis=2)
    clear = at(
        tuple(
            (0,) * 4 if not a else (*from_wide(colour), a)
            for colour, a in zip(QUARTERS, (0, 128, 255, 255), strict=True)
        )
    )
    yield Specimen(
        "PNG RGBA wide gamut",
        encode(alpha, "PNG", icc_profile=WIDE),
        "ok",
        (64, 32),
        "RGBA",
        clear,
        2,
    )
    grey = picture(((0,), (55,), (128,), (255,)))
    linear = at(tuple((int(srgb(np.array(value / 255))),) * 3 for value in (0, 55, 128, 255)))
    for kind in ("PNG", "TIFF"):
        payload = encode(grey, kind, icc_profile=GREY_LINEAR)
        yield Specimen(f"{kind} linear grey", payload, colours=linear, tolerance=1)
    profile, seen = cmyk_profile()
    inks = ((0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 255, 0), (0, 0, 0, 255))
    expected = at(tuple(seen(*ink) for ink in inks))
    for kind, how in (("TIFF", {}), ("JPEG", {"quality": 100})):
        payload = encode(Image.fromarray(picture(inks), "CMYK"), kind, icc_profile=profile, **how)
        yield Specimen(f"{kind} CMYK profile", payload, colours=expected, tolerance=3)
    ignored = {
        "broken": WIDE[:200], "empty": bytes(200), "of another space": GREY_LINEAR, "text": b"sRGB",
        "header only": WIDE[:128] + b"\xff" * 400,
    }  # fmt: skip
    for name, bad in ignored.items():
        payload = encode(picture(), "PNG", icc_profile=bad)
        yield Specimen(f"PNG profile {name}", payload, colours=at(QUARTERS))
        payload = encode(picture(), "JPEG", icc_profile=bad, quality=95)
        yield Specimen(f"JPEG profile {name}", payload, colours=at(QUARTERS), tolerance=3)


def _others() -> Iterator[Specimen]:
    alpha = np.concatenate([picture(), picture(((0,), (128,), (255,), (255,)))], axis=2)
    seen = at(((0, 0, 0, 0), (*GREEN, 128), (*BLUE, 255), (*WHITE, 255)))
    for kind, how in {
        "PNG": {}, "TGA": {}, "ICO": {"sizes": [(64, 32)]}, "SGI": {},
        "JPEG2000": {"irreversible": False},
        "WEBP": {"lossless": True, "exact": True}, "TIFF": {"compression": "tiff_lzw"},
    }.items():  # fmt: skip
        yield Specimen(f"alpha {kind}", encode(alpha, kind, **how), mode="RGBA", colours=seen)
    payload = encode(alpha, "AVIF", quality=100, subsampling="4:4:4")
    yield Specimen("alpha AVIF", payload, mode="RGBA", colours=seen, tolerance=3)
    empty = np.concatenate([picture(), np.zeros((32, 64, 1), np.uint8)], axis=2)
    yield Specimen("TGA whose fourth byte is unused", encode(empty, "TGA"), colours=at(QUARTERS))
    few = Image.fromarray(picture()).quantize(4)
    clear = few.getpixel((16, 8))
    first = at(((0, 0, 0, 0), *((*colour, 255) for colour in QUARTERS[1:])))
    yield Specimen(
        "GIF one clear", encode(few, "GIF", transparency=clear), mode="RGBA", colours=first
    )
    black = (picture(((0,), (255,), (255,), (0,))) > 0)[..., 0]
    bits = at(tuple((value,) * 3 for value in (0, 255, 255, 0)))
    for kind, how in {
        "PNG": {}, "BMP": {}, "PPM": {}, "GIF": {}, "PCX": {}, "TIFF": {"compression": "group4"}
    }.items():  # fmt: skip
        yield Specimen(f"1-bit {kind}", encode(Image.fromarray(black), kind, **how), colours=bits)
    greys = picture(((0,), (51,), (102,), (255,)))[..., 0]
    plain = at(tuple((value,) * 3 for value in (0, 51, 102, 255)))
    deep = Image.fromarray(greys.astype(np.uint16) * 257)
    yield Specimen("PGM 16", encode(deep, "PPM"), colours=plain)
    yield Specimen("JPEG2000 16", encode(deep, "JPEG2000", irreversible=False), colours=plain)
    ten = np.rint(greys / 255 * 1023).astype(">u2").tobytes()
    yield Specimen("PGM of 10 bits", b"P5 64 32 1023\n" + ten, colours=plain)
    text = " ".join(str(value) for value in picture().ravel()).encode()
    yield Specimen("PPM in letters", b"P3 64 32 255\n" + text, colours=at(QUARTERS))
    real = np.flipud(greys / 255).astype("<f4").tobytes()
    yield Specimen("PFM", b"Pf\n64 32\n-1.0\n" + real, colours=plain)
    icon = encode(picture(), "ICO", sizes=[(64, 32), (32, 16), (16, 8)])
    yield Specimen("ICO of several sizes", icon, colours=at(QUARTERS))
    for name, mode, tolerance in (("phone", "RGB", 3), ("alpha", "RGBA", 3), ("two", "RGB", 3)):
        colours = {"phone": at(tuple(from_wide(colour) for colour in QUARTERS)), "alpha": seen}
        yield Specimen(
            f"HEIF {name}",
            heif(name),
            "ok",
            (64, 32),
            mode,
            colours.get(name, at(QUARTERS)),
            tolerance,
        )
    for size in ((1, 1), (1, 3000), (3000, 1)):
        for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
            payload = encode(Image.new("RGB", size, WHITE), kind)
            yield Specimen(
                f"{kind} of {size[0]} x {size[1]}", payload, "ok", size, "RGB", {(0, 0): WHITE}, 2
            )


def heif(name: str) -> bytes:
    """The standard picture as HEIF, which nothing installed here can write."""
    return zlib.decompress(base64.b85decode(_HEIF[name]))


def bad() -> Iterator[Specimen]:
    """Files that are set aside, with the reason."""
    yield from _bombs()
    yield from _cut()
    yield from _damaged()
    yield from _foreign()
    yield from _animated()


def _bombs() -> Iterator[Specimen]:
    """Few bytes that would unfold to more than MAX_PIXELS."""
    bombs = {}
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bombs["PNG"] = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
    )
    bombs["PNG just above"] = encode(Image.new("1", (1001, 1000)), "PNG")
    bombs["GIF"] = encode(Image.new("L", (1100, 1100)), "GIF")
    small = bytearray(encode(Image.new("L", (8, 8)), "GIF"))
    frame = small.index(b",\0\0\0\0") + 5
    small[frame : frame + 4] = struct.pack("<HH", 60_000, 60_000)
    bombs["GIF frame"] = bytes(small)
    for kind in ("JPEG", "WEBP", "BMP", "TGA", "PCX", "JPEG2000", "PPM", "SGI"):
        bombs[kind] = encode(Image.new("L", (1001, 1000)), kind)
    bombs["AVIF"] = encode(Image.new("L", (1001, 1000)), "AVIF", speed=10)
    bombs["TIFF"] = tiff((60_000, 60_000), b"\0" * 64, {258: [8], 262: [1], 277: [1]})
    tiled = {258: [8], 262: [1], 277: [1], 322: [40_000], 323: [40_000], 324: [8], 325: [64]}
    bombs["TIFF of one large tile"] = tiff((64, 32), b"\0" * 64, tiled)
    inner = bombs["PNG"]
    directory = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inner), 22)
    bombs["ICO with a larger PNG inside"] = directory + inner
    plain = bytearray(heif("two"))
    for place in _places(plain, b"ispe"):
        plain[place + 8 : place + 16] = struct.pack(">II", 20_000, 20_000)
    for place in _places(plain, b"clap"):
        plain[place + 4 : place + 36] = struct.pack(">8I", 20_000, 1, 20_000, 1, 0, 1, 0, 1)
    bombs["HEIF"] = bytes(plain)
    for name, payload in bombs.items():
        yield Specimen(f"bomb {name}", payload, "too-large")


def _places(payload: bytes | bytearray, mark: bytes) -> Iterator[int]:
    place = payload.find(mark)
    while place >= 0:
        yield place
        place = payload.find(mark, place + 1)


def noise(side: int = 48) -> Image.Image:
    """A picture whose files are nearly all pixels; red, green and blue differ."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))


NOISY: dict[str, dict[str, Any]] = {
    "JPEG": {}, "PNG": {}, "WEBP": {}, "GIF": {}, "AVIF": {"speed": 10}, "BMP": {}, "TIFF": {},
    "PPM": {}, "JPEG2000": {}, "ICO": {"sizes": [(48, 48)]}, "DIB": {}, "PCX": {}, "SGI": {},
    "TGA": {},
}  # fmt: skip
"""How to store `noise` in each format that Pillow writes."""


def _cut() -> Iterator[Specimen]:
    """Every format, cut in its pixels and in its header; some readers want the whole file even
    for the header, and then an unfinished one may count as no image."""
    whole = {"WEBP", "AVIF", "ICO"}
    for kind, how in NOISY.items():
        payload = encode(noise(), kind, **how)
        for part in (0.4, 0.6, 0.9):
            cut = payload[: int(len(payload) * part)]
            either = "not-an-image" if kind in whole else ""
            yield Specimen(f"{kind} cut at {part:.0%}", cut, "truncated", or_status=either)
        cut = payload[:9]
        yield Specimen(f"{kind} cut after 9 bytes", cut, "not-an-image", or_status="truncated")
    for part in (0.2, 0.5, 0.6):
        payload = heif("two")
        cut = payload[: int(len(payload) * part)]
        yield Specimen(f"HEIF cut at {part:.0%}", cut, "truncated", or_status="not-an-image")
    progressive = encode(noise(), "JPEG", progressive=True)
    yield Specimen("progressive JPEG cut", progressive[: len(progressive) // 2], "truncated")


def _damaged() -> Iterator[Specimen]:
    whole = png(picture(), 8, 2)
    place = whole.index(b"IDAT")
    length = struct.unpack(">I", whole[place - 4 : place])[0]
    check = place + 4 + length
    crc = whole[:29] + b"\0\0\0\0" + whole[33:]
    yield Specimen("PNG bad header CRC", crc, "truncated", or_status="not-an-image")
    adler = whole[: check - 1] + bytes([whole[check - 1] ^ 1]) + whole[check:]
    yield Specimen("PNG pixels that fail their own check", adler, "truncated")
    body = whole[:place] + b"IDAT" + b"\xff" * length
    mended = body + struct.pack(">I", zlib.crc32(b"IDAT" + b"\xff" * length)) + whole[check + 4 :]
    yield Specimen("PNG no zlib inside", mended, "truncated")
    real = np.zeros((32, 64), np.float32)
    tags: dict[int, list[int] | bytes] = {258: [32], 262: [1], 277: [1], 339: [3]}
    for name, value in (("NaN", np.nan), ("infinity", np.inf)):
        real[3, 4] = value
        yield Specimen(f"TIFF float {name}", tiff((64, 32), real.tobytes(), tags), "truncated")
    tiles = encode(picture(), "JPEG")
    twice = tiles[:200] + tiles[:200]
    yield Specimen("JPEG header twice", twice, "truncated", or_status="not-an-image")


def _foreign() -> Iterator[Specimen]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as pack:
        pack.writestr("a.png", encode(picture(), "PNG"))
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w") as tar:
        member = tarfile.TarInfo("a.png")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"abcd"))
    for name, payload in {
        "empty": b"",
        "one byte": b"\xff",
        "zeros": bytes(1000),
        "text": b"Dear colleague,\nthe pictures are in the other folder.\n" * 9,
        "html": b"<!doctype html><html><body><h1>404 Not Found</h1></body></html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
        "json": b'{"file_name": "a.png"}',
        "eps": encode(picture(), "EPS"),
        "pdf": encode(picture(), "PDF"),
        "zip": archive.getvalue(),
        "tar": tape.getvalue(),
        "gzip": zlib.compress(b"abc", wbits=31),
        "Windows thumbnails": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        "ELF": b"\x7fELF\x02\x01\x01" + bytes(600),
        "MP4": b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(600),
        "HEIF mark and nothing else": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(600),
        "AVIF mark and nothing else": b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(600),
    }.items():
        either = "truncated" if "mark" in name else ""
        yield Specimen(name, payload, "not-an-image", or_status=either)


def _animated() -> Iterator[Specimen]:
    frames = [noise(16), noise(16).transpose(Image.Transpose.ROTATE_90)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF", "AVIF"):
        payload = encode(frames[0], kind, save_all=True, append_images=frames[1:])
        yield Specimen(f"{kind} of two frames", payload, "animated")
    payload = encode(frames[0], "PNG", save_all=True, append_images=frames * 2, default_image=True)
    yield Specimen("APNG with a default picture", payload, "animated")


# written once with pillow-heif 1.8.1 (x265, quality 95, 4:4:4), zlib and base 85. phone: turned by
# the container, profile WIDE, thumbnail; alpha: three kinds of opaqueness; two: a second picture
_HEIF: dict[str, str] = {
    "phone": (
        "c-muNV30{GsVvAy&8%Pmg51nBLl8SRGck>Ufu$-"
        "pwIq=N0u(b+a*CjAhJwuG5(YHjmYI{E3}U!AFfcPPf><o`AT$uPF))EBRu#C23Q!eD!~-"
        "sJ7l?f`GxO5GJdms?kdq452vn0%mTbs?B*+Ld(zPNpjR8d^GeRX_L1sxV15`V6OJ+e)0g#T)EJ)4=ij@PEIWw|w0"
        "GabFK#Jr(F#P%d;|Bu+KXU?5hqwbH599y;AO*}|6+n~ab}>050_C)v7#UF|Ca?%7Y`PmW<+?c|FB=O;ECoccC?o-"
        "ubGR@bES50fm;iLii{$*AqJpA)ptBk8fUIQ_00w+sNl}oylR`vflmh!Jpblu5BqkRZFyIB>u0hmZ)@2|aaHgadgW"
        "~K15XU7K6agcZF#yQsDK9Aiv15R2ks_d@fb0S=J0!>%$Zi1zZaPGK3P?O1BEAA7o&*u!0TNGwh@Sz8L+t`5jH>*6"
        "25N(n)CzE-1epyANA&PPh|Q5;VDMiGbjF|L(xNh`c19*+1|)qZy$lQsbbx7LDsDAuz*Hun&%m&64!RnU-"
        "!qE~QlVlFP^^)hlL!h&1xS(vivg3^{|BIC096a31qw1NGQo+Ng9DU4IWvp$OPFbtW<xK>++i`10H#7_#t9$^fd-"
        "^BD=`7d-5gMN3qaj{0_0vGeF5rj#ms`-"
        "M7Tc~*&3OcSzFo|m|5GISv%T524xndra=|(C8q!r1QRr|^Oa=eCV>kMAdj&>Hzg4inN1pu>)Cds2pRt_{{R2a{r&"
        "%c{W0{<{(khymLE@T?q3a@KJVka`K_j_UM5@a-"
        "m3HGY3E0eNu{gTn>_ToC2hz1r|x#lxvKAfrY2u+`Vj4Ne0qQ4o;B?=&c`RMIpJlc|4r|oDEm8+iFU4`|JQ!dZ%_)"
        "^tP?v`%yvgx>a58*zO(b|=ggV@59kUuNGap%%b*1g1V%<7aPh>*zy?o!H$g7l#L*!s){u71^ULhJ+3yejw@#FOtn"
        "%h%6t6zxSACB}W`j0{_~infik~FC;_To3XS~C`ti4fdt@iUrzWjIRH%(;~>WG+Mc6{$L@uTVjM{kARy!t%(t^G@G"
        "MUD59{4d=v@jJYPe;VuDig#ka)VEgG_8esG{pOxn`e^ReGbf&&Oug)rc%n!7Mw7Wkbp3Sxf-"
        "B23H_GU5zOdrtZuu{s+PZNPo!cDO{Bzn6m9cKl93PX#Hl9Zx=6Rj9jOCWFJ6~|Upkblm<Y{N?<=6AsrwavlmC8te"
        "YyDsf0Na0M(E"
    ),
    "alpha": (
        "c-"
        "muNV30{GsVvAy&8%Pmg51nBLl8SRGck>Ufhi|9wIq=N0u(b+a*CjAhJwuG5(YG2l9`jA3}U!AFfcJNf>=xwAT$vC"
        "0Ez(ta|c}H8W3A#X6B`Vc_3L)ASV^945%ifEZL9&MUV+0$XAeAlFI;9$+$YRpr`;yH)j?k=L5ycfy$g2SvY{qc@`"
        "i=avvD}{QvQTfq|bn0jNXVfsu#t|9_AIX0Qroppsoo4v9cHEhk1sREY^J0t%b%#!R_x&dAHg0uoCB5iANxK;;}Rj"
        "0cM)3^*nLZ4pk+&ne1F&Zz*3^D?kC0EI*{iwjbr{&j$2jpUrf0w^04779=r?8X28|383+hCo4PMJ71RI5<FFDM0v"
        "Y{tuY1{^0NxNClFwRN=mYNgQZm5sO|uY1Xp?KzH&qfCO7W9%2J|=s+hVj3M?jf~-"
        "_eEUj<`@k)#Gta1xd)2%X6%aW~(3=B=JfKr($R^W(H$SlZ(r5Io$U~Ob#W^G|$Vr^q)?`Q#vNo5wLra|TTfckR4N"
        "d**%*K$)5L22rX2IG3R9VtS_|7w7Np%VV0-l?JN&j#VD+mhcu?!W*4t87&KiR~u)_x|`X^{~MY$;ZE?-"
        "_+da|DO`#Y-"
        "fMte)6*)X<xnhKk6*G)uK_hVZpu$8}|3t|G#Yb|HsV>**|i&|GZxR|4iVT$`$U`_7C#H3OQX5Te%<8V$kB)Vl^>*"
        "YTG2!$|DUHPj~uNFx{1ZXz_bX?x!saw=BH$p=N_@<@?aL>ThGD!@el<WEU|yWmdjRFPXJ<UVfQ$(OLQI`w{g~E(d"
        "xgiXW-"
        ">&PzIzd{BGk*W75KzP)Gd{JsTW*G~Hx9<uu=BcIx*|9cq^TUhU3e9gtm^4pa;XMp~`q`|n3x8P$+o9cgt+xGgo_3"
        "i8Umv*-|mp^)UKUtx3c6{WDvtQ3gJvdnM_>rPcQQrBFe7`4^l-"
        "NAfed~K??J|v7Ax1U2>lbM4UFX7hRI+ofvi|yj7gDEF-"
        "S6+ev;4n)+mytX<_Bkr6XQ0iEjh6F*y)Pcl=x%9_1<6l59sF~xv}!^p0(>r8F-"
        "7$XZ(D8x<qi!#U;#b9h>JfU7GN6(%I7ek}sIW44I;q{lBv>XN~1jdGl^PdpWU#+v^^@4d8q*=Ss-"
        "S5aZ`}PF$1GI_D=@v*Y>y&0!V*c2R1@"
    ),
    "two": (
        "c-"
        "muNV30{GsVvAy&8%Pmg51nBLl8SRGck>UfypN~wIq=N0u(b+a*CjAhJwuG5(YG2l9`jA3}U!AFfcJNf>=xi5E=-"
        "60L6fSIRhrbXayuJGBfkiz+8~5D3Fs1Rt8j)QI>4TfFj6*5acV!EXiens$^W6Sx{5}q-"
        "!$^lJkLL<v?Z5j4T{L<~$3KBDoI?fBygY!N9=JoB-"
        "4z?!d^y`2Rmh0W(+yGf>GcCWl0zoR$+KBdWv%76FA#cVnhpH)rH!V*!b!fCv_aB%pE*7si9d5(XR-fVK!H=jRmVC"
        "FfKC#d#Un8h}C~nZ*UE&=7EdVvXdS!~!TA6c!3l8tldY|NlRLhK4{vW<@4A%s4nWXymKV%Q1IYOe6$=VvG|&5&{i"
        "KzLJ=L<Xo6D1wb^+nLzpi)VT_o1-"
        "Y=a0*rpvMkZ#~76vBPHXz*&6tc=qNd%>tFB**N*><D|8UL#R>Q)JVQSa1H_Gg1|)osb|ANSw?|5Y|B{={~Z{d<4>"
        "n0naYhvehm(r;?+^Z!o?akjI+aX<OlkF>Ae{2z6e+-lJ%+pu8Ygbn-"
        "q>;GRi{Qu+Th3p?W+kalK|9>WMP2~!AYx@UzVTGKohppU?X)$PVY_XacKDBL<Y2}dyi>EvNDwyudKeYJ0CHK>og<"
        "BS0`cSh$w(@=GTlKdw(qUhed9sTboiZ!mrI*awIxoLWy6CKY_Wg+ZD3=4h62*_yd*>ycNj|8(@@sCiP~YCOc7ET2"
        "uWP6M3=i3Tl#x&E)BnAUhb^r4FTUntW%=#OoHM{6GXwd16URASiH6Nlv6rfjb4uO%`R-"
        "RyX079on`>AS^IJp0R?k?spIc^~bhXfom3GxZKLZPAp81-"
        ";F+;udqebZ(`?h_HKJLoiAR5g0PBBWjvL~*4VZG^wbIWbzy#DNKiR0S(?dSf#r>DKTw_*BcS$?~X2W0mD?{j(_J2"
        "z^f$euMddZ+w1&AP~w&mYtAX6cF|ev_2)r@CwQEUvjK%AJ%bAo1;%i|!<g$e>_dF6mHFhL0NsVzXl>uqjASNd7Cd"
        "&SlX|2Z8O`B7OS1UO30yWO4eg%&@&glJ}TK!1FFAsWSaTW?G&W?@l(qI{Ccs&-OFt(k-"
        "_v(P3aH`@S{c`5N;nXEr27T<-"
        "qAAkdQ0#QvwijlHEj6<eRKdvLVy?SG|10+(L|OYMl2@A_Zlb9R6Gd)*&0*1z`hEdK`p3m1u{"
    ),
}
