"""Counts the instructions of a diagnosis and holds them to a bound.

Time says little on a machine that does other things as well; instructions are the same in every run. They
are compared with those that zlib executes in the same run, so that another log, or another processor for
which zlib has other ways, moves both.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

ROWS = 20_000

# What a diagnosis executes beside inflating is so many times the instructions of inflating, and not more.
# Measured: 1.29. A twelfth above it: another compiler moves it by some hundredths, while one more look at
# each byte of a row is a fifth.
MOST_TIMES_INFLATE = 1.4


def by_function(profile: str) -> Counter[str]:
    """The instructions of each function itself, from what callgrind has written."""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    function = ""
    is_call = False
    for line in profile.splitlines():
        if line.startswith("fn="):
            number, _, name = line.removeprefix("fn=").partition(" ")
            function = names.setdefault(number, name)
        elif line.startswith("cfn="):
            number, _, name = line.removeprefix("cfn=").partition(" ")
            names.setdefault(number, name)
        elif line.startswith("calls="):
            # The next line is what the called function took.
            is_call = True
        elif re.match(r"[+\-*\d]", line):
            if not is_call:
                counts[function] += int(line.split()[1])
            is_call = False
    return counts


def main() -> None:
    """Generates the log and counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--simulate", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log, profile = Path(folder) / "log.gz", Path(folder) / "callgrind.out"
        big = [arguments.simulate, "big", "--rows", str(ROWS), "--fields", "33"]
        subprocess.run(
            [*big, "--groups", "1", "--out", log],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        valgrind = subprocess.run(
            [ROOT / ".ci" / "valgrind"], check=True, stdout=subprocess.PIPE, text=True
        )
        count = ["--tool=callgrind", f"--callgrind-out-file={profile}"]
        run = subprocess.run(
            [*valgrind.stdout.split(), *count, arguments.program, "diagnose", log],
            check=False,
            capture_output=True,
            text=True,
        )
        # 3 is the exit code of a diagnosis that found something.
        if run.returncode not in (0, 3) or f"Read {ROWS:,} lines" not in run.stdout:
            sys.exit(f"the diagnosis failed:\n{run.stdout}\n{run.stderr}")
        counts = by_function(profile.read_text())
    inflate = sum(count for name, count in counts.items() if "zlib_rs" in name)
    if not inflate:
        sys.exit("no function of zlib in the profile: is the program stripped?")
    beside = counts.total() - inflate
    times = beside / inflate
    print(
        f"{inflate / ROWS:,.0f} instructions to inflate a row,"
        f" {beside / ROWS:,.0f} beside it: {times:.2f} times (at most {MOST_TIMES_INFLATE})"
    )
    if MOST_TIMES_INFLATE < times:
        most = "".join(
            f"{count / ROWS:8.0f} {name[:100]}\n"
            for name, count in counts.most_common(20)
        )
        sys.exit(f"A diagnosis got slower. Instructions a row, by function:\n{most}")


if __name__ == "__main__":
    main()
