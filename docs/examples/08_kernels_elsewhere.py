"""
Take the kernels to scipy and deepinv
=====================================

A blur field is two arrays. Other programs need nothing of this package to use them. :doc:`/exchange` has the formats.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from drawing import show
from scipy.signal import fftconvolve
from skimage import data

import basis_blur as bb

photo = torch.from_numpy(data.camera()[100:228, 160:320]).float()[None, None] / 255
kernels = torch.from_numpy(bb.shake_kernels(2, 11, seed=1, start=6))[None]
down = torch.linspace(0, 1, photo.shape[-2])[:, None].expand(photo.shape[-2:])
field = bb.BlurField(kernels, torch.stack([1 - down, down])[None])

# %%
# scipy
# -----
# Only numpy and scipy below: mirror the border, convolve with each kernel, weigh, add.
with tempfile.TemporaryDirectory() as folder:
    field.save(Path(folder) / 'blur.npz')
    with np.load(Path(folder) / 'blur.npz') as file:
        saved_kernels, saved_mixing = file['kernels'][0], file['mixing'][0]

light = photo[0, 0].numpy() ** 2.2
radius = saved_kernels.shape[-1] // 2
scene = np.pad(light, radius, mode='reflect')
blurred = sum(
    weight * fftconvolve(scene, kernel, mode='valid')
    for kernel, weight in zip(saved_kernels, saved_mixing, strict=True)
)

# %%
# It is what the operator computes:
ours = (bb.BasisBlur(field) @ bb.ReflectPad(field))(bb.to_linear(photo))[0, 0].numpy()
print(f'largest difference {np.abs(ours - blurred).max():.1e}')
assert np.allclose(ours, blurred, atol=1e-5)
show(sharp=photo, blurred=torch.from_numpy(blurred ** (1 / 2.2))[None, None])

# %%
# deepinv
# -------
# With ``pip install 'basis_blur[deepinv]'`` a field becomes a ``SpaceVaryingBlur``, for the solvers and networks there.
from basis_blur.bridges import torchvision_shim  # noqa: E402

torchvision_shim.install()  # where torchvision is not there, which deepinv imports
physics = field.to_deepinv('reflect')
measured = physics.A(bb.to_linear(photo))
print(type(physics).__name__, f'largest difference {np.abs(measured[0, 0].numpy() - ours).max():.1e}')

# %%
# A few steps of gradient descent on ||Hu - v||^2, by deepinv's operator and its adjoint:
u = measured.clone()
for _ in range(20):
    u = u - physics.A_adjoint(physics.A(u) - measured)
print(f'residual {(physics.A(u) - measured).norm():.3f}, from {(physics.A(measured) - measured).norm():.3f}')
