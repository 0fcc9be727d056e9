"""A fake AWS as a process: ``python -m tests.faulty_aws --port-file FILE``.

The file gets the port as soon as the server answers. SIGTERM or SIGINT ends it.
"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from tests.faulty_aws.server import FaultyAws


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.faulty_aws", description="A fake AWS on loopback.")
    parser.add_argument("--port-file", type=Path, required=True, help="file to write the port to")
    parser.add_argument("--port", type=int, default=0, help="port to use (default: any free one)")
    options = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with FaultyAws(options.port) as aws:
        written = options.port_file.with_suffix(".new")
        written.write_text(str(aws.port))
        written.replace(options.port_file)
        ended.wait()


if __name__ == "__main__":
    main()
