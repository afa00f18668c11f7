"""Descriptions of the options that BasicSR's own code reads, section by section.

The options of our networks, losses, data sets and models are described where these are defined; see `options`.
"""

from __future__ import annotations

from types import NoneType

from basis_blur.foundation.numbers import GAMMA
from basis_blur.foundation.options import Option

TOP = {
    'name': Option(
        (str,), meaning='Name of the run; its files go to experiments/NAME, or to results/NAME in a test. A name with '
        '"debug" in it makes BasicSR log each iteration and validate every 8.',
    ),
    'model_type': Option((str,), meaning='Name of the model, which is the stage of a training or the kind of a test.'),
    'num_gpu': Option((int, str), least=0, meaning='Number of GPUs, 0 for the CPU, or auto for all that there are.'),
    'datasets': Option((dict,), meaning='Data sets by their phase: train, val or test, also with a suffix (val_2).'),
    'path': Option((dict,), meaning='Files that the run begins with.'),
    'scale': Option(
        (int,), None, least=1, meaning="Factor between the sides of a pair's photos, which BasicSR's pairs need: 1.",
    ),
    'manual_seed': Option(
        (int, NoneType), None, least=0, most=2**31 - 1,
        meaning='Seed of all random numbers; ~ draws one, which the log tells.',
    ),
    'dist_params': Option((dict, NoneType), None, meaning="Arguments of BasicSR's init_dist for slurm."),
    'find_unused_parameters': Option(
        (bool,), False, meaning='Whether distributed training looks for weights that a step does not use.',
    ),
    'val': Option((dict, NoneType), None, meaning='How the run validates or tests.'),
    'train': Option((dict, NoneType), None, meaning='How the network is trained.'),
    'logger': Option((dict, NoneType), None, meaning='What a training tells, and how often.'),
    'plugin': Option((str,), None, meaning="Line by which BasicSR's own scripts load basis_blur."),
}  # fmt: skip
DATASET = {
    'name': Option((str,), meaning='Name of the data set in the log and in the folders of pictures.'),
    'type': Option((str,), meaning='Name of the class of the data set.'),
    'phase': Option((str,), None, meaning='Phase, which BasicSR derives from the name of the section.'),
    'scale': Option((int,), None, least=1, meaning='The same as "scale" at the top level.'),
    'num_worker_per_gpu': Option(
        (int,), None, least=0, most=1024, meaning='Number of processes that prepare samples, of each GPU.',
    ),
    'batch_size_per_gpu': Option((int,), None, least=1, most=10**6, meaning='Number of samples in a batch of a GPU.'),
    'dataset_enlarge_ratio': Option(
        (float,), 1, least=1e-6, most=10**9, meaning='How often an epoch goes through the data set.',
    ),
    'prefetch_mode': Option(
        (str, NoneType), None, choices=('cpu', 'cuda'), meaning='Where the next batch is prepared; ~: nowhere.',
    ),
    'num_prefetch_queue': Option((int,), 1, least=1, meaning='Number of batches prepared with "prefetch_mode: cpu".'),
    'pin_memory': Option((bool,), False, meaning='Whether batches lie in pinned memory, from which GPUs copy faster.'),
    'persistent_workers': Option((bool,), False, meaning='Whether the processes stay from one epoch to the next.'),
}  # fmt: skip
NEEDED_IN_TRAINING = ('num_worker_per_gpu', 'batch_size_per_gpu')  # keys of DATASET
TRAIN = {
    'total_iter': Option(
        (float,), least=1, most=10**12, whole=True, meaning='Number of iterations of the whole training.',
    ),
    'warmup_iter': Option(
        (int,), -1, least=-1, meaning='Number of iterations in which the learning rate rises; -1 for none.',
    ),
}  # fmt: skip
VAL = {
    'val_freq': Option((float,), None, least=1, whole=True, meaning='Number of iterations between two validations.'),
    'save_img': Option((bool,), meaning='Whether pictures are written.'),
    'suffix': Option((str, NoneType), None, meaning="End of the names of a test's pictures; ~ takes the run's name."),
    'pbar': Option((bool,), True, meaning='Whether a progress bar is shown.'),
}
LOGGER = {
    'print_freq': Option((int,), least=1, meaning='Number of iterations between two lines of the log.'),
    'save_checkpoint_freq': Option(
        (float,), least=1, whole=True, meaning='Number of iterations between two checkpoints.',
    ),
    'use_tb_logger': Option((bool,), False, meaning='Whether curves and pictures go to TensorBoard, which it needs.'),
    'wandb': Option(
        (dict, NoneType), None, meaning="Whether Weights & Biases shows what TensorBoard is given.",
        group={
            'project': Option((str, NoneType), None, meaning='Name of the project there; ~ switches it off.'),
            'resume_id': Option((str, NoneType), None, meaning='Identifier of the run there that is continued.'),
        },
    ),
}  # fmt: skip
PATH = {
    'resume_state': Option(
        (str, NoneType), None, is_path=True, meaning='Training state to go on from, a file ITERATION.state.',
    ),
    'ignore_resume_networks': Option(
        (list, str, NoneType), None, meaning='Networks that a resumed training does not take from the run.',
    ),
}  # fmt: skip
# Keys of `path` for each network; {network} is its key and {label} the last part of that.
PATH_OF_NETWORK = {
    'pretrain_{network}': Option(
        (str, NoneType), None, is_path=True, meaning='Weights that the network begins with, a file.',
    ),
    'param_key_{label}': Option(
        (str, NoneType), 'params', meaning='Which weights of that file: params, or params_ema, the averaged ones.',
    ),
    'strict_load_{label}': Option(
        (bool,), True, meaning='Whether every weight must be there and fit; if not, those that fit are loaded.',
    ),
}  # fmt: skip
# What BasicSR's own data sets of photos read beside DATASET.
_PHOTOS = {
    'dataroot_gt': Option((str,), is_path=True, meaning='Sharp photos, a folder or an LMDB.'),
    'dataroot_lq': Option((str,), is_path=True, meaning='Blurred photos, a folder or an LMDB.'),
    'io_backend': Option((dict,), meaning='{type: disk} for folders or {type: lmdb}.'),
    'meta_info_file': Option(
        (str, NoneType), None, is_path=True, meaning='Text file that names the photos, one a line; ~ takes all.',
    ),
    'filename_tmpl': Option(
        (str,), '{}', meaning='Name of a blurred photo; {} stands for the name of the sharp one, without suffix.',
    ),
    'gt_size': Option((int,), None, least=1, meaning='Side of the windows that a training cuts, pixels.'),
    'use_hflip': Option((bool,), True, meaning='Whether a training mirrors windows at random.'),
    'use_rot': Option((bool,), True, meaning='Whether a training turns windows at random.'),
    'color': Option((str, NoneType), None, choices=('y',), meaning='y for luminance alone; ~ for colour.'),
    'mean': Option((list, NoneType), None, meaning='Mean of each channel, which is subtracted.'),
    'std': Option((list, NoneType), None, meaning='Spread of each channel, by which it is divided.'),
    'gamma': Option(
        (float,), GAMMA, least=0.1, most=10, meaning='Exponent of the photos, light = photo ** gamma, for our models.',
    ),
}  # fmt: skip
NEEDED_OF_PAIRS = ('gt_size', 'use_hflip', 'use_rot')  # keys that a training on pairs must give
PHOTO_DATASETS = {
    'PairedImageDataset': _PHOTOS,
    'SingleImageDataset': {
        key: _PHOTOS[key] for key in ('dataroot_lq', 'io_backend', 'meta_info_file', 'color', 'mean', 'std', 'gamma')
    },
}
BACKENDS = ('disk', 'lmdb', 'memcached')  # types of BasicSR's io_backend
# Keys that BasicSR's reader adds to what the file says.
ADDED = ('dist', 'rank', 'world_size', 'auto_resume', 'is_train', 'root_path')
ADDED_PATHS = ('experiments_root', 'results_root', 'models', 'training_states', 'log', 'visualization')
# Which scores of a metric are better ones; BasicSR takes any other word for "lower".
BETTER = Option((str,), 'higher', choices=('higher', 'lower'))
# What a metric is handed beside its options, and what `calculate_metric` and BasicSR's models read of them.
METRIC_IS_GIVEN = ('img', 'img2', 'better')
METRIC_IS_IGNORED = ('crop_border', 'test_y_channel')
