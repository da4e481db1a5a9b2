"""Where a fine-tuning runs: in this process, in several on this machine, or on a cluster."""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import DictConfig, OmegaConf

from slmsam2.errors import ConfigurationError
from slmsam2.paper.configuration import device_of
from slmsam2.paper.finetuning import FineTuning
from slmsam2.training.workers import Workers

logger = logging.getLogger(__name__)

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
LOCALHOST = "127.0.0.1"


def run_here(config: DictConfig, model_dir: Path | None = None) -> None:
    """Fine-tune in this process, alone or as one of those that torchrun started."""
    workers = Workers.join(device_of(config))
    try:
        FineTuning(config, workers, model_dir).run()
    finally:
        workers.leave()


def started_by_torchrun() -> bool:
    """Whether this is one of torchrun's processes."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def become_processes(command: Sequence[str], count: int) -> NoReturn:
    """Go on as torchrun, with a Python script in ``count`` processes of this machine that train together."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    os.execv(sys.executable, [*launcher, *command])


class ClusterJob:
    """A fine-tuning as one task of a submitit job; submitted again when it was preempted, it goes on.

    Args:
        config: as composed.
        model_dir: see :func:`slmsam2.modeling.model_directory`.
        port: where the first process listens for the others.
    """

    def __init__(self, config: DictConfig, model_dir: Path | None, port: int):
        self._config: Any = OmegaConf.to_container(config)
        self._model_dir, self._port = model_dir, port

    def __call__(self) -> str:
        """Train; returns the folder of the run."""
        import submitit

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        job = submitit.JobEnvironment()
        hosts = job.hostnames
        os.environ.update(
            MASTER_ADDR=hosts[0] if len(hosts) > 1 else LOCALHOST,
            MASTER_PORT=str(self._port),
            RANK=str(job.global_rank),
            LOCAL_RANK=str(job.local_rank),
            WORLD_SIZE=str(job.num_tasks),
        )
        config = OmegaConf.create(self._config)
        run_here(config, self._model_dir)
        return str(config.launcher.experiment_log_dir)

    def checkpoint(self) -> Any:
        """What submitit submits anew after a preemption or timeout."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def submit(config: DictConfig, model_dir: Path | None = None) -> Any:
    """Hand the fine-tuning to a cluster.

    Returns:
        The submitit job.

    Raises:
        ConfigurationError: submitit is not installed, or there is no such cluster here.
    """
    try:
        import submitit
    except ImportError as error:
        raise ConfigurationError("--use-cluster needs submitit: pip install submitit.") from error
    settings, launcher = config.submitit, config.launcher
    # the tasks of a job are new processes, which have to find this package, installed or not
    paths = [str(PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    try:
        executor = submitit.AutoExecutor(
            folder=str(Path(launcher.experiment_log_dir) / "submitit"), cluster=settings.cluster
        )
        executor.update_parameters(
            name=settings.name,
            nodes=launcher.num_nodes,
            tasks_per_node=launcher.gpus_per_node,
            cpus_per_task=settings.cpus_per_task,
            timeout_min=round(60 * settings.timeout_hour),
            **_gpus(config),
            **_slurm(settings),
        )
        job = executor.submit(ClusterJob(config, model_dir, random.randint(*settings.port_range)))
    except (RuntimeError, ValueError, FileNotFoundError) as error:
        sentence = str(error).splitlines()[0]
        raise ConfigurationError(
            f"The cluster {settings.cluster!r} does not take the job: {sentence}. See the section submitit of the "
            "configuration; submitit.cluster=local runs it here."
        ) from error
    logger.info("job %s submitted; its output is in %s", job.job_id, job.paths.folder)
    return job


def _gpus(config: DictConfig) -> dict[str, int]:
    wanted = config.trainer.accelerator != "cpu" and (
        config.submitit.cluster != "local" or device_of(config) == "cuda"
    )
    return {"gpus_per_node": config.launcher.gpus_per_node} if wanted else {}


def _slurm(settings: DictConfig) -> dict[str, Any]:
    keys = ("partition", "account", "qos")
    return {f"slurm_{key}": settings[key] for key in keys if settings[key] is not None}
