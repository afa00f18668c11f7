"""LMDB folders in BasicSR's layout: writing, which goes on where it stopped if it was killed, and reading.

A finished folder NAME.lmdb holds data.mdb, meta_info.txt (one line per entry, 'key.ext (h,w,c) level', in the order
of the keys) and basis_blur.json (the parameters it was prepared with). Until it is finished, everything lives in the
hidden folder .NAME.lmdb.partial beside it; the last step renames that folder.

Entries are committed in batches: first their meta_info lines (a small LMDB of their own), then their values, each
flushed to the disk. So each value that is there has its line, whenever the process was killed. At the end the lines
move to meta_info.txt; if that file is found in an unfinished folder, its lines are moved back.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import lmdb

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import atomic_path, hold_lock, make_folder, parse_json, remove_partials

META_FILE = 'meta_info.txt'  # name of the list of entries that BasicSR reads
PARAMETERS_FILE = 'basis_blur.json'  # name of the file with the parameters of the work, by which it is continued
LINES_FOLDER = 'lines'  # name of the folder in which the lines of that list are collected
LOCK_FILE = 'writer.lock'  # name of the file that is locked while a process writes
FIRST_MAP_SIZE = 2**26  # size of the map at the beginning, bytes; it grows as needed
LONGEST_KEY = 511  # longest key of an LMDB, bytes
BATCH_ENTRIES = 1000  # number of entries that are written at once
BATCH_BYTES = 2**24  # size of entries that are written at once, bytes


class LmdbWriter:
    """Fill an LMDB folder, or go on filling one that an earlier process left unfinished.

        with LmdbWriter('kernels.lmdb', {'kernel_size': 33, 'seed': 0}) as writer:
            if not writer.finished:
                for key in keys:
                    if key not in writer:
                        writer.put(key, value, '00000000.png (33,33,1) 1')
                writer.finish()

    Leaving the block without `finish` keeps what was put for the next writer of the same path and parameters.

    Args:
        path: the final folder; its name ends in '.lmdb', as BasicSR demands.
        parameters: values that the contents depend on, of types of JSON; they are kept in basis_blur.json.

    Raises:
        InputError: `path` does not end in '.lmdb', is a folder not written by this class, or it or its unfinished form
            was prepared with other parameters, or another process is writing it.
        OSError: the disk is full or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], parameters: Mapping[str, Any]):
        self.path = Path(path)
        if self.path.suffix != '.lmdb':
            raise InputError(f'{path} is not a name of an LMDB folder; BasicSR expects one that ends in ".lmdb".')
        self.parameters = json.loads(json.dumps(dict(parameters)))
        self.partial = self.path.with_name(f'.{self.path.name}.partial')
        self.finished = self.path.is_dir() and any(self.path.iterdir())
        self._unfinished: _Unfinished | None = None
        self._pending: dict[bytes, bytes] = {}
        self._pending_lines: dict[bytes, bytes] = {}
        self._pending_bytes = 0
        if self.finished:
            self._check_parameters(self.path)
            self._values: _Store = _open_for_reading(self.path)
        else:
            self._unfinished = self._open_partial()
            self._values = self._unfinished.values

    def _open_partial(self) -> _Unfinished:
        make_folder(self.partial)
        occupied = f'another process is preparing {self.path}; wait for it, or choose another name.'
        lock = hold_lock(self.partial / LOCK_FILE, occupied)
        if (self.partial / PARAMETERS_FILE).exists():
            self._check_parameters(self.partial)
        else:
            with atomic_path(self.partial / PARAMETERS_FILE) as file:
                file.write_text(json.dumps(self.parameters, indent=1) + '\n')
        lines = _GrowingStore(self.partial / LINES_FOLDER)
        values = _GrowingStore(self.partial)
        if (meta := self.partial / META_FILE).exists():
            lines.put_all({line.split(b'.')[0]: line for line in meta.read_bytes().splitlines()})
            meta.unlink()
        return _Unfinished(values, lines, lock)

    def _check_parameters(self, folder: Path) -> None:
        file = folder / PARAMETERS_FILE
        try:
            found = parse_json(file.read_bytes())
        except FileNotFoundError:
            raise InputError(
                f'{folder} exists but was not prepared by basis-blur (it has no {PARAMETERS_FILE}); '
                'choose another name or move it away.'
            ) from None
        except ValueError as error:
            raise InputError(f'{file} is damaged ({error}); delete {folder} and prepare it again.') from error
        if not isinstance(found, dict):
            raise InputError(
                f'{file} holds a {type(found).__name__}, expected parameters by name; delete {folder} and prepare it '
                'again.'
            )
        if found != self.parameters:
            names = [name for name in {**found, **self.parameters} if found.get(name) != self.parameters.get(name)]
            texts = [f'{name} {found.get(name)!r} (now {self.parameters.get(name)!r})' for name in names]
            state = 'finished' if folder == self.path else 'begun'
            raise InputError(
                f'{self.path} was {state} with {", ".join(texts)}; repeat those parameters, choose another name, '
                f'or delete {folder} to begin again.'
            )

    def __enter__(self) -> LmdbWriter:
        return self

    def __exit__(self, *reason: object) -> None:
        try:
            self.commit()
        finally:
            self.close()

    def __contains__(self, key: bytes) -> bool:
        return key in self._pending or self._values.get(key) is not None

    def __len__(self) -> int:
        """Return the number of committed entries."""
        return self._values.stat()['entries']

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, committed or not, or None."""
        return self._pending.get(key) or self._values.get(key)

    def keys(self) -> Iterator[bytes]:
        """Yield the committed keys in their order."""
        return self._values.keys()

    def put(self, key: bytes, value: bytes, line: str) -> None:
        """Add or replace an entry; committed when enough has gathered, or by `commit`.

        Args:
            key: ASCII, at most 511 bytes, without '.', where BasicSR would cut it.
            value: the encoded picture.
            line: its line of meta_info.txt, 'key.ext (h,w,c) level'.

        Raises:
            ValueError: the folder is finished, the key is too long, or the line does not belong to it.
            OSError: the disk is full or cannot be written.
        """
        self._to_write()
        if not 1 <= len(key) <= LONGEST_KEY:
            raise ValueError(f'the key {key!r} has {len(key)} bytes, expected 1 to {LONGEST_KEY}.')
        if line.split('.')[0].encode() != key or '\n' in line:
            raise ValueError(f'the meta_info line {line!r} does not begin with the key {key!r} and a dot.')
        self._pending[key] = value
        self._pending_lines[key] = line.encode()
        self._pending_bytes += len(value)
        if len(self._pending) >= BATCH_ENTRIES or self._pending_bytes >= BATCH_BYTES:
            self.commit()

    def discard(self, key: bytes) -> None:
        """Remove an entry, if it is there.

        Raises:
            ValueError: the folder is finished.
            OSError: the disk cannot be written.
        """
        self.commit()
        self._to_write().values.delete(key)

    def commit(self) -> None:
        """Write the entries that have gathered to the disk, all or none.

        Raises:
            OSError: the disk is full or cannot be written.
        """
        if self._pending:
            stores = self._to_write()
            stores.lines.put_all(self._pending_lines)
            stores.values.put_all(self._pending)
            self._pending, self._pending_lines, self._pending_bytes = {}, {}, 0

    def finish(self) -> None:
        """Write meta_info.txt and give the folder its final name; nothing can be put afterwards.

        Raises:
            ValueError: there is no entry.
            OSError: the disk is full or cannot be written.
        """
        if self.finished:
            return
        self.commit()
        if not len(self):
            raise ValueError(f'{self.path} has no entry; put at least one before finishing.')
        stores = self._to_write()
        with atomic_path(self.partial / META_FILE) as partial, open(partial, 'wb') as file:
            file.writelines(stores.lines[key] + b'\n' for key in self.keys())
        stores.values.close()
        stores.lines.close()
        shutil.rmtree(self.partial / LINES_FOLDER)
        remove_partials(self.partial)
        (self.partial / 'lock.mdb').unlink(missing_ok=True)
        (self.partial / LOCK_FILE).unlink(missing_ok=True)
        os.replace(self.partial, self.path)
        self.finished = True
        self._values = _open_for_reading(self.path)

    def close(self) -> None:
        """Close the files; entries that were not committed are forgotten."""
        self._values.close()
        if self._unfinished is not None:
            self._unfinished.close()

    def _to_write(self) -> _Unfinished:
        if self._unfinished is None or self.finished:
            raise ValueError(f'{self.path} is finished; nothing can be changed in it.')
        return self._unfinished


class Store(Protocol):
    """Values by key."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""


