"""Every report of every run: in memory by row and kind, and as JSON lines for whoever wants the raw numbers."""

import json
import sys
from pathlib import Path


class Record:
    """`{row: {kind: [report, ...]}}`, in the order in which they were made, and what the runs said of themselves."""

    def __init__(self, path=None):
        self.rows = {}
        self.runs = []
        self.path = Path(path) if path else None
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("")

    def begin(self, run):
        """What stands above a run's reports: machine, versions, command."""
        self.runs.append(run)
        self.write({"run": run})

    def add(self, row, kind, round_number, report, args=()):
        self.rows.setdefault(row, {}).setdefault(kind, []).append(report)
        self.write({"row": row, "kind": kind, "round": round_number, "args": list(args), "report": report})

    def write(self, line):
        if self.path:
            with open(self.path, "a", encoding="utf-8") as raw:
                raw.write(json.dumps(line) + "\n")

    def read(self, path):
        """Adds what an earlier run has written; of a row that was measured again, the last run counts."""
        fresh = {}
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            line = json.loads(line)
            if "run" in line:
                self.runs.append(line["run"])
            else:
                fresh.setdefault(line["row"], {}).setdefault(line["kind"], []).append(line["report"])
        self.rows |= fresh


def progress(*words):
    print(*words, file=sys.stderr, flush=True)
