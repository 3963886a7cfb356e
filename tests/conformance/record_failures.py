"""Writes expected_failures.txt anew from what fails today; read the difference before committing.

python tests/conformance/record_failures.py
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from conformance_cases import case_ids
from conformance_worker import Worker

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("expected_failures.txt")
HEAD = """\
# Backend test cases of the ONNX standard that do not pass yet, one "kind/name: reason" per line.
# A case that passes though it is listed fails the test suite. Made by record_failures.py.
"""


def reason(verdict: str) -> str:
    """The verdict's first line without addresses, at most 160 characters."""
    text = re.sub(r"0x[0-9a-f]+", "0x…", " ".join(verdict.split()))
    return text if len(text) <= 160 else text[:159] + "…"


def main() -> None:
    worker = Worker()
    ids = case_ids(ROOT / ".cache")
    verdicts = {case_id: worker.run(case_id) for case_id in ids}
    worker.close()
    failed = {case_id: verdict for case_id, verdict in verdicts.items() if verdict}
    lines = [f"{case_id}: {reason(verdict)}\n" for case_id, verdict in failed.items()]
    LIST.write_text(HEAD + "".join(lines))
    for kind, count in Counter(case_id.split("/")[0] for case_id in ids).items():
        bad = sum(case_id.startswith(kind + "/") for case_id in failed)
        print(f"{kind:20} passed {count - bad} of {count}")
    print(f"{'all':20} passed {len(ids) - len(failed)} of {len(ids)}")


if __name__ == "__main__":
    main()
