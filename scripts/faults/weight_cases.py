# ruff: noqa: E501  A case is read best as a line.
"""Weights that would run code, are damaged, or are of another network."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case_parts import CANARY, RUN, Case, Good, Make, cases, command
from option_cases import blurs, trains
from small_files import flipped, write


class Hostile:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function: Callable, *arguments: Any):
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def safetensors_file(tensors: dict[str, tuple[str, list[int], bytes]], metadata: dict[str, str] | None = None) -> bytes:
    """Return a safetensors file of tensors given as (dtype, shape, bytes)."""
    header, body = ({'__metadata__': metadata} if metadata else {}), b''
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {'dtype': dtype, 'shape': shape, 'data_offsets': [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + body


def uses(make: Callable[[Path, Good], Path]) -> Make:
    """A deblur with the weights that `make` writes."""
    return lambda here, good: ['deblur', good.photo, '-o', here / 'out' / 'sharp.png', '--weights', make(here, good)]


def resumes(here: Path, good: Good) -> list[Any]:
    """A training that goes on from the state in the folder."""
    return trains(lambda opt, here: opt.replace('resume_state: ~', f'resume_state: {here}/1.state'))(here, good)


def hostile_weights() -> Iterator[Case]:
    """Weights with code in them."""
    title = 'weights: with code'

    def objects(here: Path) -> dict[str, Hostile]:
        canary = str(here / CANARY)
        return {
            'os.system': Hostile(os.system, f'touch {canary}'),
            'eval': Hostile(eval, f'open({canary!r}, "w")'),
            'exec': Hostile(exec, f'open({canary!r}, "w")'),
            'Popen': Hostile(subprocess.Popen, ['touch', canary]),
            'open': Hostile(open, canary, 'w'),
        }

    def raw(name: str, suffix: str, protocol: int) -> Callable[[Path, Good], Path]:
        return lambda here, good: write(f'w{suffix}', pickle.dumps({'params': objects(here)[name]}, protocol))(here)

    def zipped(name: str, **options: Any) -> Callable[[Path, Good], Path]:
        def maker(here: Path, good: Good) -> Path:
            torch.save(
                {'params': {'stem.conv.weight': torch.zeros(1), 'x': objects(here)[name]}}, here / 'w.pth', **options
            )
            return here / 'w.pth'

        return maker

    for name in ('os.system', 'eval', 'exec', 'Popen', 'open'):
        first = name == 'os.system'
        yield Case(title, f'{name}, torch zip', uses(zipped(name)), r'w\.pth.*code', short=first, whole=first)
    yield Case(title, 'torch before 1.6', uses(zipped('os.system', _use_new_zipfile_serialization=False)), r'w\.pth')
    for suffix in ('.pth', '.pt', '.safetensors', '.bin'):
        short = suffix == '.safetensors'
        yield Case(title, f'pickle as {suffix}', uses(raw('os.system', suffix, 2)), rf'w\{suffix}', short=short)
    for protocol in (0, 4):
        yield Case(title, f'pickle of protocol {protocol}', uses(raw('eval', '.pth', protocol)), r'w\.pth')

    def scripted(here: Path, good: Good) -> Path:
        torch.jit.save(torch.jit.trace(torch.nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2)), here / 'w.pt')
        return here / 'w.pt'

    def state(here: Path, good: Good) -> list[Any]:
        thing = {'epoch': 0, 'iter': 1, 'optimizers': objects(here)['os.system'], 'schedulers': []}
        torch.save(thing, here / '1.state')
        return resumes(here, good)

    def automatic(here: Path, good: Good) -> list[Any]:
        folder = here / 'experiments' / 'a_run' / 'training_states'
        folder.mkdir(parents=True)
        torch.save({'epoch': 0, 'iter': 1, 'x': objects(here)['os.system']}, folder / '1.state')
        return trains(lambda opt, here: opt, '--auto_resume')(here, good)

    def arrays(here: Path, good: Good) -> list[Any]:
        np.savez(here / 'f.npz', kernels=np.array([objects(here)['os.system']], object), mixing=np.ones((1, 1, 40, 48)))
        return ['deblur', good.photo, '-o', 'out.png', '--kernels', 'f.npz']

    def with_code(*words: str) -> Make:
        return lambda here, good: [words[0], zipped('os.system')(here, good), *words[1:]]

    def with_pickle_as_field(here: Path, good: Good) -> list[Any]:
        return ['deblur', good.photo, '-o', 'out.png', '--kernels', raw('os.system', '.npz', 2)(here, good)]

    run = {'may_leave': (RUN,), 'talks': True}
    yield from cases(title, {
        'TorchScript': (uses(scripted), r'w\.pt'),
        'training state': (state, r'1\.state', {**run, 'short': True}),
        'training state by --auto_resume': (automatic, r'1\.state', run),
        'pretrain_network_g': (blurs(weights=zipped('os.system')), r'w\.pth', run),
        'in export': (with_code('export', '-o', 'o.onnx'), r'w\.pth'),
        'in info': (with_code('info'), r'w\.pth'),
        'blur field of objects': (arrays, r'f\.npz', {'short': True}),
        'pickle as blur field': (with_pickle_as_field, r'w\.npz'),
    })  # fmt: skip


def broken_weights() -> Iterator[Case]:
    """Weights that are cut off, of the wrong network, or described wrongly."""
    title = 'weights: broken'

    def changed(change: Callable[[bytes], bytes], name: str = 'w.safetensors') -> Callable[[Path, Good], Path]:
        source = 'kpn' if name.endswith('safetensors') else 'checkpoint'
        return lambda here, good: write(name, change(getattr(good, source).read_bytes()))(here)

    for share in (0, 0.0005, 0.01, 0.5, 0.99):
        for name in ('w.safetensors', 'w.pth'):
            cut, half = changed(lambda data, share=share: data[: int(share * len(data))], name), share == 0.5
            says = name.replace('.', r'\.')
            yield Case(title, f'{name} at {share:.2%}', uses(cut), says, short=half, whole=half)
    may, left = (2, 0), ('out(/.*)?',)
    for seed in range(4):
        header = changed(lambda data, seed=seed: flipped(data, seed, 0, 1500))
        pth = changed(lambda data, seed=seed: flipped(data, seed), 'w.pth')
        yield Case(title, f'header of safetensors flipped, seed {seed}', uses(header), r'w\.safetensors', may, left)
        yield Case(title, f'pth flipped, seed {seed}', uses(pth), r'w\.pth', may, left)
    for name, length in (('huge', 2**48 - 1), ('larger than the file', 10**8), ('zero', 0)):
        header = changed(lambda data, length=length: struct.pack('<Q', length) + data[8:])
        yield Case(title, f'safetensors header length {name}', uses(header), r'w\.safetensors')

    def rewritten(change: Callable[[dict], None], facts: dict[str, str] | None = None) -> Callable[[Path, Good], Path]:
        def maker(here: Path, good: Good) -> Path:
            import safetensors
            import safetensors.torch

            with safetensors.safe_open(good.kpn, 'pt') as file:
                tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
            change(tensors)
            safetensors.torch.save_file(tensors, here / 'w.safetensors', {**metadata, **(facts or {})})
            return here / 'w.safetensors'

        return maker

    def first(tensors: dict, value: Callable) -> None:
        key = sorted(tensors)[0]
        tensors[key] = value(tensors[key])

    for name, change in {
        'NaN': lambda t: first(t, lambda v: v * float('nan')),
        'infinite': lambda t: first(t, lambda v: v + float('inf')),
        'wrong shape': lambda t: first(t, lambda v: v[None]),
        'empty tensor': lambda t: first(t, lambda v: v[:0]),
        'whole numbers': lambda t: first(t, lambda v: v.long()),
        'complex': lambda t: first(t, lambda v: v.to(torch.complex64)),
        'missing': lambda t: t.pop(sorted(t)[0]),
        'additional': lambda t: t.update(x=torch.zeros(1)),
        'nothing': lambda t: t.clear(),
    }.items():
        yield Case(title, f'weights {name}', uses(rewritten(change)), r'w\.safetensors', short=name == 'NaN')
    facts = {
        'arch': ('Nothing', 'NAFNet', '', '\n\x1b[2J', '__import__("os")'),
        'hyper_parameters': ('', '[]', '{}', '5', '{"num_feat": -1}', '{"num_feat": 1e9}', '{"num_feat": 100000000, "num_kernels": 2}', '{"num_feat": NaN}', '{"num_kernels": 99999999999999}', '{"kernel_size": 4}', '{"kernel_size": "33"}', '{"x": 1}', '{"norm": ["none"]}', '[' * 100000),
    }  # fmt: skip
    for key, wrongs in facts.items():
        for wrong in wrongs:
            make, short = uses(rewritten(lambda t: None, {key: wrong})), wrong == '{"num_feat": -1}'
            yield Case(title, f'{key} {wrong[:30]!r}', make, r'w\.safetensors', short=short)
    one = struct.pack('<f', 1)
    files = {
        'offsets beyond the end': safetensors_file({'stem.conv.weight': ('F32', [10**6], one)}),
        'shape of 2^60': safetensors_file({'stem.conv.weight': ('F32', [2**60], one)}),
        'negative shape': safetensors_file({'stem.conv.weight': ('F32', [-1], one)}),
        'unknown dtype': safetensors_file({'stem.conv.weight': ('F99', [1], one)}),
        'float8': safetensors_file({'mixing_head.tail.2.bias': ('F8_E4M3', [4], one)}),
        'foreign keys': safetensors_file({'conv1.weight': ('F32', [1], one)}),
        'header is a list': struct.pack('<Q', 2) + b'[]',
        'header is no JSON': struct.pack('<Q', 9) + b'{hello: x',
        'text': b'hello world, this is no network\n',
        'zeros': bytes(1000),
    }
    for name, data in files.items():
        make = uses(changed(lambda _, data=data: data))
        yield Case(title, name, make, r'w\.safetensors', short=name == 'shape of 2^60')

    def saved(thing: Any) -> Callable[[Path, Good], Path]:
        def maker(here: Path, good: Good) -> Path:
            torch.save(thing, here / 'w.pth')
            return here / 'w.pth'

        return maker

    for name, thing in {
        'a list': [torch.zeros(1)], 'a tensor': torch.zeros(1), 'a number': 5, 'nothing': {}, 'empty params': {'params': {}}, 'params of numbers': {'params': {'stem.conv.weight': 5}},
        'numbers as keys': {'params': {5: torch.zeros(1)}}, 'scalar tensors': {'params': {'stem.conv.weight': torch.zeros(())}}, 'hyper-parameters a list': {'params': {'stem.conv.weight': torch.zeros(1)}, 'hyper_parameters': [1]},
        'hyper-parameters of nothing': {'params': {'mixing_head.x': torch.zeros(1)}, 'hyper_parameters': {'type': 'Nothing'}}, 'sparse': {'params': {'mixing_head.x': torch.eye(3).to_sparse()}},
        'meta': {'params': {'mixing_head.x': torch.empty(3, device='meta')}}, 'training state': {'optimizers': [], 'schedulers': []},
        'huge hyper-parameters': {'params': {'mixing_head.x': torch.zeros(1)}, 'hyper_parameters': {'type': 'BasisKPN', 'num_feat': 10**12}},
        'a flow of one pixel': {'params': {'net.0.s_net.0.weight': torch.zeros(3, 2)}}, 'wrong flow': {'model_state': {'net.0.s_net.0.weight': torch.zeros(3)}},
    }.items():  # fmt: skip
        yield Case(title, name, uses(saved(thing)), r'w\.pth')

    def zip_bomb(here: Path, good: Good) -> Path:
        with zipfile.ZipFile(here / 'w.pth', 'w', zipfile.ZIP_DEFLATED) as archive:
            archive.writestr('w/data.pkl', bytes(300 * 10**6))
            archive.writestr('w/version', b'3')
        return here / 'w.pth'

    yield from cases(title, {
        'a folder': (uses(lambda here, good: here), ''),
        'weights of another network': (command('deblur {photo} -o out.png --weights {ufpnet}'), 'ufpnet'),
        'BasisKPN for --method ufpnet': (command('deblur {photo} -o out.png --method ufpnet --weights {kpn}'), 'kpn'),
        'zip bomb': (uses(zip_bomb), r'w\.pth'),
    })  # fmt: skip
    for name, thing in {
        'no state': {'params': {}},
        'a list': [1],
        'wrong optimisers': {'epoch': 0, 'iter': 1, 'optimizers': 5, 'schedulers': []},
        'iteration a text': {'epoch': 0, 'iter': 'x', 'optimizers': [], 'schedulers': []},
        'negative iteration': {'epoch': -1, 'iter': -7, 'optimizers': [], 'schedulers': []},
    }.items():

        def state(here: Path, good: Good, thing: Any = thing) -> list[Any]:
            torch.save(thing, here / '1.state')
            torch.save({'params': {}}, here / 'net_g_1.pth')
            return resumes(here, good)

        yield Case(title, f'training state: {name}', state, '', may_leave=(RUN,), talks=True)
    for name, make in {
        'cut off': changed(lambda data: data[:3000], 'w.pth'),
        'of another network': lambda here, good: good.ufpnet,
        'text': lambda here, good: write('w.pth', 'hello')(here),
    }.items():
        yield Case(
            title, f'pretrain_network_g {name}', blurs(weights=make), r'w\.pth|ufpnet', may_leave=(RUN,), talks=True
        )
