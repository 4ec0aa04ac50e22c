"""What submitit calls of SLURM, as processes of this machine: `sbatch` begins an array's jobs, `srun` is one of them.

python slurm_stand_in.py sbatch FILE
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

PROGRAMS = ("sbatch", "srun", "sacct")
ARRAY = "4711"


def put_into(folder: Path) -> str:
    """Leave the programs in a folder; the PATH that finds them there first."""
    for name in PROGRAMS:
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" {name} "$@"\n')
        program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def sbatch(file: str) -> None:
    """Begin the jobs of the file's array, or one; `%A`, `%a`, `%j` and `%t` in names of logs are theirs."""
    array = re.search(r"^#SBATCH --array=0-(\d+)%\d+$", Path(file).read_text(), flags=re.MULTILINE)
    for task in range(int(array.group(1)) + 1 if array else 1):
        own = {"SLURM_JOB_ID": f"{int(ARRAY) + task}", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "here"}
        own |= {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
        if array:
            own |= {"SLURM_ARRAY_JOB_ID": ARRAY, "SLURM_ARRAY_TASK_ID": f"{task}"}
        subprocess.Popen(["bash", file], env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"Submitted batch job {ARRAY}")


def srun(*words: str) -> None:
    """Become the command, with its logs where the options before it say."""
    begin = next(at for at, word in enumerate(words) if "python" in word)
    options = dict(pairwise(words[:begin]))
    for stream, option in ((1, "--output"), (2, "--error")):
        place = options[option].replace("%t", "0").replace("%j", os.environ["SLURM_JOB_ID"])
        place = place.replace("%A", ARRAY).replace("%a", os.environ.get("SLURM_ARRAY_TASK_ID", ""))
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.execvp(words[begin], words[begin:])


def sacct(*_: str) -> None:
    """Say nothing of any job, as SLURM does at first."""
    print("JobID|State|NodeList")


if __name__ == "__main__":
    {"sbatch": sbatch, "srun": srun, "sacct": sacct}[sys.argv[1]](*sys.argv[2:])
