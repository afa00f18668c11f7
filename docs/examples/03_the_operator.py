r"""
The operator as mathematics
===========================

A blur field is a linear operator on the scene,

.. math:: H u = \sum_b m_b \odot (k_b * u),

and :class:`basis_blur.BasisBlur` is that operator: it composes, has its exact transpose, and can be differentiated with
respect to the scene, the kernels and the mixing.
"""

import torch
from drawing import show

import basis_blur as bb

# %%
# A field of two kernels of 7 pixels, for a photo of 24 x 32.
torch.manual_seed(0)
kernels = torch.rand(1, 2, 7, 7, dtype=torch.float64)
kernels /= kernels.sum((-2, -1), keepdim=True)
mixing = torch.randn(1, 2, 24, 32, dtype=torch.float64).softmax(1)
field = bb.BlurField(kernels, mixing)
blur = bb.BasisBlur(field)
print('from', blur.input_shape, 'to', blur.output_shape)

# %%
# The dot test
# ------------
# For every operator, <Hx, y> = <x, H'y>. The dot test tells by how much that is missed, relative to both sides:
# rounding.
print(f'BasisBlur: {bb.dot_test(blur):.1e}')
for border in (bb.ReflectPad, bb.ReplicatePad, bb.ZeroPad):
    composed = blur @ border(field)
    print(f'{border.__name__}: {bb.dot_test(composed):.1e}, from and to {composed.output_shape}')
    assert bb.dot_test(composed) < 1e-12

# %%
# A point of light becomes its kernel: kernels are convolution kernels, drawn as they blur.
scene = torch.zeros(1, 1, 30, 38, dtype=torch.float64)
scene[..., 15, 19] = 1
one = bb.BasisBlur(bb.BlurField(kernels[:, :1], torch.ones(1, 1, 24, 32, dtype=torch.float64)))
show(height=2.5, point=scene[0, 0], its_image=one(scene)[0, 0], kernel=kernels[0, 0])
assert torch.allclose(one(scene)[0, 0, 9:16, 13:20], kernels[0, 0])

# %%
# The adjoint spreads
# -------------------
# H'1 tells how often each scene pixel is seen. It is not 1 where kernels differ from place to place, and
# Richardson-Lucy divides by it.
seen = blur.T(torch.ones(1, 1, 24, 32, dtype=torch.float64))
inside = field.inside(seen)
print(f"inside the photo, H'1 goes from {inside.min():.2f} to {inside.max():.2f}")

# %%
# Gradients
# ---------
# All of it differentiates, so that kernels and mixing can be fitted to photos. Here is the gradient of ||Hu - v||^2
# with respect to the scene, which is 2 H'(Hu - v).
u = torch.rand(1, 3, 30, 38, dtype=torch.float64, requires_grad=True)
v = torch.rand(1, 3, 24, 32, dtype=torch.float64)
(gradient,) = torch.autograd.grad((blur(u) - v).square().sum(), u)
torch.testing.assert_close(gradient, 2 * blur.T(blur(u) - v))

# %%
# And a step of gradient descent on the mixing makes the reblurred photo more alike:
logits = torch.zeros(1, 2, 24, 32, dtype=torch.float64, requires_grad=True)
target = blur(u.detach())
before = (bb.BasisBlur(bb.BlurField(kernels, logits.softmax(1)))(u.detach()) - target).square().sum()
(slope,) = torch.autograd.grad(before, logits)
stepped = (logits - 50 * slope).detach().softmax(1)
after = (bb.BasisBlur(bb.BlurField(kernels, stepped))(u.detach()) - target).square().sum()
print(f'{before.item():.3f} before the step, {after.item():.3f} after')
assert after < before
