"""What this machine has, for a bug report and for choosing a recipe."""

import os
import platform
import shutil

import psutil
import torch

from kapoc.default_model import cache_folder
from kapoc.models import best_device, package_versions
from kapoc.products import onednn_is_faster
from kapoc.recipe import TrainSettings
from kapoc.training.train import precision_on


def examine() -> dict[str, str]:
    """Findings by name, in words; memory and disk in GiB."""
    device = best_device()
    cache = cache_folder()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    is_writable = existing.is_dir() and os.access(existing, os.W_OK)
    memory = psutil.virtual_memory()
    return {
        "python": platform.python_version(),
        **package_versions(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "trains in": precision_on(device, TrainSettings()),
        "multiplies by": "oneDNN" if device.type == "cpu" and onednn_is_faster() else "torch's own choice",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} free",
        "model cache": f"{cache} ({'writable' if is_writable else 'NOT writable: set KAPOC_HOME'})",
        "disk": f"{shutil.disk_usage(existing).free / 2**30:.1f} GiB free",
    }
