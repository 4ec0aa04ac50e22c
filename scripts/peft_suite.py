"""Run PEFT's own tests of custom models and of what tuners share with our configs: `make peft-suite`.

The tests are those of the installed release of PEFT, from its source on the package index; they lie in a cache, and
never in this repository.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "svft-bench" / "peft-suite"
TABLE = Path(__file__).parent.parent / "results" / "peft_suite.md"
TIME_LIMIT = 15 * 60
# What the tests import beyond PEFT's own needs; it lies in the cache too.
NEEDS = "parameterized==0.9.0"

# Our variants: their names in the suite's matrices, the configs' class, and its fields.
BANDED = {"pattern": "banded", "off_diag": 1, "oversized": "clip"}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "SVFT plain": ("SVFTConfig", {}),
    "SVFT banded": ("SVFTConfig", BANDED),
    "SVFT random": ("SVFTConfig", {"pattern": "random", "off_diag": 1, "oversized": "clip"}),
    "SVFT top_k": ("SVFTConfig", {"pattern": "top_k", "off_diag": 1, "oversized": "clip", "top_k_rule": "released"}),
    "SVFT gate": ("SVFTConfig", BANDED | {"gate": True}),
    "SVFT one path": ("SVFTConfig", BANDED | {"gate": True, "path": "token"}),
    "VectorFit": ("VectorFitConfig", {}),
}
# (model of the suite, fields).
PLACES: list[tuple[str, dict[str, Any]]] = [
    ("MLP", {"target_modules": "lin0"}),
    ("MLP", {"target_modules": ["lin0"]}),
    ("MLP", {"target_modules": ["lin0", "lin1"]}),
    ("MLP", {"target_modules": ["lin0"], "modules_to_save": ["lin1"]}),
    ("EmbConv1D", {"target_modules": ["conv1d"]}),
    ("Conv2d", {"target_modules": ["conv2d"]}),
    ("Conv2d", {"target_modules": ["conv2d", "lin0"]}),
    ("MlpUsingParameters", {"target_modules": [], "target_parameters": ["lin0.weight", "lin1.weight"]}),
]
# The tests of what tuners share, which are written for LoRA: LoRA's fields that ours lack are left out there, and what
# only LoRA adapts is linear.
SHARED_TESTS = "test_tuners_utils"
STANDS_FOR_LORA = """
import dataclasses
from svft_bench.tuners import KIND

def LoraConfig(**fields):
    return KIND(**{name: fields[name] for name in {f.name for f in dataclasses.fields(KIND)} & set(fields)})

def hub_online_once(model_id):
    pytest.skip("needs the hub")
"""
LINEAR = {"nn.Conv2d(3, 10, 3)": "nn.Linear(10, 10)", "emb0 = nn.Embedding": "emb0 = nn.Linear", ", r=16)": ")"}
LINEAR["emb1 = nn.Embedding"] = "emb1 = nn.Linear"
# Tests that nothing of ours is meant for: how LoRA's two numbers are given by layer, and what needs no config at all.
PASSED_OVER = "RankAndAlphaPattern or internals"

# Where another path or another order of sums rounds otherwise: within FSDP a layer takes another path than alone, and a
# log-softmax next to zero would be compared to 1e-5 of itself; merged convolutions have the tolerance of LoRA's.
FSDP = ("allclose(output_after, output_before)", "allclose(output_after, output_before, atol=1e-4)")
CONVOLUTIONS = (
    "(IA3Config, LoraConfig, HiraConfig)",
    "(IA3Config, LoraConfig, HiraConfig, SVFTConfig, VectorFitConfig)",
)
OURS = "from svft_bench.tuners import SVFTConfig, VectorFitConfig\n"

# What fails for a reason that is no fault of the tuner: parts of the test's name and of the failure's message, and why.
BY_NAME = "asks for LoRA by name"
EXPLAINED = [
    ("", "trained in another singular basis", "loads onto a base of other random weights, which is refused"),
    ("mixed_model_raises", "`PeftMixedModel`", "PEFT mixes a closed list of methods, and says so"),
    (SHARED_TESTS, "== 160", "LoRA's number of parameters"),
    (SHARED_TESTS, "== 616", "LoRA's number of parameters"),
    ("target_parameters", "slices.0", "each matrix of a stack counts as a layer here"),
    *((SHARED_TESTS, part, BY_NAME) for part in ("LORA", "Lora", "lora", "fault.weight")),
]

STAND_IN = """__version__ = "0.0"