class LmdbReader:
    """Read a finished LMDB folder, from any number of processes.

    The files are opened at the first use in each process, so that a reader can be handed to loader workers.

    Args:
        path: a folder with data.mdb and meta_info.txt, of this module or of BasicSR.

    Raises:
        InputError: the folder or one of its files is missing, data.mdb is truncated or no LMDB, or its number of
            entries is not that of meta_info.txt.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._store: Store | None = None
        self._process: int | None = None
        if not self.path.is_dir():
            raise InputError(f'{path} is not a folder; expected an LMDB folder with data.mdb and {META_FILE}.')
        try:
            text = (self.path / META_FILE).read_text(encoding='utf-8')
        except FileNotFoundError:
            raise InputError(
                f'{path} has no {META_FILE}; prepare the LMDB with basis-blur or with BasicSR, both write it.'
            ) from None
        except UnicodeDecodeError as error:
            raise InputError(f'{self.path / META_FILE} is no text ({error}); prepare the LMDB again.') from error
        self.lines = text.splitlines()
        self.keys = [line.split('.')[0] for line in self.lines]
        store = _open_for_reading(self.path)
        entries = store.stat()['entries']
        store.close()
        if entries != len(self.keys):
            raise InputError(
                f'{path} holds {entries} entries, but its {META_FILE} lists {len(self.keys)}; prepare it again.'
            )

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, key: str) -> bytes:
        """Return the value of a key.

        Raises:
            InputError: there is no such key.
        """
        if self._store is None or self._process != os.getpid():
            self._store, self._process = self.open_store(), os.getpid()
        value = self._store.get(key.encode())
        if value is None:
            raise InputError(f'{self.path} has no entry "{key}", though its {META_FILE} lists it; prepare it again.')
        return value

    def open_store(self) -> Store:
        """Return what this process reads values from; a reader of another kind gives its own."""
        return _open_for_reading(self.path)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters with which the folder was prepared; empty where BasicSR made it."""
        file = self.path / PARAMETERS_FILE
        try:
            return parse_json(file.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise InputError(f'{file} is damaged ({error}); prepare the LMDB again.') from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_store': None, '_process': None}


class _Store:
    """One LMDB environment, with the few calls needed here."""

    def __init__(self, environment: lmdb.Environment, path: Path):
        self._environment = environment
        self._path = path

    def get(self, key: bytes) -> bytes | None:
        try:
            with self._environment.begin() as transaction:
                return transaction.get(key)
        except lmdb.Error as error:
            raise self._damage(error) from error

    def __getitem__(self, key: bytes) -> bytes:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def keys(self) -> Iterator[bytes]:
        try:
            with self._environment.begin() as transaction, transaction.cursor() as cursor:
                yield from cursor.iternext(keys=True, values=False)
        except lmdb.Error as error:
            raise self._damage(error) from error

    def _damage(self, error: lmdb.Error) -> InputError:
        return InputError(f'{self._path / "data.mdb"} is damaged ({error}); prepare it again or copy it again.')

    def stat(self) -> dict[str, int]:
        return self._environment.stat()

    def close(self) -> None:
        self._environment.close()


class _GrowingStore(_Store):
    """An LMDB environment for writing, whose map grows when it is full."""

    def __init__(self, path: Path):
        path.mkdir(exist_ok=True)
        size = path / 'data.mdb'
        map_size = max(FIRST_MAP_SIZE, 2 * size.stat().st_size if size.exists() else 0)
        try:
            environment = lmdb.open(str(path), map_size=map_size, readahead=False)
        except lmdb.Error as error:
            raise _write_error(path, error) from error
        _check_length(environment, size)
        super().__init__(environment, path)

    def put_all(self, entries: Mapping[bytes, bytes]) -> None:
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in entries.items():
                        transaction.put(key, value)
                return
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()['map_size'])
            except lmdb.Error as error:
                raise _write_error(self._path, error) from error

    def delete(self, key: bytes) -> None:
        try:
            with self._environment.begin(write=True) as transaction:
                transaction.delete(key)
        except lmdb.Error as error:
            raise _write_error(self._path, error) from error


