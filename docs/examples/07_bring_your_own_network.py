"""
Bring your own network
======================

``Deblurrer`` is made of parts, and each is a function. Give it an estimator of your own, and all else works as before:
files, tiles of the restoration, warnings, saving.
"""

import torch
from drawing import show
from skimage import data

import basis_blur as bb

photo = torch.from_numpy(data.chelsea()[60:240, 80:300]).permute(2, 0, 1)[None] / 255
K = 15
kernel = torch.zeros(1, 1, K, K)
kernel[..., K // 2, 2:-2] = 1 / (K - 4)  # the camera moved sideways
truth = bb.BlurField(kernel, torch.ones(1, 1, photo.shape[-2] - K + 1, photo.shape[-1] - K + 1))
blurred = bb.to_srgb(bb.BasisBlur(truth)(bb.to_linear(photo)))

# %%
# An estimator
# ------------
# It takes one photo (1, C, H, W) and its gamma, and returns an :class:`basis_blur.Estimate`: a field, its origin, and
# how blurs of that origin are best removed. Yours may be a network. This one believes that cameras move sideways, and
# finds how far: the gradients of a photo that moved by n pixels are correlated negatively at the distance n.


def sideways(photo, gamma, progress=None):
    light = bb.to_linear(photo, gamma).mean(1)
    gradient = light.diff(dim=-1)
    gradient = gradient - gradient.mean()
    power = torch.fft.rfft(gradient, dim=-1).abs().square().mean((0, 1))
    correlation = torch.fft.irfft(power)[: K + 3]
    length = int(correlation[4:].argmin()) + 4
    kernel = torch.zeros(1, 1, K, K)
    kernel[..., K // 2, (K - length) // 2 : (K - length) // 2 + length] = 1 / length
    field = bb.BlurField(kernel, torch.ones(1, 1, *photo.shape[-2:]))
    note = f'the camera moved {length} pixels sideways.'
    return bb.Estimate(field, 'sideways', bb.Removal(iterations=15, strength=1.0), notes=(note,))


deblurrer = bb.Deblurrer(sideways)
result = deblurrer(blurred)
print(*result.notes)
show(blurred=blurred, restored=result.photo)

# %%
# A network with the same interface as ours
# -----------------------------------------
# A module that takes linear light, returns a :class:`basis_blur.BlurField` and tells its ``kernel_size`` is used as
# ours are, without a wrapper.


class Constant(torch.nn.Module):
    """Predict the same kernel for every photo."""

    def __init__(self, kernel):
        super().__init__()
        self.kernel = torch.nn.Parameter(kernel)
        self.hyper_parameters = {'kernel_size': kernel.shape[-1]}

    def forward(self, light):
        kernels = self.kernel.expand(len(light), -1, -1, -1)
        return bb.BlurField(kernels, light.new_ones(len(light), 1, *light.shape[-2:]))


field = bb.estimate_blur(Constant(kernel), blurred)
restored = bb.deblur(blurred, field)

# %%
# And one that has a file format, commands and training
# ------------------------------------------------------
# To have ``load_network``, ``export``, ``info``, ``basis-blur train`` and ``--weights`` know it, it joins the package:
# one file in ``archs``, with its ``facts`` (what it takes and returns) and ``hyper_parameters``, and one line in
# ``ARCHS``. The first lines of ``basis_blur/archs/network_facts.py`` tell how; nothing else has to be changed.