class StableDiffusionPipeline:
    pass
"""
Row = tuple[str, str, str, dict[str, Any]]


def rows() -> list[Row]:
    """Our rows of the suite's matrix of models and configs."""
    return [
        (f"{name} on {model} {number}", model, kind, place | options)
        for name, (kind, options) in VARIANTS.items()
        for number, (model, place) in enumerate(PLACES)
    ]


def pairs() -> list[tuple[str, str, str, dict[str, Any], dict[str, Any]]]:
    """Our rows of the suite's matrix of two active adapters, which must differ and so do not begin at zero."""
    found = []
    for name, (kind, options) in VARIANTS.items():
        one, other = ({"target_modules": [layer], "init_weights": False} | options for layer in ("lin0", "lin1"))
        found += [(f"{name} same", kind.lower(), kind, one, one), (f"{name} different", kind.lower(), kind, one, other)]
    return found


def fetch(release: str) -> Path:
    """The tests of a release of PEFT in the cache, with a stand-in for what they import and need not."""
    folder = CACHE / release
    if not (folder / "tests").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run([*download, "--no-binary", ":all:", f"peft=={release}", "--dest", str(folder)], check=True)
        with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
            wanted = [member for member in archive.getmembers() if "/tests/" in member.name]
            archive.extractall(folder, members=wanted, filter="data")
        (folder / f"peft-{release}" / "tests").rename(folder / "tests")
    if not (folder / "packages").is_dir():
        target = ["--target", str(folder / "packages")]
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *target, NEEDS], check=True)
    (folder / "tests" / "__init__.py").touch()
    (folder / "diffusers.py").write_text(STAND_IN)
    return folder


def add_cases(folder: Path) -> Path:
    """A copy of the suite's test of custom models with our rows in its two matrices."""
    text = (folder / "tests" / "test_custom_models.py").read_text()
    text = _before(text, "ALL_PEFT_CONFIG_CLASSES = ", f"{OURS}TEST_CASES += {_source(rows())}\n")
    text = _before(
        text, "def _skip_tests_with_multiple", f"MULTIPLE_ACTIVE_ADAPTERS_TEST_CASES += {_source(pairs())}\n"
    )
    common = _instead((folder / "tests" / "testing_common.py").read_text(), *CONVOLUTIONS)
    (folder / "tests" / "testing_common_and_ours.py").write_text(OURS + common)
    text = _instead(_instead(text, *FSDP), "from .testing_common import", "from .testing_common_and_ours import")
    path = folder / "tests" / "test_custom_models_and_ours.py"
    path.write_text(text)
    return path


def add_shared(folder: Path, kind: str) -> Path:
    """A copy of the suite's tests of what tuners share, in which our config stands for LoRA's."""
    text = (folder / "tests" / f"{SHARED_TESTS}.py").read_text()
    for old, new in LINEAR.items():
        text = text.replace(old, new)
    path = folder / "tests" / f"{SHARED_TESTS}_{kind.removesuffix('Config')}.py"
    path.write_text(_before(text, "REGEX_TEST_CASES = ", STANDS_FOR_LORA.replace("KIND", kind)))
    return path


def _instead(text: str, old: str, new: str) -> str:
    if old not in text:
        raise ValueError(f"PEFT's tests have no {old!r}: this script is for another release")
    return text.replace(old, new)


def _before(text: str, mark: str, more: str) -> str:
    if text.count(f"\n{mark}") != 1:
        raise ValueError(
            f"PEFT's tests have no single line that starts with {mark!r}: this script is for another release"
        )
    return text.replace(f"\n{mark}", f"\n{more}\n\n{mark}")


def _source(found: list[Any]) -> str:
    """Rows as Python, in which the classes are names and no strings."""
    return re.sub(r"'(SVFTConfig|VectorFitConfig)'", r"\1", repr(found))


