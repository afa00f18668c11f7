"""
Remove a known blur
===================

Where the blur is known, from a calibration, a gyroscope or a simulation, nothing has to be estimated.
"""

import torch
from drawing import show
from skimage import data

import basis_blur as bb

# %%
# A simulated camera shake blurs a photo, in linear light, with some noise.
photo = torch.from_numpy(data.coffee()[80:340, 150:450]).permute(2, 0, 1)[None] / 255
kernel = torch.from_numpy(bb.shake_kernels(1, 21, seed=1, start=32))[None]
size = [side - 20 for side in photo.shape[-2:]]
field = bb.BlurField(kernel, torch.ones(1, 1, *size))
light = bb.BasisBlur(field)(bb.to_linear(photo))
noise = 0.002 * torch.randn(light.shape, generator=torch.Generator().manual_seed(0))
blurred = bb.to_srgb((light + noise).clamp(0, 1))
sharp = photo[..., 10:-10, 10:-10]  # the operator reaches 10 pixels beyond the blurred photo

# %%
# :func:`basis_blur.deblur` is Richardson-Lucy, which knows noise, saturation, and that it does not see beyond the
# border.
restored = bb.deblur(blurred, field)
show(blurred=blurred, kernel=kernel[0, 0], restored=restored, sharp=sharp)


def psnr(one, other):
    return -10 * (one - other).square().mean().log10().item()


print(f'blurred {psnr(blurred, sharp):.1f} dB, restored {psnr(restored, sharp):.1f} dB')
assert psnr(restored, sharp) > psnr(blurred, sharp) + 3

# %%
# Photos that were taken in linear light have gamma 1; say so, or edges get rims.
in_linear_light = bb.deblur(bb.to_linear(blurred), field, gamma=1.0)

# %%
# A field is kept in a file, and taken up by the command: ``basis-blur deblur photo.png --kernels blur.npz``.
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

with tempfile.TemporaryDirectory() as folder:
    field.save(Path(folder) / 'blur.npz')
    same = bb.BlurField.load(Path(folder) / 'blur.npz')
assert torch.equal(same.kernels, field.kernels)
