"""A process that imports flow files one after the other, so that Prefect is imported once.

It reads a JSON request per line, ``{"file": …, "limit": seconds}``, and prints the answer of
:mod:`sagebridge.formats.python.import_process`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from sagebridge.formats.prefect import import_flows
from sagebridge.formats.python import import_inputs, import_process
from sagebridge.formats.python.input_effects import with_inputs

if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        import_flows._import_prefect(folder)
        gc.freeze()
        import_inputs.install()
        for line in sys.stdin:
            asked = json.loads(line)
            file, limit = Path(asked["file"]), asked["limit"]
            forks = import_process._Forks(import_flows._read, file, limit, folder, time.time_ns())
            print(json.dumps(with_inputs(forks.answer)), file=answers, flush=True)
