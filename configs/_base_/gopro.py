# Pairs of GoPro, prepared by basis-blur prep-lmdb; photos of one name are a pair.
_base_ = ['loaders.py']

_photos = 'datasets/gopro'
train_dataloader = dict(
    num_workers=8,
    batch_size=8,
    dataset=dict(
        type='PhotoPairDataset',
        dataroot_lq=f'{_photos}/train/blur/photos.lmdb',
        dataroot_gt=f'{_photos}/train/sharp/photos.lmdb',
        pipeline=[
            dict(type='LoadPhotoPair'),
            dict(type='CropPhotoPair', size=256),
            dict(type='TurnPhotoPair'),
            dict(type='PackPhotoPair'),
        ],
    ),
)
val_dataloader = dict(
    num_workers=2,
    batch_size=1,
    dataset=dict(
        type='PhotoPairDataset',
        dataroot_lq=f'{_photos}/test/blur/photos.lmdb',
        dataroot_gt=f'{_photos}/test/sharp/photos.lmdb',
        pipeline=[dict(type='LoadPhotoPair'), dict(type='PackPhotoPair')],
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='PhotoPSNR'), dict(type='PhotoSSIM')]
test_evaluator = val_evaluator
