"""The files of deploy/: what an image would hold is there, and the Slurm scripts do what they say, with stand-ins for
the programs of a cluster that start processes on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.session.collections import write_collection, write_recipe

# As many tasks as there are nodes, all at once, each with its number; the worst status is the step's.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
started=()
for ((node = 0; node < SLURM_NNODES; node++)); do SLURM_NODEID=$node "$@" & started+=($!); done
worst=0
for one in "${started[@]}"; do wait "$one" || { status=$?; ((status > worst)) && worst=$status; }; done
exit "$worst"
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then printf '127.0.0.1\\n127.0.0.1\\n'; else echo "$@" >> asked; fi
"""
APPTAINER = """#!/bin/bash
[ "$1 $2" = "exec --nv" ] && shift 2 && echo "$@" >> images
exit "$STATUS"
"""


@pytest.fixture
def cluster(tmp_path: Path, root: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    programs = tmp_path / "programs"
    programs.mkdir()
    python = f'#!/bin/bash\nexec {sys.executable} "$@"\n'
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("apptainer", APPTAINER), ("python", python)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    def start(script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ, "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "CATEGORIZE_ROOT": str(root), **variables,
        }  # fmt: skip
        command = ["bash", str(root / "deploy/slurm" / script), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)

    return start


NODES = {"SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_ID": "4711", "SLURM_GPUS_ON_NODE": "1"}


def test_every_script_is_one_that_bash_can_read(root: Path) -> None:
    scripts = [root / "deploy/install.sh", *(root / "deploy/slurm").iterdir()]
    assert len(scripts) == 3
    for script in scripts:
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_both_images_hold_the_same_files_and_install_the_pinned_versions(root: Path) -> None:
    docker = (root / "deploy/Dockerfile").read_text()
    apptainer = (root / "deploy/categorize.def").read_text()
    copied = {name for line in re.findall(r"^COPY (.*) \S+$", docker, re.M) for name in line.split()}
    copied = {path.name for name in copied for path in root.glob(name)}
    files = set(re.findall(r"^    (\S+) /opt/categorize/$", apptainer, re.M))
    assert copied == files and all((root / name).exists() for name in files)
    assert {path.name for path in root.glob("run_*.py")} < files
    for text in (docker, apptainer):
        assert "bash deploy/install.sh" in text
    bases = {re.search(r"^ARG BASE=(\S+)", docker, re.M)[1], re.search(r"^From: (\S+)", apptainer, re.M)[1]}  # type: ignore[index]
    assert len(bases) == 1
    install = (root / "deploy/install.sh").read_text()
    assert install.count("-c constraints.txt") == install.count('pip" install') == 2
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.search(r"\.\[([^\]]*)\]", install)[1].split(",")) <= set(extras)  # type: ignore[index]


@pytest.mark.parametrize(("status", "requeued"), [("0", False), ("2", False), ("75", True), ("138", True)])
def test_a_job_that_was_told_to_stop_is_queued_again_and_no_other(
    cluster: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, status: str, requeued: bool
) -> None:
    done = cluster(
        "launch.sbatch", "run_sft.py", "mine.yaml", "a=b c", CATEGORIZE_IMAGE="x.sif", STATUS=status, **NODES
    )
    assert done.returncode == int(status)
    assert (tmp_path / "asked").exists() is requeued
    first, second = sorted((tmp_path / "images").read_text().splitlines())
    assert first.startswith("x.sif python -m categorize.launch --config_file ")
    assert "--num_machines 2 --num_processes 2 --machine_rank 0 --main_process_ip 127.0.0.1" in first
    assert "--machine_rank 1 " in second and second.endswith("/run_sft.py mine.yaml a=b c")


@pytest.mark.slow
def test_two_nodes_train_one_run_as_one_process_does(
    cluster: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, tiny: Callable[..., Path], root: Path
) -> None:
    write_collection(tmp_path / "rows.csv", 90)
    training = {"num_train_epochs": 1, "per_device_train_batch_size": 4}
    write_recipe(tmp_path / "mine.yaml", model={"name_or_path": str(tiny("bert"))}, training=training)
    done = cluster("launch.sbatch", "run_seqcls.py", "mine.yaml", "--resume", **NODES)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    alone = ["output_dir=outputs/alone", "training.per_device_train_batch_size=8"]
    subprocess.run(
        [sys.executable, str(root / "run_seqcls.py"), "mine.yaml", *alone],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}, check=True,
    )  # fmt: skip
    here, there = (tmp_path / "outputs" / name for name in ("mine", "alone"))
    manifests = [json.loads((run / "run.json").read_text(encoding="utf-8")) for run in (here, there)]
    assert [one["hardware"]["processes"] for one in manifests] == [2, 1]
    tables = [pq.read_table(run / "predictions/test.parquet") for run in (here, there)]
    assert tables[0]["predicted"].to_pylist() == tables[1]["predicted"].to_pylist()
    probabilities = [np.stack(table["probabilities"].to_numpy()) for table in tables]
    np.testing.assert_allclose(*probabilities, atol=1e-4)


@pytest.mark.slow
def test_the_tasks_of_an_array_label_every_row_once_and_a_second_start_finds_all_done(
    cluster: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, root: Path
) -> None:
    write_collection(tmp_path / "rows.csv", 90)
    write_recipe(tmp_path / "mine.yaml", model={"method": "tfidf"}, training=None)
    subprocess.run(
        [sys.executable, str(root / "run_seqcls.py"), "mine.yaml"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}, check=True,
    )  # fmt: skip
    (tmp_path / "new").mkdir()
    header, *lines = write_collection(tmp_path / "all.csv", 50).read_text(encoding="utf-8").splitlines()
    for i in range(3):
        (tmp_path / f"new/{i}.csv").write_text("\n".join([header, *lines[i::3]]), encoding="utf-8")
    write_recipe(
        tmp_path / "label.yaml",
        kind="label",
        data={"columns": {"id": "id", "text": "text"}},
        labels=None,
        training=None,
        labeling={"teacher": {"type": "run", "run": "outputs/mine"}, "shard_rows": 10},
    )

    def tasks() -> list[subprocess.CompletedProcess[str]]:
        array = {"SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "2"}
        arguments = ("label_array.sbatch", "label.yaml", "new", "outputs/labelled")
        return [cluster(*arguments, SLURM_ARRAY_TASK_ID=str(i), **array) for i in range(2)]

    for done in tasks():
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    table = pq.read_table(tmp_path / "outputs/labelled/labels")
    assert sorted(table["id"].to_pylist()) == sorted(line.split(",")[0] for line in lines)
    assert set(table["source"].to_pylist()) == {"outputs/mine"} or table["label"].null_count == 0
    again = tasks()
    assert [one.stdout.count("labelled before") for one in again] == [2, 1]
