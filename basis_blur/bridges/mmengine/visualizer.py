"""Pictures of a validation, by mmengine's visualizer: the estimated kernels over the photo, or the photo restored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.visualization import Visualizer
from torch import Tensor

from basis_blur.photos.pictures import PAPER, draw_kernel_grids
from basis_blur.registry import VISUALIZERS


@VISUALIZERS.register_module()
class BlurVisualizer(Visualizer):
    """Draw what our models predict, and hand it to the backends, such as dict(type='LocalVisBackend').

    'field'    the estimated kernels over the photo | the true ones | the restored photo
    'image'    the photo | the restored photo | the sharp one; where no kernels are told

    Each where it is known, side by side. Its arguments are those of `Visualizer`.
    """

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: Mapping[str, Any] | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        step: int = 0,
    ) -> None:
        """Draw one prediction.

        Args:
            name: name of the picture.
            image: (H, W, 3) uint8, red first; the blurred photo.
            data_sample: a prediction of one photo, by name: 'field' and 'true_field', a BlurField or PixelField each;
                'image' and 'gt', (1, 3, H, W) in [0, 1].
            draw_gt: whether to draw the truth.
            draw_pred: whether to draw the estimate.
            show: whether to open a window, too.
            wait_time: time of the window, seconds; 0 waits for a key.
            step: step of the training.
        """
        picture = _beside(_panels(image, data_sample or {}, draw_gt, draw_pred))
        if show:
            self.show(picture, name, wait_time)
        self.add_image(name, picture, step)


def rgb_of(photo: Tensor) -> np.ndarray:
    """Return a photo (3 or 1, H, W), in [0, 1], as (H, W, 3) uint8."""
    pixels = (photo.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _panels(image: np.ndarray, sample: Mapping[str, Any], draw_gt: bool, draw_pred: bool) -> list[np.ndarray]:
    wanted = {'field': draw_pred, 'true_field': draw_gt, 'image': draw_pred, 'gt': draw_gt}
    known = [name for name in wanted if wanted[name] and sample.get(name) is not None]
    titles = {'field': 'estimate', 'true_field': 'truth'}
    fields = {titles[name]: sample[name] for name in known if name in titles}
    photo = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
    with torch.no_grad():
        panels = list(draw_kernel_grids(photo, fields).values()) if fields else [image]
    photos = ('image',) if fields else ('image', 'gt')
    return panels + [rgb_of(sample[name][0]) for name in photos if name in known]


def _beside(panels: list[np.ndarray]) -> np.ndarray:
    """Return panels in a row, each as wide as the first, on paper."""
    width = panels[0].shape[1]
    panels = [cv2.resize(panel, (width, round(len(panel) * width / panel.shape[1]))) for panel in panels]
    paper = np.empty((max(map(len, panels)), width * len(panels), 3), np.uint8)
    paper[:] = PAPER
    for place, panel in enumerate(panels):
        paper[: len(panel), place * width : (place + 1) * width] = panel
    return paper
