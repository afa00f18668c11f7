# The few photos of `make demo` and the kernels of options/train_kernel_flow_quick.yml, for the quick configs.
_base_ = ['loaders.py']

_common = dict(type='SyntheticBlurDataset', io_backend=dict(type='lmdb'), kernel_size=19, illumination=[0.8, 1.2])
train_dataloader = dict(
    num_workers=1,
    batch_size=4,
    dataset=dict(
        phase='train',
        dataroot_gt='datasets/demo/train/photos.lmdb',
        dataroot_kernels='datasets/demo/flow_kernels.lmdb',
        patch_size=64,
        noise_std=[0.0, 0.01],
        samples_per_epoch=100_000,  # one long epoch: each sample is drawn again
        **_common,
    ),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    batch_size=1,
    dataset=dict(
        phase='val',
        dataroot_gt='datasets/demo/val/photos.lmdb',
        patch_size=160,
        noise_std=[0.005, 0.005],
        samples_per_epoch=8,
        seed=0,
        **_common,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='PhotoPSNR'), dict(type='PhotoSSIM')]
test_evaluator = val_evaluator
