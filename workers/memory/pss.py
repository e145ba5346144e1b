"""What a process holds of memory: its proportional set size, as the kernel counts it.

A page that three processes share counts for a third in each, so the sum over a worker's processes is what the worker costs. RSS
would count what children share with their parent once for each of them.
"""

import os

import psutil

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
FILE_BYTES_MAX = 4096
"""Of `smaps_rollup`; it has some 700."""


def pss_bytes(pid: int) -> int | None:
    """The process's proportional set size in bytes; None when it is gone. Elsewhere than on Linux its resident set size.

    Takes a millisecond or so: the kernel walks the page tables. No lock of ours is held meanwhile, so a thread may call it in
    a process that forks.
    """
    try:
        found = rollup(pid)
    except FileNotFoundError:
        return _rss_bytes(pid)
    except OSError:
        return None
    return found.get("Pss")


def rollup(pid: int) -> dict[str, int]:
    """The kernel's summary of a process's memory, bytes by its names: ``Pss``, ``Pss_Anon``, ``Rss`` and others.

    Empty when the process ends meanwhile. Raises OSError: FileNotFoundError when it is gone or where there is no such summary.
    """
    descriptor = os.open(f"/proc/{pid}/smaps_rollup", os.O_RDONLY | os.O_CLOEXEC)
    try:
        lines = os.read(descriptor, FILE_BYTES_MAX).splitlines()[1:]
    except OSError:  # ended since it was opened
        return {}
    finally:
        os.close(descriptor)
    return {name.decode(): int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(b":") for line in lines)}


def resident_bytes(pid: int) -> int | None:
    """The process's resident set size in bytes, in some microseconds; None when it is gone."""
    try:
        descriptor = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return _rss_bytes(pid)
    except OSError:
        return None
    try:
        return int(os.read(descriptor, FILE_BYTES_MAX).split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return None
    finally:
        os.close(descriptor)


def _rss_bytes(pid: int) -> int | None:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
