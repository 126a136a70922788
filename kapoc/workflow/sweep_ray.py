"""The jobs of a sweep given to Ray: to this machine by default, to a cluster by address."""

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kapoc.errors import DataError, first_line
from kapoc.workflow.sweep_file import Sweep
from kapoc.workflow.sweep_run import Job, Report, Runner, perform


def refuse_missing_packages() -> None:
    """Find out before the work, not after it, that the package of the extra `sweep` is missing.

    Raises:
        DataError: it is, and how to install it.
    """
    if find_spec("ray") is None:
        raise DataError("kapoc sweep needs ray; install with: pip install 'kapoc[sweep]'")


@contextmanager
def ray_runner(sweep: Sweep, address: str | None = None) -> Iterator[Runner]:
    """A runner that gives each job to a fresh process of a Ray cluster: of one on this machine, or of one by address.

    Every node of a cluster needs kapoc, and sees the folder of the sweep and all named files by the same paths.

    Raises:
        DataError: Ray is not installed, no cluster answers, or no node has what a trial is to get.
    """
    refuse_missing_packages()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # by default trials starve beside anything else
    import ray

    if address is not None:
        _refuse_silent(address)
    local = {"include_dashboard": False, "object_store_memory": 100 * 2**20} if address is None else {}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, first_line(error)) from None
    try:
        cpus, gpus = trial_resources(sweep, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, max_calls=1)(_in_worker)

        def run(jobs: Sequence[Job]) -> Iterator[Report]:
            waiting: dict[Any, Job] = {task.remote(job, Path.cwd(), gpus > 0): job for job in jobs}
            while waiting:
                [ended], _ = ray.wait(list(waiting), num_returns=1)
                job = waiting.pop(ended)
                try:
                    yield ray.get(ended)
                except ray.exceptions.RayError as error:
                    yield Report(job.name, error=f"the worker was lost: {first_line(_cause(error))}")

        yield run
    finally:
        ray.shutdown()


def _cause(error: Exception) -> Exception:
    """What went wrong in a worker, where Ray says it, without Ray's own heading of process and host."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else error


def _refuse_silent(address: str) -> None:
    """Ray itself would ask for more than a minute whether somebody is there."""
    host, colon, port = address.rpartition(":")
    if colon and "/" not in address and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except OSError as error:
            raise _no_cluster(address, error.strerror or str(error)) from None


def _no_cluster(address: str | None, why: str) -> DataError:
    why = why.rstrip(".")
    if address is None:
        return DataError(f"Ray cannot be started on this machine ({why}); see its logs in /tmp/ray/session_latest/logs")
    fix = "start one with `ray start --head`, and set RAY_AUTH_MODE=token where it asks for a token"
    return DataError(f"--address {address}: no Ray cluster answers ({why}); {fix}")


def trial_resources(sweep: Sweep, nodes: Iterable[dict[str, float]]) -> tuple[float, float]:
    """Cores and GPUs of a trial: what the file says, or one GPU and its share of a node's cores, or all cores.

    Raises:
        DataError: no node has as much.
    """
    workers = [node for node in nodes if node.get("CPU", 0) >= 1]
    if sweep.gpus_per_trial != 0:
        workers = [node for node in workers if node.get("GPU", 0) >= 1] or workers
    if not workers:
        raise DataError("the Ray cluster has no CPU to give; start a node with `ray start --address ...`")
    gpus = sweep.gpus_per_trial
    if gpus is None:
        gpus = float(min(node.get("GPU", 0) for node in workers) >= 1)
    shares = [max(1.0, node["CPU"] // max(1.0, node.get("GPU", 0) / gpus if gpus else 1.0)) for node in workers]
    cpus = float(sweep.cpus_per_trial or min(shares))
    if not any(node["CPU"] >= cpus and node.get("GPU", 0) >= gpus for node in workers):
        raise DataError(
            f"cpus_per_trial, gpus_per_trial: no machine has {cpus:g} cores and {gpus:g} GPUs; "
            f"the largest machine has {max(node['CPU'] for node in workers):g} cores and "
            f"{max(node.get('GPU', 0) for node in workers):g} GPUs"
        )
    return cpus, gpus


def _in_worker(job: Job, folder: Path, with_gpu: bool) -> Report:
    try:
        os.chdir(folder)  # files are named as they were typed
    except OSError as error:
        why = f"{socket.gethostname()} does not see {folder} ({error.strerror}); mount it there, too"
        return Report(job.name, error=why)
    if not with_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves all of them to a task that asked for none
    return perform(job)
