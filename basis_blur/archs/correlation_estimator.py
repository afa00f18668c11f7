"""An estimator of latent codes whose input is the correlations of a photo's gradients, and not the photo.

    photo -> light -> correlations of each window (as CorrelationKPN) -> decoder -> logits of a kernel
          -> two layers over all K*K of them -> softmax = shares, from which the code follows; sigma

The U-Net of [F23] has to find the shape of a blur in the pixels; here the input contains it (docs/training_log.md).
There is one code for each window. The decoder is that of a CorrelationKPN, and can begin with its weights.
"""

from __future__ import annotations

from torch import Tensor, nn

from basis_blur.archs.correlation_kpn_arch import WINDOW, WINDOWS, CorrelationDecoder, check_decoder, grid_of
from basis_blur.ops.camera_response import to_linear

HIDDEN = 512  # width of the two layers over all logits
LOGIT_SCALE = 0.25  # factor that brings logits, which go down to -20, to the usual size of a layer's input
FIRST_GAIN = 0.1  # gain of the last layer of a fresh network, for which the softmax is nearly linear


class CorrelationEstimator(nn.Module):
    """Predict a code and its uncertainty for every window of a photo.

    Args:
        in_channels: channels of the photo, 3 or 1.
        kernel_size: K, odd, >= 9; a code has K*K channels.
        width: channels of the decoder; 64 is that of the shipped CorrelationKPN.
        uncertainty: whether sigma is estimated; without it sigma is 0.

    Raises:
        ValueError: an argument is outside its range.
    """

    stride = None  # side of a cell of one code in pixels; None, since its cells are windows

    def __init__(self, in_channels: int = 3, kernel_size: int = 19, width: int = 64, uncertainty: bool = True):
        super().__init__()
        if in_channels not in (1, 3):
            raise ValueError(f'in_channels is {in_channels}, expected 1 or 3 where the estimator sees correlations.')
        check_decoder(kernel_size, 'width', width)
        self.in_channels = in_channels
        self.kernel_size = kernel_size
        self.decoder = CorrelationDecoder(width)
        taps = kernel_size**2
        self.head = nn.Sequential(nn.Linear(taps, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU())
        self.mean = nn.Linear(HIDDEN, taps)
        self.var = nn.Linear(HIDDEN, 1) if uncertainty else None
        nn.init.xavier_uniform_(self.mean.weight, FIRST_GAIN)
        nn.init.zeros_(self.mean.bias)

    def shares(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Return the softmax (N, K*K, rows, columns) that the codes are made of, and sigma (N, 1, rows, columns).

        Args:
            photo: (N, in_channels, H, W), any H, W >= 1; sRGB-like in [0, 1].

        Raises:
            ValueError: the photo has another number of channels.
        """
        if photo.ndim != 4 or photo.shape[1] != self.in_channels:
            raise ValueError(f'the photo has shape {tuple(photo.shape)}, expected (N, {self.in_channels}, H, W).')
        if min(photo.shape[-2:]) < 2:  # a line has no gradients across
            photo = photo.repeat_interleave(2, -2).repeat_interleave(2, -1)
        number, (height, width) = len(photo), map(int, photo.shape[-2:])
        rows, columns = grid_of(height, width, WINDOWS, WINDOW)
        logits = self.decoder.of_windows(to_linear(photo), rows, columns, WINDOW, self.kernel_size)
        x = self.head(logits.log_softmax(1) * LOGIT_SCALE)
        shares = self.mean(x).to(logits.dtype).softmax(1)
        sigma = shares.new_zeros(len(shares), 1) if self.var is None else self.var(x).to(shares.dtype).sigmoid()
        return tuple(each.view(number, rows, columns, -1).movedim(3, 1) for each in (shares, sigma))
