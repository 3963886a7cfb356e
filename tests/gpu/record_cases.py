"""Adds to backend_cases.txt the node cases that run wholly on the software device today.

python tests/gpu/record_cases.py [WORKERS]

The list only grows: a listed case that fails is printed, and stays.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

for folder in ("softcuda", "conformance"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))

from conformance_cases import case_ids  # noqa: E402
from conformance_worker import Worker  # noqa: E402
from gpu_cases import LIST, SECONDS, device_environment, load_on_gpu, read_cases  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
HEAD = "# Backend node cases that run wholly on a GPU; tests/gpu/record_cases.py adds to them.\n"


def verdicts(ids: list[str]) -> dict[str, str]:
    """What one worker says of each case; empty when it passes."""
    worker = Worker(load_on_gpu, SECONDS)
    try:
        return {case_id: worker.run(case_id) for case_id in ids}
    finally:
        worker.close()


def main() -> None:
    os.environ.update(device_environment())
    ids = [case_id for case_id in case_ids(ROOT / ".cache") if case_id.startswith("node/")]
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    found: dict[str, str] = {}
    with ThreadPoolExecutor(workers) as pool:
        for part in pool.map(verdicts, [ids[k::workers] for k in range(workers)]):
            found.update(part)
    listed = set(read_cases()) if LIST.exists() else set()
    passed = {case_id for case_id, verdict in found.items() if not verdict}
    for case_id in sorted(listed - passed):
        print(f"listed, but fails: {case_id}: {found.get(case_id, 'no such case')}")
    LIST.write_text(HEAD + "".join(f"{case_id}\n" for case_id in sorted(listed | passed)))
    print(f"{len(passed)} of {len(ids)} pass; {len(passed - listed)} are new")


if __name__ == "__main__":
    main()
