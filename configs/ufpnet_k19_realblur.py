# Train UFPNet, stage III [F23], on RealBlur-J.
#
# UFPNet on RealBlur-J, from the weights for GoPro: the mmengine twin of options/train_ufpnet_realblur.yml, with its
# numbers, deviations and expectations. Nobody has run these 200,000 iterations. Before: ufpnet_k19_gopro.py.
_base_ = ['ufpnet_k19_gopro.py']

_train, _test = 'datasets/realblur_j/train', 'datasets/realblur_j/test'
model = dict(pretrained='work_dirs/ufpnet_k19_gopro/models/net_g_400000.pth', pretrained_estimator=None)
train_dataloader = dict(
    dataset=dict(dataroot_lq=f'{_train}/blur/photos.lmdb', dataroot_gt=f'{_train}/sharp/photos.lmdb')
)
val_dataloader = dict(dataset=dict(dataroot_lq=f'{_test}/blur/photos.lmdb', dataroot_gt=f'{_test}/sharp/photos.lmdb'))
test_dataloader = val_dataloader
test_evaluator = [dict(type='PhotoPSNR'), dict(type='PhotoSSIM'), dict(type='RealBlurScore')]
optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = dict(T_max=200_000)
train_cfg = dict(max_iters=200_000)
