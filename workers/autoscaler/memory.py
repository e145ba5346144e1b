"""How much memory is left to us: the host's, or less where a control group bounds us."""

from pathlib import Path

import psutil

from workers.memory.container import limited, nearest

CGROUPS = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """What processes could still take without swapping, or being killed by a container's limit."""
    host, container = int(psutil.virtual_memory().available), nearest(limited(CGROUPS))
    return min(host, container.limit - container.used) if container else host
