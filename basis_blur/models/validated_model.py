"""The validation of a network under BasicSR: scores of every photo, their means, and the best of these so far.

It differs from BasicSR's own in:

1. The processes of a distributed validation share the photos; in BasicSR the first does it all while the others wait.
2. A validation leaves the random generators as they were, so a training does not depend on it.
3. A training state of the same iteration is written again, with the best scores.

The scores of the last validation of each data set are in scores.json in the run's folder.
"""

from __future__ import annotations

from typing import Any

from basicsr.utils import get_root_logger
from torch.utils.data import DataLoader, default_collate

from basis_blur.models.random_state import random_state, set_random_state
from basis_blur.models.resumable_model import ResumableModel
from basis_blur.models.run_files import write_scores
from basis_blur.models.validation import Validation, averaged, data_set_of


class ValidatedModel(ResumableModel):
    """Validate in one process or several; a stage implements `validate`."""

    def validate(self, run: Validation) -> list[dict[str, float]]:
        """Score the network on the samples of a data set; a stage implements it.

        Returns:
            Scores of each sample, numbers by name, all with the same names.
        """
        raise NotImplementedError

    def validation(
        self, dataloader: DataLoader[Any], current_iter: int | str, tb_logger: Any, save_img: bool = False
    ) -> None:
        """Validate; BasicSR calls this, the last time with a number one or two above the last iteration."""
        if self.is_train:
            current_iter = min(current_iter, int(self.opt['train']['total_iter']))
        generators = random_state(self.device)
        try:
            super().validation(dataloader, current_iter, tb_logger, save_img)
        finally:
            set_random_state(generators, self.device)
        if self.validated is not None:
            self.validated.add(data_set_of(dataloader).opt['name'])
        if self._saved_at is not None and self._saved_at[1] == current_iter:
            self.save_training_state(*self._saved_at)  # again, with the best scores

    def nondist_validation(
        self, dataloader: DataLoader[Any], current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Validate in one process."""
        run = Validation(iter(dataloader), data_set_of(dataloader), current_iter, tb_logger, save_img, self.opt)
        self._conclude(self.validate(run), run)

    def dist_validation(
        self, dataloader: DataLoader[Any], current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Validate in several processes, each on its share of the photos."""
        dataset = data_set_of(dataloader)
        share = range(self.opt['rank'], len(dataset), self.opt['world_size'])
        samples = (default_collate([dataset[index]]) for index in share)
        run = Validation(samples, dataset, current_iter, tb_logger, save_img, self.opt)
        self._conclude([score for part in self._gathered(self.validate(run)) for score in part], run)

    def lower_is_better(self, metric: str) -> bool:
        """Tell whether a lower score is better; for scores that the options name, the options tell it."""
        named = ((self.opt.get('val') or {}).get('metrics') or {}).get(metric)
        return (named.get('better', 'higher') == 'lower') if named else False

    def _conclude(self, scores: list[dict[str, float]], run: Validation) -> None:
        """Average the scores, keep the best, and log both in one line."""
        if not scores or not scores[0]:
            return
        best = self.best_metric_results.setdefault(run.name, {})
        self.metric_results, words = averaged(scores, best, self.lower_is_better, run.iteration)
        if run.tb_logger is not None:
            for key, value in self.metric_results.items():
                run.tb_logger.add_scalar(f'metrics/{run.name}/{key}', value, run.iteration)
        get_root_logger().info(f'Validation of {run.name}, {len(scores)} photos: {words}')
        if self.is_train and self.opt['rank'] == 0 and 'log' in self.opt['path']:
            write_scores(self.opt['path']['log'], run.name, run.iteration, self.metric_results)
