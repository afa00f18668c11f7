"""KernelFlow: a normalizing flow over blur kernels, which tells the likelihood of a kernel [L21, F23].

    kernel k --preprocess--> x --(masked coupling, batch norm) x num_blocks--> code u,    u ~ N(0, 1) in each of K*K
    y = min(max(k, 0) / normalization, 1),  y += noise / 720,  x = logit(alpha + (1 - 2 alpha) y)
    k = (sigmoid(x) - alpha) / (1 - 2 alpha) * normalization

It is a RealNVP over flattened kernels. Each direction returns the logarithm of its Jacobian's determinant, so

    log p(x) = log N(u; base mean and variance) + log |det du / dx|

Parameters and buffers are named as in the published weights of [L21], which therefore load as they are.

Convention: kernels are flattened row by row. A flow has the kind of kernels that it was trained on, convolution or
    correlation kernels; those of this package are convolution kernels.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basis_blur.archs.network_facts import CODE, FLOW, KERNELS, DescribedNetwork, NetworkFacts

LEVELS = 720  # number of steps of a normalised pixel; uniform noise of one step makes it continuous [L21]
ALPHA = 1e-6  # margin that keeps the logit finite at 0 and 1
MOMENTUM = 0.9  # share of the old value in the running statistics
EPSILON = 1e-5  # number that is added to variances
PEAK_QUANTILE = 0.9  # quantile of the kernels' largest pixels that their normalization is derived from
LAST_GAIN = 0.1  # factor on the weights of the last layers of a fresh flow, which is so nearly the identity


class KernelFlow(DescribedNetwork):
    """Map kernels to codes that are standard normal, and codes to kernels.

    In training mode the batch normalisations use the statistics of the batch in `forward`; `inverse` and evaluation
    mode use the running ones, with which the two are each other's inverse.

    Args:
        kernel_size: K, the side of a kernel in pixels, odd.
        num_blocks: number of pairs of a coupling and a batch normalisation; 5 in [L21, F23].
        hidden: width of the networks in a coupling; published are 15 for K = 11 and 25 for K = 19.

    Raises:
        ValueError: a hyper-parameter is outside its range.

    Example:
        >>> flow = bb.load_network('kernel_flow')
        >>> code = torch.randn(4, flow.dims, generator=torch.Generator().manual_seed(0))
        >>> flow.decode(code).shape
        torch.Size([4, 19, 19])
    """

    FACTS: ClassVar[NetworkFacts] = NetworkFacts(
        FLOW,
        CODE,
        KERNELS,
        tensors={
            'code': '(M, K*K), standard normal',
            'kernels': '(M, K, K), the kernels of the codes, >= 0, each sums to 1',
        },
    )

    alpha: Tensor
    normalization: Tensor
    base_dist_mean: Tensor
    base_dist_var: Tensor

    def __init__(self, kernel_size: int = 19, num_blocks: int = 5, hidden: int = 25):
        super().__init__()
        if kernel_size < 3 or kernel_size % 2 == 0:
            raise ValueError(f'kernel_size is {kernel_size}, expected an odd number of pixels >= 3; the default is 19.')
        if num_blocks < 1 or hidden < 1:
            raise ValueError(f'num_blocks is {num_blocks} and hidden is {hidden}, expected at least 1; see [L21].')
        self._hyper_parameters = {'kernel_size': kernel_size, 'num_blocks': num_blocks, 'hidden': hidden}
        dims = kernel_size**2
        self.register_buffer('kernel_size', torch.tensor([float(kernel_size)]))
        self.register_buffer('alpha', torch.tensor([ALPHA]))
        self.register_buffer('normalization', torch.ones(1))
        self.register_buffer('base_dist_mean', torch.zeros(dims))
        self.register_buffer('base_dist_var', torch.ones(dims))
        self.net = nn.ModuleList()
        for index in range(num_blocks):
            self.net += [_Coupling(dims, hidden, keeps_odd=index % 2 == 0), _BatchNorm(dims)]

    @property
    def facts(self) -> NetworkFacts:
        """The facts of the network: what it takes and returns."""
        return replace(super().facts, channels=(self.dims,))

    @property
    def _layers(self) -> list[_Coupling | _BatchNorm]:
        return cast('list[_Coupling | _BatchNorm]', list(self.net))

    @property
    def dims(self) -> int:
        """K*K, the length of a code."""
        return self._hyper_parameters['kernel_size'] ** 2

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map preprocessed kernels to their codes.

        Args:
            x: (M, K*K); what `preprocess` returns, any real numbers.

        Returns:
            The codes (M, K*K), and log |det dcode/dx| (M,), in nats.

        Raises:
            ValueError: `x` has another shape, or a single row in training mode, whose variance is unknown.
        """
        self._check_rows('x', x)
        log_det = x.new_zeros(len(x))
        for layer in self._layers:
            x, more = layer(x)
            log_det = log_det + more
        return x, log_det

    def inverse(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Map codes to preprocessed kernels, by the running statistics in either mode.

        Args:
            code: (M, K*K).

        Returns:
            x (M, K*K), and log |det dx/dcode| (M,), in nats.

        Raises:
            ValueError: `code` has another shape.
        """
        self._check_rows('code', code)
        log_det = code.new_zeros(len(code))
        for layer in reversed(self._layers):
            code, more = layer.inverse(code)
            log_det = log_det + more
        return code, log_det

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x), (M,) in nats, of preprocessed kernels (M, K*K); the logit is not accounted for here."""
        code, log_det = self(x)
        return self.code_log_prob(code) + log_det

    def code_log_prob(self, code: Tensor) -> Tensor:
        """Return the log-density of codes (M, K*K) under the base distribution, (M,) in nats."""
        square = (code - self.base_dist_mean) ** 2 / self.base_dist_var
        return -0.5 * (square + self.base_dist_var.log() + math.log(2 * math.pi)).sum(1)

    def preprocess(self, kernels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Map kernels to real numbers, x above.

        Pixels above `normalization` are cut to it. With noise they are cut one step lower, so that the noise fits.

        Args:
            kernels: (M, K, K); >= 0, sum 1. Negative pixels count as 0.
            noise: noise of the same shape, uniform in [0, 1), in steps of `normalization` / 720, which a density needs.
                By default there is none, which makes `decode(encode(kernels))` exact.

        Raises:
            ValueError: a shape does not fit.
        """
        size = self._hyper_parameters['kernel_size']
        if kernels.ndim != 3 or kernels.shape[1:] != (size, size):
            raise ValueError(f'kernels have shape {tuple(kernels.shape)}, expected (M, {size}, {size}).')
        y = kernels / self.normalization
        if noise is None:
            y = y.clamp(0, 1)
        elif noise.shape == kernels.shape:
            y = y.clamp(0, 1 - 1 / LEVELS) + noise / LEVELS
        else:
            raise ValueError(f'noise has shape {tuple(noise.shape)}, expected {tuple(kernels.shape)} as the kernels.')
        y = y.flatten(1)
        scale = 1 - 2 * self.alpha
        # The two logarithms apart: in float32 little would be left of 1 - p where p is nearly 1.
        return (self.alpha + scale * y).log() - (self.alpha + scale * (1 - y)).log()

    def preprocess_log_det(self, x: Tensor) -> Tensor:
        """Return log |det dx/dq| of `preprocess`, (M,) in nats, where q = 720 y is a pixel in steps.

        So `log_prob(x) + preprocess_log_det(x)` is the log-density of kernels whose pixels are measured in steps.

        Args:
            x: (M, K*K); what `preprocess` returned.
        """
        slope = (1 - 2 * self.alpha).log() - F.logsigmoid(x) - F.logsigmoid(-x) - math.log(LEVELS)
        return slope.sum(1)

    def encode(self, kernels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the codes (M, K*K) of kernels (M, K, K); `noise` as in `preprocess`."""
        return self(self.preprocess(kernels, noise))[0]

    def decode_raw(self, code: Tensor, chunk: int | None = None) -> Tensor:
        """Map codes to kernels as they come: neither cut to >= 0 nor divided by their sum.

        Args:
            code: (M, K*K).
            chunk: number of rows that are computed at once, which bounds the memory; by default all.

        Returns:
            (M, K*K), in [-alpha, 1 + alpha] * normalization or hardly beyond.

        Raises:
            ValueError: `code` has another shape, or `chunk` is not positive.
        """
        self._check_rows('code', code)
        if chunk is not None and chunk < 1:
            raise ValueError(f'chunk is {chunk}, expected at least 1 row; leave it out to compute all rows at once.')
        if chunk is None or len(code) <= chunk:
            return self._raw(code)
        if torch.is_grad_enabled() and (code.requires_grad or any(each.requires_grad for each in self.parameters())):
            return torch.cat([self._raw(part) for part in code.split(chunk)])
        raw = torch.empty_like(code)
        for target, part in zip(raw.split(chunk), code.split(chunk), strict=True):
            target.copy_(self._raw(part))
        return raw

    def plain(self, code: Tensor) -> Tensor:
        """Return the kernels of codes, for an export: `decode`."""
        return self.decode(code)

    def decode(self, code: Tensor, chunk: int | None = None) -> Tensor:
        """Return the kernels (M, K, K) of codes (M, K*K): `decode_raw`, cut to >= 0 and divided by their sum."""
        raw = self.decode_raw(code, chunk).clamp(min=0)
        size = self._hyper_parameters['kernel_size']
        return (raw / raw.sum(1, keepdim=True).clamp(min=torch.finfo(raw.dtype).tiny)).view(-1, size, size)

    @torch.no_grad()
    def set_normalization(self, value: float) -> None:
        """Set the kernel value that y = 1 stands for, in the buffer that is saved with the weights.

        Raises:
            ValueError: `value` is not positive and finite.
        """
        if not 0 < value < math.inf:
            raise ValueError(f"normalization is {value}, expected > 0, such as a high quantile of the kernels' peaks.")
        self.normalization.fill_(value)

    def _raw(self, code: Tensor) -> Tensor:
        # As `inverse`, but on the pixels of even and of odd index apart, of which a coupling changes one kind: a third
        # of the work, and a third of the memory for the gradient.
        even, odd = code[:, ::2], code[:, 1::2]
        for layer in reversed(self._layers):
            even, odd = layer.inverse_of_halves(even, odd)
        # K*K is odd: the last index is even, and has no partner.
        x = torch.cat([torch.stack([even[:, :-1], odd], 2).flatten(1), even[:, -1:]], 1)
        return (x.sigmoid() - self.alpha) / (1 - 2 * self.alpha) * self.normalization

    def _check_rows(self, name: str, rows: Tensor) -> None:
        if rows.ndim != 2 or rows.shape[1] != self.dims:
            raise ValueError(f'{name} has shape {tuple(rows.shape)}, expected (M, {self.dims}), a row for each kernel.')


def derive_normalization(kernels: Tensor, quantile: float = PEAK_QUANTILE) -> float:
    """Return the kernel value that a flow shall take for 1: a quantile of the kernels' largest pixels.

    Brighter pixels are cut to it, and the noise with which the flow learns lifts dark pixels by half a 720th of it. The
    two together change a share of the light of the kernels (L1 distance). Measured on shake kernels of 19x19 pixels,
    that share is 0.34 if the value is the largest of all pixels, that of a camera that stood still, since the lift then
    buries long paths. It is smallest, 0.13, for quantiles from 0.75 to 0.8, and 0.15 for 0.9, which cuts one kernel in
    ten.

    Args:
        kernels: (M, K, K); >= 0, sum 1.
        quantile: quantile of the largest pixels, in [0, 1].

    Raises:
        ValueError: there is no kernel, one is black, or `quantile` is outside its range.
    """
    if kernels.ndim != 3 or not len(kernels):
        raise ValueError(f'kernels have shape {tuple(kernels.shape)}, expected (M, K, K) with M >= 1.')
    if not 0 <= quantile <= 1:
        raise ValueError(f'quantile is {quantile}, expected 0 to 1; the default is {PEAK_QUANTILE}.')
    peaks = kernels.amax((1, 2))
    if not (peaks > 0).all():
        raise ValueError(f'{int((~(peaks > 0)).sum())} of {len(kernels)} kernels are black; leave them out.')
    return torch.quantile(peaks.double(), quantile).item()


class _Coupling(nn.Module):
    """A layer that scales and shifts one half of the pixels by functions of the other half, which stays [L21].

    u = m x + (1 - m) (x - t(m x)) exp(-s(m x)),    log |det du/dx| = -sum (1 - m) s

    Args:
        dims: length of x.
        hidden: width of s and t.
        keeps_odd: whether m is 1 at odd indices, or at even ones.
    """

    mask: Tensor

    def __init__(self, dims: int, hidden: int, keeps_odd: bool):
        super().__init__()
        self.keeps_odd = keeps_odd
        self.register_buffer('mask', ((torch.arange(dims) % 2 == 1) == keeps_odd).to(torch.get_default_dtype()))
        self.s_net = _small_net(dims, hidden, nn.Tanh)
        self.t_net = _small_net(dims, hidden, nn.ReLU)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept = self.mask * x
        log_scale, shift = self._changes(kept)
        return kept + (1 - self.mask) * (x - shift) * (-log_scale).exp(), -log_scale.sum(1)

    def inverse(self, code: Tensor) -> tuple[Tensor, Tensor]:
        kept = self.mask * code
        log_scale, shift = self._changes(kept)
        return kept + (1 - self.mask) * (code * log_scale.exp() + shift), log_scale.sum(1)

    def inverse_of_halves(self, even: Tensor, odd: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `inverse` does at even and at odd indices."""
        kept, changed, first, second = (odd, even, 1, 0) if self.keeps_odd else (even, odd, 0, 1)
        log_scale, shift = (_between_halves(net, kept, first, second) for net in (self.s_net, self.t_net))
        changed = torch.addcmul(shift, changed, log_scale.exp())
        return (changed, kept) if self.keeps_odd else (kept, changed)

    def _changes(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        return (1 - self.mask) * self.s_net(kept), self.t_net(kept)


class _BatchNorm(nn.Module):
    """A layer that normalises each pixel: by the statistics of the batch in training, by running ones otherwise.

    u = exp(log_gamma) (x - mean) / sqrt(var + 1e-5) + beta,    log |det du/dx| = sum (log_gamma - log(var + 1e-5) / 2)

    In training the mean and variance count as constants in the determinant, though gradients flow through them.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, dims: int):
        super().__init__()
        self.log_gamma = nn.Parameter(torch.zeros(dims))
        self.beta = nn.Parameter(torch.zeros(dims))
        self.register_buffer('running_mean', torch.zeros(dims))
        self.register_buffer('running_var', torch.ones(dims))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = self._statistics(x) if self.training else (self.running_mean, self.running_var)
        log_scale = self.log_gamma - 0.5 * (var + EPSILON).log()
        return (x - mean) * log_scale.exp() + self.beta, log_scale.sum().expand(len(x))

    def inverse(self, code: Tensor) -> tuple[Tensor, Tensor]:
        log_scale = 0.5 * (self.running_var + EPSILON).log() - self.log_gamma
        return (code - self.beta) * log_scale.exp() + self.running_mean, log_scale.sum().expand(len(code))

    def inverse_of_halves(self, even: Tensor, odd: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `inverse` does at even and at odd indices."""
        scale = (self.running_var + EPSILON).sqrt() * (-self.log_gamma).exp()
        shift = self.running_mean - self.beta * scale
        return torch.addcmul(shift[::2], even, scale[::2]), torch.addcmul(shift[1::2], odd, scale[1::2])

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if len(x) < 2:
            raise ValueError(f'the batch has {len(x)} kernels, expected at least 2 in training; or call eval() first.')
        var, mean = torch.var_mean(x, 0)
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), 1 - MOMENTUM)
            self.running_var.lerp_(var.to(self.running_var.dtype), 1 - MOMENTUM)
        return mean, var


def _between_halves(net: nn.Sequential, kept: Tensor, first: int, second: int) -> Tensor:
    """Return the output of `net` at the pixels that a coupling changes, from those that it keeps."""
    enter, *middle, leave = net
    x = F.linear(kept, enter.get_parameter('weight')[:, first::2], enter.get_parameter('bias'))
    for layer in middle:
        x = layer(x)
    return F.linear(x, leave.get_parameter('weight')[second::2], leave.get_parameter('bias')[second::2])


def _small_net(dims: int, hidden: int, activation: type[nn.Module]) -> nn.Sequential:
    enter, middle, leave = nn.Linear(dims, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, dims)
    with torch.no_grad():
        leave.weight.mul_(LAST_GAIN)
        leave.bias.zero_()
    return nn.Sequential(enter, activation(), middle, activation(), leave)