class _Unfinished(NamedTuple):
    """The files of a folder that is being filled: its entries, their lines, and the lock where there are locks."""

    values: _GrowingStore
    lines: _GrowingStore
    lock: IO[bytes] | None

    def close(self) -> None:
        for part in self:
            if part is not None:
                part.close()


def _open_for_reading(path: Path) -> _Store:
    file = path / 'data.mdb'
    try:
        file.stat()
        environment = lmdb.open(str(path), readonly=True, lock=False, readahead=False, create=False, max_spare_txns=2)
    except (FileNotFoundError, lmdb.Error) as error:
        raise InputError(f'{path} cannot be read as an LMDB ({error}); prepare it again or copy it again.') from error
    _check_length(environment, file)
    return _Store(environment, path)


def _check_length(environment: lmdb.Environment, file: Path) -> None:
    """Raise InputError if the file is truncated: reading a page behind its end would kill the process (SIGBUS)."""
    size, needed = file.stat().st_size, (environment.info()['last_pgno'] + 1) * environment.stat()['psize']
    if size < needed:
        environment.close()
        raise InputError(
            f'{file} is truncated: it has {size} bytes, expected at least {needed}; prepare it again or copy it again.'
        )


def _write_error(path: Path, error: lmdb.Error) -> OSError:
    return OSError(f'{path} cannot be written ({error}); what was committed before is kept.')
