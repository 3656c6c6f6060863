"""Test of ray_audit.py: a cluster of two nodes on this machine, of which one is killed in the middle of the work.

    python drivers/ray_two_nodes.py PROGRAM CASE OUTPUT

PROGRAM is called through a script that notes each unit that is begun. Prints one line of JSON: how many units there
are, how many were begun in all, and how many were under way on the node when it was killed.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from ray.cluster_utils import Cluster


def under_way(log, node):
    """Processes of the units that a node has begun and not ended."""
    begun = [line.split() for line in log.read_text().splitlines()]
    own = [int(process) for raylet, _, process in begun if raylet == node]
    return [process for process in own if pathlib.Path(f"/proc/{process}").exists()]


def parent(process):
    return int(pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])


def main():
    program, case, output = sys.argv[1:4]
    work = pathlib.Path(f"{output}.work").absolute()
    work.mkdir(parents=True)
    log = work / "begun"
    log.touch()
    noted = work / "noted.sh"
    # Ray tells its workers the process of their node. Each unit waits a little, so that one is under way when the node dies.
    noted.write_text(f'#!/bin/sh\n[ "$1" != worker ] || {{ echo "$RAY_RAYLET_PID $4 $$" >> {log}; sleep 0.3; }}\nexec {program} "$@"\n')
    noted.chmod(0o755)

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    node = str(second.all_processes["raylet"][0].process.pid)
    driver = pathlib.Path(__file__).with_name("ray_audit.py")
    command = [sys.executable, driver, case, "-o", output, "--work", work, "--program", noted, "--address", cluster.address]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    plan = work / "plan.json"
    units = work / "units"
    # The middle: a third of the units are there.
    while child.poll() is None:
        if plan.is_file():
            count = len(json.loads(plan.read_text())["units"])
            if len(list(units.glob("*.json"))) >= count // 3 and under_way(log, node):
                break
        time.sleep(0.01)
    # A lost node takes its processes with it: Ray's own, its worker, the program.
    lost = under_way(log, node)
    workers = [parent(process) for process in lost]
    cluster.remove_node(second, allow_graceful=False)
    for process in workers + lost:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            pass
    printed, talk = child.communicate(timeout=300)
    sys.stderr.write(talk)
    all_begun = log.read_text().splitlines()
    print(json.dumps({"units": count, "begun": len(all_begun), "lost": len(lost), "status": child.returncode}))
    cluster.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
