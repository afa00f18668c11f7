"""
See the blur of a photo
=======================

A network looks at a blurred photo and tells the blur of every pixel: where the light of that point went.
"""

import torch
from drawing import show
from skimage import data

import basis_blur as bb
from basis_blur.photos.pictures import draw_basis_montage, draw_kernel_grid

# %%
# A photo is a tensor (N, 3, H, W), sRGB-like, in [0, 1]. This one is sharp, so we blur it ourselves: the left half by
# one simulated camera shake, the right half by another. That is what a blur field is: a few ``kernels``, and their
# ``mixing`` at every pixel.
sharp = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None] / 255
kernels = torch.cat([torch.from_numpy(bb.shake_kernels(1, 19, seed=1, start=number)) for number in (6, 7)])[None]
height, width = sharp.shape[-2] - 18, sharp.shape[-1] - 18
right = torch.sigmoid(torch.linspace(-12, 12, width)).expand(height, width)
truth = bb.BlurField(kernels, torch.stack([1 - right, right])[None])
blurred = bb.to_srgb(bb.BasisBlur(truth)(bb.to_linear(sharp)))

# %%
# The shipped network sees the blurred photo alone.
net = bb.load_network('correlation_kpn')
field = bb.estimate_blur(net, blurred)
print(field)
show(
    height=3,
    true_blur=draw_kernel_grid(blurred, truth, cells=8),
    estimated_blur=draw_kernel_grid(blurred, field, cells=8),
)

# %%
# Each path of light is drawn around its pixel; its colour tells the direction. ``kernels_at`` gives them as numbers.
points = torch.tensor([[100, 60], [100, 380]])  # row and column
left_kernel, right_kernel = field.kernels_at(points)[0]
print(left_kernel.shape, 'sums to', round(left_kernel.sum().item(), 4))

# %%
# The basis of the estimate, and where in the photo each kernel is used:
show(height=7, basis=draw_basis_montage(field))
