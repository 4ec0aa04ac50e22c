"""The command line in a process that is killed after its third step, if it is the second of several."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from svft_bench.cli import main
from svft_bench.running.training import callbacks

whole = callbacks.Report.on_step_end


def on_step_end(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
    """As before, and at the third step nothing more."""
    whole(self, args, state, control, **more)
    if state.global_step == 3 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)


callbacks.Report.on_step_end = on_step_end  # type: ignore[method-assign]
sys.exit(main())
