"""The command line: overrides run cells, verbs answer questions.

svft-bench model=smollm2-135m method=svft_banded task=gsm8k
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from svft_bench import __version__
from svft_bench.commands.cell import attempt, bad_input, be_quiet, job, trial, wants_own_process
from svft_bench.config.own import beside
from svft_bench.config.wording import Parser, place
from svft_bench.running import ranks, stopping

if TYPE_CHECKING:
    from svft_bench.compose import Cell

HELP = """\
svft-bench: does a method in the singular basis beat LoRA here, at this budget?

Run a cell, or several:
  svft-bench                                                     the default cell, on a laptop
  svft-bench experiment=demo                                     seven methods, then their table
  svft-bench model=smollm2-135m method=svft_banded task=gsm8k data_root=DATA
  svft-bench model=gemma-2b method=svft_banded task=gsm8k method.off_diag=16
  svft-bench -m method=svft_banded method.off_diag=0,2,4,8 seed=0,1,2
  svft-bench -m hydra/launcher=joblib seed=0,1,2                 Hydra's launchers; its flags --cfg, --info, -m too

Ask:
  svft-bench list [models|methods|tasks|experiments]             what can be combined
  svft-bench plan OVERRIDES [--on DEVICE]                        the cells, which are done or failed, memory, time
  svft-bench table NAME                                          an experiment's or a paper's table from the records
  svft-bench audit                                               every parameter count that the papers print, recounted
  svft-bench report                                              all of it as one page, results/report.html
  svft-bench runs [method=NAME failed] [--prune]                 what runs have left, where, how large; what may go
  svft-bench compare RUN RUN                                     two runs of one task, item by item, and what differs
  svft-bench rescore RECORD.json                                 score stored predictions again, without a model
  svft-bench export RECORD.json --merged|--lora|--adapter DIR    its weights for others, with a card [--push ORG/NAME]
  svft-bench leakage task=NAME                                   what a training set shares with its evals
  svft-bench new task NAME --from FILE --config-dir DIR          a task of your own data, explained line by line
  svft-bench show task=NAME row=3 [model=NAME]                   an example as it is seen, with its tokens
  svft-bench prepare model=NAME                                  fetch and convert weights, fill the SVD cache
  svft-bench prepare --list | --prune [GB]                       what that cache holds; remove the least recently used

