"""Writes expected_failures.txt anew from what fails today; read the difference before committing.

python tests/conformance/record_failures.py

A case that was listed keeps its reason; a new one gets its error, until what is missing is known.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from conformance_cases import LIST, case_ids, read_list
from conformance_worker import Worker

ROOT = Path(__file__).resolve().parents[2]


def reason(verdict: str) -> str:
    """The verdict's first line without addresses, at most 160 characters."""
    text = re.sub(r"0x[0-9a-f]+", "0x…", " ".join(verdict.split()))
    return text if len(text) <= 160 else text[:159] + "…"


def main() -> None:
    head = "".join(line + "\n" for line in LIST.read_text().splitlines() if line.startswith("#"))
    known = read_list()
    worker = Worker()
    ids = case_ids(ROOT / ".cache")
    verdicts = {case_id: worker.run(case_id) for case_id in ids}
    worker.close()
    failed = {case_id: verdict for case_id, verdict in verdicts.items() if verdict}
    reasons = {case_id: known.get(case_id) or reason(v) for case_id, v in failed.items()}
    LIST.write_text(head + "".join(f"{case_id}: {why}\n" for case_id, why in reasons.items()))
    for kind, count in Counter(case_id.split("/")[0] for case_id in ids).items():
        bad = sum(case_id.startswith(kind + "/") for case_id in failed)
        print(f"{kind:20} passed {count - bad} of {count}")
    print(f"{'all':20} passed {len(ids) - len(failed)} of {len(ids)}")


if __name__ == "__main__":
    main()
