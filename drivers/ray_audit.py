#!/usr/bin/env python3
"""Audits a case on a Ray cluster: one task a unit of the plan, then the reduction here.

    pip install ray
    python drivers/ray_audit.py CASE -o DIR [--work DIR] [--address auto] [--program scratchproof]

CASE, the checkpoints and the work folder must be seen by every node under the same path (a shared file system). A node
that is lost costs the units it was working on: Ray runs them again elsewhere, and what lies in the work folder is never
measured twice.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import ray


class Killed(Exception):
    """The program was killed, by want of memory for example: worth another attempt."""


def run(command):
    """Runs the program; its last words become the error if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode < 0:
        raise Killed(f"{command} was killed by signal {-done.returncode}")
    if done.returncode not in (0, 1, 3):
        raise RuntimeError(done.stderr.strip() or f"{command} ended with {done.returncode}")
    return done


@ray.remote(num_cpus=1, max_retries=5, retry_exceptions=[Killed])
def unit(program, plan, number, folder, *_after):
    run([program, "worker", plan, "--only", str(number), "-o", folder, "--threads", "1", "--quiet"])
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case")
    parser.add_argument("-o", "--output", required=True, help="folder for the result, as of `audit`")
    parser.add_argument("--work", help="folder for the plan and the units; left out: OUTPUT.work")
    parser.add_argument("--address", default="auto", help="address of the cluster")
    parser.add_argument("--program", default="scratchproof")
    given = parser.parse_args()

    work = pathlib.Path(given.work or f"{given.output}.work").absolute()
    work.mkdir(parents=True, exist_ok=True)
    plan, units = str(work / "plan.json"), str(work / "units")
    run([given.program, "plan", given.case, "-o", plan])
    planned = json.loads(pathlib.Path(plan).read_text())["units"]
    count = len(planned)

    ray.init(address=given.address, log_to_driver=False)
    # A unit begins when those that it rests on have ended: they stand before it in the plan.
    begun = {}
    for number, own in enumerate(planned):
        after = [begun[name] for name in own["after"]]
        begun[own["name"]] = unit.remote(given.program, plan, number, units, *after)
    left = list(begun.values())
    while left:
        done, left = ray.wait(left)
        ray.get(done)
        print(f"{count - len(left)} of {count} units", file=sys.stderr)

    done = run([given.program, "reduce", plan, units, "-o", given.output])
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