Own tasks, models, methods, experiments: --config-dir DIR with any of these, or SVFT_BENCH_CONF=DIR.
Settings: results_dir, output_dir, data_root (or SVFT_BENCH_DATA), device, engine_memory, checkpoint_minutes,
tracking, force.
Exit codes: 0 done, 1 a cell failed, 2 bad input, 130 interrupted, 143 told to end by SIGTERM, SIGUSR1 or SIGHUP, for
which a training writes a checkpoint first; after either of the last two the same command goes on."""

# Each verb's code, imported when it is asked for: most of them must answer without waiting for the others' libraries.
VERBS = {
    "list": "svft_bench.commands.listing:main",
    "plan": "svft_bench.commands.plan:main",
    "table": "svft_bench.commands.table:table",
    "report": "svft_bench.commands.report:report",
    "runs": "svft_bench.commands.runs:main",
    "compare": "svft_bench.commands.compare:main",
    "audit": "svft_bench.commands.audit:audit",
    "new": "svft_bench.commands.new:main",
    "show": "svft_bench.commands.show:main",
    "prepare": "svft_bench.commands.prepare:main",
    "export": "svft_bench.commands.export:main",
    "rescore": "svft_bench.commands.rescore:rescore",
    "leakage": "svft_bench.commands.leakage:leakage",
}
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")  # what Hydra tells of itself


def main() -> None:
    """Entry point of the console script."""
    for name in ("stdin", "stdout", "stderr"):  # one that is closed is none, and its number the next file's
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))
    be_quiet()
    sys.exit(command(sys.argv[1:]))


def command(argv: list[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        code = _answer(argv)
        sys.stdout.flush()  # not at the end of the process, where nobody sees that the reader is gone
        return code
    except BrokenPipeError:  # of `| head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        return bad_input(error) if ranks.leads() else 2
    except ranks.ProcessLost as error:  # before there was a run that could fail
        print(f"svft-bench: {error}", file=sys.stderr)
        return 1
    except stopping.Stopped as error:
        ranks.say(f"\nEnded by {error}; nothing half-written.", file=sys.stderr)
        return stopping.CODE
    except KeyboardInterrupt:
        ranks.say("\nInterrupted; nothing half-written.", file=sys.stderr)
        return 130


def _answer(argv: list[str]) -> int:
    if argv and argv[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    try:
        own, argv = _own_folder(argv)
        with beside(own):
            if argv and argv[0] in VERBS:
                return _verb(argv[0], argv[1:])
            with stopping.heeding_signals():
                return _benchmark(argv)
    except SystemExit as done:  # of --help and --version
        return int(done.code or 0)


def _own_folder(argv: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The folder that `--config-dir` names before or after a verb, as Hydra's own flag does, and the other words."""
    parser = Parser(prog="svft-bench", add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", type=place)  # of -cd, argparse would take Hydra's -c for a beginning
    asked, rest = parser.parse_known_args([re.sub("^-cd(?==|$)", "--config-dir", word) for word in argv])
    if asked.config_dir is not None:
        if rest[:1] == ["new"]:  # which begins one
            asked.config_dir.mkdir(parents=True, exist_ok=True)
        if not asked.config_dir.is_dir():
            parser.error(f"argument --config-dir: '{asked.config_dir}' is no folder")
    return asked.config_dir, rest


def _verb(name: str, argv: list[str]) -> int:
    module, function = VERBS[name].split(":")
    code: int = getattr(importlib.import_module(module), function)(argv)
    return code


def _benchmark(argv: list[str]) -> int:
    from svft_bench import compose
    from svft_bench.running.keeping import again
    from svft_bench.running.preflight import check_access, check_folders, check_processes, check_surroundings
    from svft_bench.running.sweeping import launching, limits, searching
    from svft_bench.running.sweeping.failures import state

    asked = _parser().parse_intermixed_args(argv)
    overrides = list(asked.overrides)
    if strange := [item for item in overrides if "=" not in item and not item.startswith("~")]:
        raise ValueError(f"{strange[0]} is neither key=value nor one of the verbs {', '.join(VERBS)}")
    if (asked.package or asked.resolve) and not asked.cfg:
        raise ValueError(f"{'--package' if asked.package else '--resolve'} says how --cfg shows a configuration")
    if asked.cfg or asked.info or asked.hydra_help or asked.shell_completion:
        from svft_bench.compose.showing import show

        show(asked, overrides, parser=_parser())
        return 0
    launching.check_launcher(overrides)
    searched = searching.is_search(overrides)
    planned = compose.cells(searching.corners(overrides) if searched else overrides)
    launched = [item for item in overrides if item.startswith(("hydra/launcher=", "hydra/sweeper="))]
    swept = asked.multirun or bool(launched)
    check_processes(os.environ, [(cell.spec, cell.settings) for cell in planned], swept=swept)
    check_folders(planned)
    if todo := [cell for cell in planned if cell.settings.force or state(cell) != "done"]:
        check_access(todo)
        check_surroundings(todo, here=not launched)
    overrides = limits.timed(overrides, planned)
    if searched:
        searching.check(planned, overrides)
        return searching.search(overrides, trial)
    again.ask([(cell.spec, cell.settings) for cell in planned if cell.settings.force])
    with ranks.joined(on=planned[0].settings.device):
        code = attempt(planned[0]) if len(planned) == 1 and not asked.multirun else _sweep(planned, overrides)
    for cell in planned:  # not after a kill or a signal: then the same command goes on
        again.done(cell.spec, cell.settings)
    return code


def _sweep(planned: Sequence[Cell], overrides: Sequence[str]) -> int:
    """Run the cells by Hydra's launcher; however the sweep ends, a list says what has no record."""
    from svft_bench import compose
    from svft_bench.running.sweeping import sweep
    from svft_bench.running.sweeping.failures import state
    from svft_bench.running.sweeping.launching import launch
    from svft_bench.running.sweeping.own_process import get_ready

    if wants_own_process(planned[0]) and any(state(cell) != "done" for cell in planned):
        get_ready()
    with sweep.going(planned):
        try:
            code = launch(planned, overrides=compose.fixed(overrides), job=job)
            stopping.check()
        except KeyboardInterrupt:
            print("", *sweep.outcome(planned), sep="\n", file=sys.stderr)
            raise
    return _conclude(planned, overrides) or code


def _parser() -> Parser:
    parser = Parser(prog="svft-bench", add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*", help="key=value, as the configuration has them")
    parser.add_argument("-m", "--multirun", action="store_true", help="several cells: lists after commas")
    parser.add_argument("-c", "--cfg", choices=("job", "hydra", "all"), help="show a configuration")
    parser.add_argument("-p", "--package", help="with --cfg: this part of it")
    parser.add_argument("--resolve", action="store_true", help="with --cfg: interpolations resolved")
    parser.add_argument("-i", "--info", nargs="?", const="all", choices=INFO, help="what Hydra knows of itself")
    parser.add_argument("--hydra-help", action="store_true", help="these flags, and Hydra's own groups")
    parser.add_argument("-sc", "--shell-completion", action="store_true", help="install=, uninstall= or query=SHELL")
    parser.add_argument("--version", action="version", version=_versions())
    return parser


def _versions() -> str:
    """What is installed, as a record and a report of a fault want it; nothing is imported for it."""
    found = {"svft-bench": __version__, "hydra-core": version("hydra-core"), "torch": version("torch")}
    return ", ".join(f"{name} {number}" for name, number in found.items())


def _conclude(planned: Sequence[Cell], overrides: Sequence[str]) -> int:
    """After a sweep: the table that it asked for, and the cells that have no record, each with its reason."""
    from svft_bench.running.sweeping.failures import state
    from svft_bench.running.sweeping.sweep import outcome

    left = outcome(planned)
    settings = planned[0].settings
    if settings.table is not None and any(state(cell) == "done" for cell in planned):
        elsewhere = ("experiment=", "force=", "results_dir=")
        of_the_run = [item for item in overrides if not item.lstrip("+").startswith(elsewhere)]
        _verb("table", [settings.table, *of_the_run, "--write", "--results", str(settings.results_dir)])
    for line in left:
        print(line, file=sys.stderr)
    return 1 if left else 0
