"""
Estimate a camera shake from the whole photo
============================================

Where the whole camera shook, all places of the photo have one kernel, and together they tell it, without a network's
guess of its shape.
"""

import torch
from drawing import show
from skimage import data

import basis_blur as bb

# %%
# A part of a photo, blurred by a simulated shake of 25 pixels at most, with noise.
photo = torch.from_numpy(data.astronaut()[:280, 100:380]).permute(2, 0, 1)[None] / 255
kernel = torch.from_numpy(bb.shake_kernels(1, 25, seed=1, start=7))[None]
truth = bb.BlurField(kernel, torch.ones(1, 1, 256, 256))
blurred = bb.to_srgb(bb.BasisBlur(truth)(bb.to_linear(photo)).clamp(0, 1))
blurred = (blurred + 0.003 * torch.randn(blurred.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)

# %%
# The search sees nothing but the blurred photo. ``agreement`` tells how alike two variants of it ended: below 0.75 it
# has failed.
found = bb.estimate_shake(blurred, kernel_size=25)
print(f'{len(found.tried)} kernels were looked at; agreement {found.agreement:.2f}')
show(height=2.5, **{each.name.replace(' ', '_'): each.kernel for each in found.tried}, true_kernel=kernel[0, 0])

# %%
# It brings the settings by which such a blur is best removed.
restored = bb.Deblurrer(lambda *_: found)(blurred).photo
show(blurred=blurred, restored=restored, sharp=photo[..., 12:-12, 12:-12])

# %%
# ``bb.Deblurrer.pretrained()`` decides for each photo whether the search explains all of it, or whether places differ
# and the network's field is taken. :doc:`/shake` tells how.
