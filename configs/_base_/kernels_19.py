# Camera shakes for the flow: basis-blur prep-kernels -o datasets/flow_kernels.lmdb -n 250000 --kernel-size 19
_base_ = ['loaders.py']

_kernels = dict(
    type='KernelDataset', dataroot='datasets/flow_kernels.lmdb', io_backend=dict(type='lmdb'), hold_out=2000
)
train_dataloader = dict(
    num_workers=4,
    batch_size=256,
    dataset=dict(phase='train', **_kernels),
)
val_dataloader = dict(
    num_workers=1,
    batch_size=256,
    dataset=dict(phase='val', **_kernels),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='BitsPerDimension')]
test_evaluator = val_evaluator
