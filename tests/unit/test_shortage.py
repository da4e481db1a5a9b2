"""Memory that runs short: how it is told from other errors, what is tried, what a user is told."""

import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from slmsam2.engine import Workspace
from slmsam2.errors import MemoryShortageError, TooLargeError, VolumeError
from slmsam2.server.running import shortage
from slmsam2.server.running.shortage import is_shortage, room_for, with_less

pytestmark = pytest.mark.unit

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def filled(feature_bytes=1000):
    workspace = Workspace()
    workspace.features.put("slice", "features", feature_bytes)
    return workspace


def failing(*errors):
    """Work that raises these one after the other, and then says which workspace it got."""
    left = list(errors)

    def work(workspace):
        if left:
            raise left.pop(0)
        return workspace

    return work


def test_shortages_are_told_from_other_errors():
    by_reader = VolumeError("too large for the memory")
    by_reader.__cause__ = MemoryError()
    for error in (CUDA, MemoryError(), by_reader, OSError(12, "Cannot allocate memory")):
        assert is_shortage(error)
    for error in (RuntimeError("size mismatch"), OSError(28, "No space left"), VolumeError("damaged"), None):
        assert not is_shortage(error)


def test_a_second_try_keeps_nothing_and_has_room():
    workspace = filled()
    used = with_less(failing(CUDA), workspace)
    assert (used.features.max_bytes, used.passes.max_bytes) == (0, 0)
    assert (len(workspace.features), workspace.features.bytes) == (0, 0)


def test_without_a_shortage_all_is_kept():
    workspace = filled()
    assert with_less(failing(), workspace) is workspace
    with pytest.raises(RuntimeError, match="size mismatch"):
        with_less(failing(RuntimeError("size mismatch")), workspace)
    assert workspace.features.bytes == 1000


def test_a_second_shortage_is_refused():
    with pytest.raises(MemoryShortageError, match="memory does not suffice"):
        with_less(failing(CUDA, MemoryError()), filled())


def test_a_volume_that_will_not_fit_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(shortage, "available", lambda: 800)
    kept = filled()
    with room_for(100, kept):
        assert kept.features.bytes == 1000
    with pytest.raises(TooLargeError, match="takes at least"), room_for(101, kept):
        pass
    assert kept.features.bytes == 0


def test_volumes_that_are_read_at_the_same_time_do_not_count_on_the_same_memory(monkeypatch):
    """800 bytes are free; each volume asks for 480 before it is read and takes 240, so the third does not fit."""
    taken, reading, most = [], [], []
    monkeypatch.setattr(shortage, "available", lambda: 800 - sum(taken))

    def read(_):
        try:
            with room_for(60):
                reading.append(1)
                most.append(len(reading))
                time.sleep(0.05)
                taken.append(240)
                reading.pop()
            return True
        except TooLargeError:
            return False

    with ThreadPoolExecutor(4) as pool:
        fitted = list(pool.map(read, range(4)))
    assert (sum(fitted), max(most)) == (2, 1)


def test_room_is_given_back_when_reading_fails(monkeypatch):
    monkeypatch.setattr(shortage, "available", lambda: 800)
    for _ in range(3):
        with pytest.raises(VolumeError, match="damaged"), room_for(100):
            raise VolumeError("damaged")


def test_what_a_control_group_leaves(monkeypatch, tmp_path):
    for group, most, used, inactive in ((tmp_path, "max", 9, 0), (tmp_path / "service", "1000", 700, 200)):
        group.mkdir(exist_ok=True)
        (group / "memory.max").write_text(f"{most}\n")
        (group / "memory.current").write_text(f"{used}\n")
        (group / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")
    monkeypatch.setattr(shortage, "CGROUPS", tmp_path)
    monkeypatch.setattr(shortage, "_own_group", lambda: "/service/of/this")
    assert shortage.available() == 500


def test_real_shortages():
    """In a process whose address space is bounded: PyTorch, numpy and ITK fail, the second try has room."""
    subprocess.run([sys.executable, "-c", textwrap.dedent(BOUNDED)], check=True, timeout=120)


BOUNDED = """
    import resource

    import numpy as np
    import psutil
    import SimpleITK as sitk
    import torch

    from slmsam2.engine import Workspace
    from slmsam2.errors import MemoryShortageError
    from slmsam2.server.running.shortage import available, with_less

    MB = 2**20
    torch.zeros(2 * MB)  # what is made once is made
    workspace = Workspace()
    workspace.features.put("slice", torch.zeros(100 * MB), 400 * MB)  # float32
    bound = psutil.Process().memory_info().vms + 200 * MB
    resource.setrlimit(resource.RLIMIT_AS, (bound, resource.RLIM_INFINITY))
    assert 150 * MB < available() <= 200 * MB

    makers = (
        lambda size: torch.zeros(size, dtype=torch.uint8),
        lambda size: np.ones(size, np.uint8),
        lambda size: sitk.Image([1024, 1024, size // MB], sitk.sitkUInt8),
    )
    for make in makers:
        try:
            with_less(lambda _: make(2000 * MB), Workspace())
        except MemoryShortageError:
            pass
        else:
            raise SystemExit("2 GB were found")
    assert workspace.features.bytes == 400 * MB
    assert len(with_less(lambda _: torch.ones(300 * MB, dtype=torch.uint8), workspace)) == 300 * MB
    assert workspace.features.bytes == 0
"""
