"""ICC profiles: the gamma that one tells, and one of linear light.

profile    header of 128 bytes, number of tags, (name, offset, length) of each; curves are the tags rTRC, gTRC, bTRC
           of colour and kTRC of gray                                                          (ICC.1:2010)
"""

from __future__ import annotations

import functools
import struct

from basis_blur.foundation.choices import LEAST_GAMMA, MOST_GAMMA

CURVES = (b'rTRC', b'gTRC', b'bTRC', b'kTRC')  # tags of the curves of red, green, blue and gray
MOST_TAGS = 200  # largest number of tags that are read
LINEAR_CURVE = b'para' + bytes(4) + struct.pack('>HHi', 0, 0, 1 << 16)  # y = x ** 1


def gamma_of_profile(profile: bytes | None) -> float | None:
    """Return gamma where all curves of a profile are light = sample ** gamma with one gamma, or None."""
    if profile is None:
        return None
    found = set()
    try:
        for name, offset, length in _tags(profile):
            if name in CURVES:
                found.add(_gamma_of_curve(profile[offset : offset + length]))
    except struct.error:  # a damaged profile
        return None
    gamma = found.pop() if len(found) == 1 else None
    return gamma if gamma is not None and LEAST_GAMMA <= gamma <= MOST_GAMMA else None


@functools.cache
def linear_srgb_profile() -> bytes:
    """Return an ICC profile of the primaries of sRGB with light in linear steps."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes())
    for name, offset, length in _tags(profile):
        if name in CURVES:
            profile[offset : offset + length] = LINEAR_CURVE.ljust(length, b'\0')
        elif name == b'desc':
            old, new = (each.encode('utf-16-be') for each in ('sRGB built-in', 'sRGB (linear)'))
            profile[offset : offset + length] = profile[offset : offset + length].replace(old, new)
    return bytes(profile)


def _tags(profile: bytes | bytearray) -> list[tuple[bytes, int, int]]:
    if len(profile) < 132:
        return []
    (count,) = struct.unpack_from('>L', profile, 128)
    return [struct.unpack_from('>4sLL', profile, 132 + 12 * index) for index in range(min(count, MOST_TAGS))]


def _gamma_of_curve(curve: bytes) -> float | None:
    kind, number = struct.unpack_from('>4s4xH', curve)
    if kind == b'para' and number == 0:
        return struct.unpack_from('>i', curve, 12)[0] / 65536
    if kind == b'curv':
        (count,) = struct.unpack_from('>L', curve, 8)
        return {0: 1.0, 1: struct.unpack_from('>H', curve.ljust(14, b'\0'), 12)[0] / 256}.get(count)
    return None
