# Fine-tune NAFNet by blurring its result again [C21], on GoPro.
#
# Blurring to deblur [C21, Sec. 7.3]: fine-tunes NAFNet with the forward model of a frozen BasisKPN. The mmengine twin
# of options/train_blur_to_deblur_nafnet.yml; nobody has run these 50,000 iterations. Before: kpn_b25k33_ade20k.py and
# nafnet_w64_gopro.py.
_base_ = ['nafnet_w64_gopro.py']

model = dict(
    type='BlurToDeblurModel',
    pretrained='work_dirs/nafnet_w64_gopro/models/net_g_400000.pth',
    blur='work_dirs/kpn_b25k33_ade20k/models/net_g_883200.pth',
    consistency=dict(type='ConsistencyLoss', loss_weight=1.0, gamma=2.2),
    pixel=dict(_delete_=True, type='L1Loss'),  # None: no sharp photo is read
)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = dict(T_max=50_000)
train_cfg = dict(max_iters=50_000)