def run(tests: list[Path], *, folder: Path) -> Path:
    """Run what concerns our configs; the results as JUnit's XML."""
    results = folder / "results.xml"
    results.unlink(missing_ok=True)
    options = ["-q", "-o", "addopts=", "-p", "no:cacheprovider", f"--junitxml={results}", "--tb=line"]
    ours = f"(SVFT or VectorFit) and not ({PASSED_OVER})"  # the names of files count
    command = [sys.executable, "-m", "pytest", *map(str, tests), "-k", ours, *options]
    path = os.pathsep.join([str(folder), str(folder / "packages"), str(Path(__file__).parent.parent)])
    environment = os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "SVFT_BENCH_CACHE": str(folder / "svd")}
    subprocess.run(command, cwd=folder, env=environment, check=False, timeout=TIME_LIMIT)
    return results


def outcomes(results: Path) -> tuple[dict[str, Counter[str]], list[tuple[str, str, str]]]:
    """Counts of each variant, and the failures: test, its first line, and why it is explained or an empty text."""
    counts: dict[str, Counter[str]] = {}
    failures = []
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        name = f"{case.get('classname', '').split('.')[1]}: {case.get('name', '')}"
        shared = re.match(rf"{SHARED_TESTS}_(\w+):", name)
        variant = next((known for known in VARIANTS if known in name), "each class once")
        variant = f"{shared[1]}, what tuners share" if shared else variant
        bad = next((part for part in case if part.tag in ("failure", "error")), None)
        message = "" if bad is None else (bad.get("message") or "")
        reason = next((why for test, part, why in EXPLAINED if test in name and part in message), "")
        outcome = "skipped" if case.find("skipped") is not None else "passed"
        if bad is not None:
            outcome = "explained" if reason else "failed"
            failures.append((name, message.partition("\n")[0][:160], reason))
        counts.setdefault(variant, Counter())[outcome] += 1
    return counts, failures


def table(counts: dict[str, Counter[str]], failures: list[tuple[str, str, str]], *, release: str) -> str:
    """The page of outcomes."""
    columns = ["passed", "failed", "explained", "skipped"]
    lines = [
        "# PEFT's own tests of our tuners",
        "",
        f"PEFT {release}, by `make peft-suite`: its tests of custom models with our configs in their matrices, and "
        "those of what tuners share with our configs in place of LoRA's. PEFT skips what no config of its kind is "
        "meant for, and what needs the hub is skipped here. Its tests of mixed kinds are not run: `PeftMixedModel` "
        "takes LoRA, LoHa, LoKr, AdaLoRA, OFT and SHiRA alone, and refuses every other config in a sentence. What went "
        "through FSDP is compared to 1e-4, and a merged convolution to LoRA's 1e-3, as other paths round otherwise.",
        "",
        f"| variant | {' | '.join(columns)} |",
        f"| --- | {' | '.join('---:' for _ in columns)} |",
    ]
    lines += [f"| {name} | {' | '.join(str(found[column]) for column in columns)} |" for name, found in counts.items()]
    total = sum(counts.values(), Counter[str]())
    lines += [f"| all | {' | '.join(str(total[column]) for column in columns)} |", ""]
    told: dict[tuple[str, str], int] = Counter()
    for name, message, reason in failures:
        told[name.partition(": ")[2].partition("[")[0], reason or f"not explained: {message}"] += 1
    if told:
        lines += ["| failing test | times | why |", "| --- | ---: | --- |"]
        lines += [f"| `{test}` | {number} | {why.replace('|', '/')} |" for (test, why), number in sorted(told.items())]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the suite, print the table, and write it where asked; 1 where a failure is not explained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name}")
    arguments = parser.parse_args()
    release = version("peft")
    folder = fetch(release)
    tests = [add_cases(folder), *(add_shared(folder, kind) for kind in ("SVFTConfig", "VectorFitConfig"))]
    counts, failures = outcomes(run(tests, folder=folder))
    page = table(counts, failures, release=release)
    print(page)
    if arguments.write:
        TABLE.write_text(page)
    return int(any(not reason for _, _, reason in failures))


if __name__ == "__main__":
    raise SystemExit(main())
