"""Train a restoring network against a critic, as DeblurGAN is trained  [Kupyn18].

    image = network_g(lq);   critic_steps times: one step of the critic;   L = pixel(image, gt) + adversarial(image)

With `pixel_opt` a VGGLoss these are the losses of the paper; see `losses.vgg_loss` and `losses.wasserstein_loss`. The
critic is a part of the adversarial loss. Its weights are saved beside those of the network as net_d_ITERATION.pth, and
a resumed run goes on with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from basis_blur.foundation.options import Option, OptionError
from basis_blur.losses.restoration_objective import images_of
from basis_blur.losses.sample import needed
from basis_blur.losses.wasserstein_loss import WassersteinLoss
from basis_blur.models.losses import build_loss_of
from basis_blur.models.optimisation import build_optimiser
from basis_blur.models.restorer_model import RestorerModel
from basis_blur.models.run_files import read_weights_under
from basis_blur.weights.fitting import give


class AdversarialModel(RestorerModel):
    """BasicSR model that trains a restoring network with a critic.

    Its losses are `adversarial_opt` and those of RestorerModel, of which there is at least one. A validation is that of
    RestorerModel. The log has `critic`, the loss of the critic, too.
    """

    OPTIONS: ClassVar[dict[str, dict[str, Option]]] = {
        **RestorerModel.OPTIONS,
        'train': {
            **RestorerModel.OPTIONS['train'],
            'adversarial_opt': Option(
                (dict,), holds='loss', meaning='WassersteinLoss: the critic, and its verdict on restored photos.',
            ),
            'optim_d': Option(
                (dict,), holds='optimiser', meaning='Optimiser of the critic, of torch.optim, and its arguments.',
            ),
            'critic_steps': Option(
                (int,), 5, least=1, meaning='Number of steps of the critic for each of the network.',
            ),
        },
    }  # fmt: skip

    def __init__(self, opt: dict[str, Any]):
        if opt['dist'] and opt['is_train']:
            raise OptionError('AdversarialModel trains in one process; start it without torchrun and --launcher.')
        super().__init__(opt)

    def setup_optimizers(self) -> None:
        """Build the critic, and the optimisers of the network and of the critic."""
        super().setup_optimizers()
        section = self.train_options['adversarial_opt']
        self.adversarial = build_loss_of(WassersteinLoss, section, 'adversarial_opt').to(self.device)
        self.critic = self.adversarial.critic
        self.optimizer_d = build_optimiser(self.train_options['optim_d'], self.critic.parameters(), 'train: optim_d')
        self.optimizers.append(self.optimizer_d)

    def optimize_parameters(self, current_iter: int) -> None:
        """Take the steps of the critic, and one of the network, on the batch.

        Raises:
            InputError: a loss or the gradient is not finite.
        """
        with self.autocast():
            result = self.net_g(self.lq)
        image = images_of(result)[0].float()
        for _ in range(self.train_options['critic_steps']):
            loss = self.adversarial.of_critic(image, needed(self.gt))
            if not loss.isfinite():
                self._stop(f'the loss of the critic is {loss.item():g}', current_iter)
            self.optimizer_d.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer_d.step()
        self.critic.requires_grad_(False)
        losses = {**self.losses_of(result, self.lq, self.gt), 'l_adversarial': self.adversarial(image)}
        self.descend(losses, current_iter)
        self.critic.requires_grad_(True)
        self.log_dict['critic'] = loss.item()

    def save(self, epoch: int, current_iter: int) -> None:
        """Write net_d_ITERATION.pth, and what every stage writes.

        Raises:
            OSError: a file cannot be written; no half of it is left.
        """
        self.save_network(self.critic, 'net_d', current_iter)
        super().save(epoch, current_iter)

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        """Go on from a training state and the critic of its iteration.

        Raises:
            InputError: the state or the critic is of a run with other options, or is damaged.
            OSError: the file of the critic does not exist or cannot be read.
        """
        path = Path(self.opt['path']['models'], f'net_d_{resume_state["iter"]}.pth')
        weights, _ = read_weights_under(str(path), 'params')
        give([self.critic], weights, f'the critic in {path}', remedy='resume with the options of the run that wrote it')
        super().resume_training(resume_state)
