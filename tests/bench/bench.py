"""Times a diagnosis against its rivals, in one run and as ratios, and writes tests/bench/results.md.

Every command is a whole process, run in turn with the others so that what else the machine does meets all
of them; the fastest of the rounds counts. Output goes nowhere.
"""

import argparse
import os
import platform
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

# Tells the peak memory of a program. The shell's own word for it does not.
TIME = "/usr/bin/time"

PEERS_FOLDER = ROOT / ".cache" / "peers"

# Name, the fields of the rows it reads, what has to be there (`make peers` puts it there), command. The
# first writes all fields as JSON, but reads no row of today's 33 fields, nor one with an IPv6 address (12 %
# of these); the second makes statistics of a web site. aws-log-parser 3.0.2 ends at the first IPv6 address.
PEERS = [
    (
        "elb-log-parser 0.2.7",
        (30,),
        "bin/elb-log-parser",
        "zcat {log} | {peers}/bin/elb-log-parser --skip-parse-errors -",
    ),
    (
        "GoAccess 1.7",
        (30, 33),
        "debian/usr/bin/goaccess",
        (
            "zcat {log} | LD_LIBRARY_PATH=$(echo {peers}/debian/usr/lib/*-linux-gnu)"
            " {peers}/debian/usr/bin/goaccess - -p /dev/null --log-format=AWSALB -o {peers}/goaccess.json"
        ),
    ),
]

# With more rows the slowest takes ten minutes, and what is long is the same in each round.
MOST_ROWS_OF_PEERS = 1_000_000


@dataclass
class Contestant:
    """One command; `shell` where the rival is a pipe."""

    name: str
    command: list[str] | str
    cores: int = 1
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_kb: int = 0

    def run(self) -> None:
        pinned = ["taskset", "-c", ",".join(map(str, range(self.cores)))]
        command = (
            ["bash", "-c", self.command]
            if isinstance(self.command, str)
            else self.command
        )
        # A child of this process begins as a copy of it, and its peak memory with it; a child of `time`
        # begins with next to nothing.
        with tempfile.NamedTemporaryFile(mode="r") as told:
            timed = [TIME, "-f", "%U %S %M", "-o", told.name, *pinned]
            start = time.perf_counter()
            done = subprocess.run(
                [*timed, *command],
                check=False,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self.wall.append(time.perf_counter() - start)
            if done.returncode not in (0, 3):
                raise SystemExit(f"failed: {self.name}: {command}")
            user, system, peak_kb = told.read().split("\n")[-2].split()
        self.cpu.append(float(user) + float(system))
        self.peak_kb = max(self.peak_kb, int(peak_kb))


def generated(release: Path, rows: int, fields: int, groups: int) -> Path:
    """A log of so many rows, made once."""
    log = release.parent / "bench" / f"{rows}-{fields}-{groups}.log.gz"
    if not log.exists():
        log.parent.mkdir(exist_ok=True)
        made = log.with_suffix(".part.gz")
        arguments = [
            "--rows",
            str(rows),
            "--fields",
            str(fields),
            "--groups",
            str(groups),
        ]
        subprocess.run(
            [release / "examples" / "simulate", "big", *arguments, "--out", made],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        made.rename(log)
    return log


def contest(
    release: Path, log: Path, rows: int, fields: int, rounds: int
) -> list[Contestant]:
    """All of them on one log."""
    alb502 = str(release / "alb502")
    path = str(log)
    inflate = str(release / "examples" / "inflate")
    all_of_them = [
        Contestant("inflate, the same library", [inflate, path]),
        Contestant("... and cut into lines", [inflate, "lines", path]),
        Contestant("... and take these apart", [inflate, "rows", path]),
        Contestant("alb502 diagnose", [alb502, "diagnose", path]),
        Contestant("alb502 diagnose, 2 cores", [alb502, "diagnose", path], cores=2),
        Contestant("zcat, 2 cores", ["zcat", path], cores=2),
        Contestant("zcat and awk, 2 cores", f"zcat {path} | awk '$9 == 502'", cores=2),
    ]
    for name, read, program, command in PEERS:
        is_there = (PEERS_FOLDER / program).exists()
        if is_there and fields in read and rows <= MOST_ROWS_OF_PEERS:
            command = command.format(peers=PEERS_FOLDER, log=path)
            all_of_them.append(Contestant(f"{name}, 2 cores", command, cores=2))
    for round_number in range(rounds if rows <= MOST_ROWS_OF_PEERS else 2):
        for contestant in all_of_them:
            # What takes a minute is measured once.
            if round_number == 0 or contestant.wall[0] < 30:
                contestant.run()
    return all_of_them


def table(log: Path, rows: int, all_of_them: list[Contestant]) -> str:
    """One log's results in Markdown."""
    text = int(
        subprocess.run(
            ["bash", "-c", f"zcat {log} | wc -c"], check=False, capture_output=True
        ).stdout
    )
    packed = log.stat().st_size
    base = min(all_of_them[0].wall)
    out = [
        f"{rows:,} rows, {text / 1e6:,.0f} MB, compressed {text / packed:.1f} to 1",
        "",
        "| program | wall, s | processor, s | peak memory, MB | wall: times inflate | ns a row |",
        "|---|---|---|---|---|---|",
    ]
    for it in all_of_them:
        wall = min(it.wall)
        peak = f"{it.peak_kb / 1024:.0f}"
        out.append(
            f"| {it.name} | {wall:.2f} | {min(it.cpu):.2f} | {peak} |"
            f" {wall / base:.2f} | {wall / rows * 1e9:,.0f} |"
        )
    return "\n".join(out) + "\n"


def cpu_model() -> str:
    """As the machine calls it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", type=Path, default=ROOT / "target" / "release")
    parser.add_argument(
        "--rows", type=int, nargs="*", default=[100_000, 1_000_000, 10_000_000]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=HERE / "results.md")
    arguments = parser.parse_args()
    if not Path(TIME).exists():
        raise SystemExit(
            "make bench needs GNU time (Debian: sudo apt-get install time)"
        )
    shapes = [(rows, 33, 1) for rows in arguments.rows]
    shapes += (
        [(1_000_000, 30, 1), (1_000_000, 33, 1_000)]
        if 1_000_000 in arguments.rows
        else []
    )
    parts = [
        "# How fast",
        "",
        "Written by `make bench`. Each program is a whole process, in turn with the others; the fastest of",
        f"{arguments.rounds} rounds counts (of 2, with ten million rows). Unless it says otherwise a program",
        "has one core.",
        "",
        f"{cpu_model()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} when it began.",
    ]
    for rows, fields, groups in shapes:
        log = generated(arguments.release, rows, fields, groups)
        results = contest(arguments.release, log, rows, fields, arguments.rounds)
        shape = (
            f"## {fields} fields, {groups:,} target group{'s' if groups > 1 else ''}"
        )
        parts += ["", shape, "", table(log, rows, results).rstrip()]
        print("\n".join(parts[-3:]), flush=True)
    arguments.out.write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
