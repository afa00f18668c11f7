# Photos of ADE20K, blurred object by object [C21, Alg. 1]; see options/train_basis.yml for how they are prepared.
_base_ = ['loaders.py']

_common = dict(
    type='SyntheticBlurDataset',
    io_backend=dict(type='lmdb'),
    kernel_size=33,
    patch_size=256,
)
train_dataloader = dict(
    num_workers=6,
    batch_size=8,
    dataset=dict(
        phase='train',
        dataroot_gt='datasets/ade20k/photos.lmdb',
        dataroot_masks='datasets/ade20k/masks.lmdb',
        dataroot_kernels='datasets/kernels_33.lmdb',
        synthesis='device',
        **_common,
    ),
)
val_dataloader = dict(
    num_workers=2,
    batch_size=1,
    dataset=dict(
        phase='val',
        dataroot_gt='datasets/ade20k_val/photos.lmdb',
        dataroot_masks='datasets/ade20k_val/masks.lmdb',
        dataroot_kernels='datasets/kernels_33_val.lmdb',
        samples_per_epoch=100,
        seed=0,
        **_common,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='ReblurPSNR'), dict(type='KernelErrors')]
test_evaluator = val_evaluator
