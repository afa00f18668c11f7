# Train UFPNet, stage III [F23], on RealBlur-J.
#
# UFPNet on RealBlur-J, with the estimator of stage II: the mmengine twin of options/train_ufpnet_realblur.yml, with its
# numbers, deviations and expectations. Nobody has run these 1,600,000 iterations. Before: latent_w64k19_gopro.py.
_base_ = ['ufpnet_k19_gopro.py']

_train, _test = 'datasets/realblur_j/train', 'datasets/realblur_j/test'
model = dict(reblur=None)
train_dataloader = dict(
    dataset=dict(dataroot_lq=f'{_train}/blur/photos.lmdb', dataroot_gt=f'{_train}/sharp/photos.lmdb')
)
val_dataloader = dict(dataset=dict(dataroot_lq=f'{_test}/blur/photos.lmdb', dataroot_gt=f'{_test}/sharp/photos.lmdb'))
test_dataloader = val_dataloader
test_evaluator = [dict(type='PhotoPSNR'), dict(type='PhotoSSIM'), dict(type='RealBlurScore')]
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = dict(
    _delete_=True,
    type='CosineRestartLR',
    periods=[400_000] * 4,
    restart_weights=[1, 1, 1, 1],
    eta_min=1e-7,
    by_epoch=False,
)
train_cfg = dict(max_iters=1_600_000)
