# Blurred photos and guesses of the sharp ones, prepared by basis-blur prep-guesses.
_base_ = ['loaders.py']

train_dataloader = dict(
    num_workers=1,
    batch_size=8,
    dataset=dict(
        type='GuessedPhotoDataset',
        phase='train',
        dataroot='datasets/guesses/train',
        patch_size=224,
        kernel_size=19,
        least_trust=0.05,
        samples_per_epoch=1_000_000,  # one long epoch
    ),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    batch_size=1,
    dataset=dict(type='GuessedPhotoDataset', phase='val', dataroot='datasets/guesses/val'),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='PhotoPSNR'), dict(type='PhotoSSIM')]
test_evaluator = val_evaluator
