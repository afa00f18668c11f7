"""The text of a small option file, of a model of BasicSR, which can be read and checked anywhere."""

FILE = """
name: a_run
model_type: SRModel
num_gpu: 0
manual_seed: 0
datasets: {}
network_g: {type: SRVGGNetCompact}
path: {}
train: {optim_g: {lr: 1}}
logger: {}
"""
