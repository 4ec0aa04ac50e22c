"""What the process has imported from which those of a sweep's cells are forked (`running.sweeping.own_process`)."""

from svft_bench.commands.cell import be_quiet

be_quiet()  # before the libraries

import svft_bench.commands.summary  # noqa: E402
import svft_bench.running.run  # noqa: E402, F401
