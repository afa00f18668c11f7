"""The perceptual loss of DeblurGAN: differences of features of a classifier  [Kupyn18, Eq. 3].

    L = mean (phi(x) - phi(y))^2,        phi: VGG19 up to its convolution conv3_3, before its ReLU

[Kupyn18] Kupyn, Budzan, Mykhailych, Mishkin, Matas, "DeblurGAN: Blind Motion Deblurring Using Conditional Adversarial
Networks", CVPR 2018, with a weight of 100. Photos are normalised as the classifier was trained, by the mean and the
deviation of ImageNet.

The weights are those that torchvision publishes, `vgg19-dcbb9e9d.pth`. They are read from a file, and nothing is
downloaded.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.numbers import check_number

SOURCE = 'https://download.pytorch.org/models/vgg19-dcbb9e9d.pth'
# Channels of the convolutions up to conv3_3; a 0 is a pooling of 2 x 2.
LAYERS = (64, 64, 0, 128, 128, 0, 256, 256, 256)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation of ImageNet, sRGB in [0, 1]
# What torch raises for files that are damaged, or hold other things.
DAMAGED = (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AttributeError)
LEAST_SIDE = 16  # pixels; smaller photos have hardly any features


class VGGLoss(nn.Module):
    """The loss above, times `loss_weight`.

    Args:
        weights: file of the weights of torchvision's VGG19.
        loss_weight: factor of the result.

    Raises:
        InputError: the file does not exist, or holds other weights.
        ValueError: `loss_weight` is no number.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, weights: str, loss_weight: float = 100.0):
        super().__init__()
        check_number('loss_weight', loss_weight)
        self.loss_weight = loss_weight
        self.features = _features(Path(weights))
        self.register_buffer('mean', torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer('deviation', torch.tensor(DEVIATION).view(3, 1, 1))

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the loss, one number.

        Args:
            restored: x, (N, 3 or 1, H, W) of at least 16 x 16 pixels; the prediction, sRGB-like in [0, 1].
            sharp: y, the truth, of the same shape.

        Raises:
            ValueError: the shapes differ, or there are too few pixels.
        """
        if restored.shape != sharp.shape or min(restored.shape[-2:]) < LEAST_SIDE:
            raise ValueError(
                f'restored is {tuple(restored.shape)}, sharp {tuple(sharp.shape)}; give equal shapes of at least '
                f'{LEAST_SIDE} x {LEAST_SIDE} pixels.'
            )
        with torch.no_grad():
            wanted = self._seen(sharp)
        return self.loss_weight * (self._seen(restored) - wanted).square().mean()

    def _seen(self, photo: Tensor) -> Tensor:
        return self.features((photo.to(self.mean) - self.mean) / self.deviation)


def _features(path: Path) -> nn.Sequential:
    """Return the first layers of VGG19 with the weights of a file; they do not learn."""
    if not path.is_file():
        raise InputError(
            f'VGGLoss: there is no file {path} (looked from {Path.cwd()}), expected the weights of VGG19; download '
            f'{SOURCE}, and name the file by "weights", or leave the loss out.'
        )
    layers: list[nn.Module] = []
    before = 3
    for channels in LAYERS:
        if channels:
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
        else:
            layers.append(nn.MaxPool2d(2))
    features = nn.Sequential(*layers[:-1])
    try:
        found = torch.load(path, map_location='cpu', weights_only=True)
        own = {f'features.{key}': value.shape for key, value in features.state_dict().items()}
        features.load_state_dict({key.removeprefix('features.'): found[key] for key in own})
    except DAMAGED as error:
        raise InputError(
            f'VGGLoss: {path} is not the weights of VGG19 ({type(error).__name__}); download {SOURCE} again.'
        ) from error
    return features.requires_grad_(False).eval()
