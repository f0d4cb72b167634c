"""One more Ray node on this machine, on loopback: `python ray_node.py GCS_ADDRESS RESOURCES TEMP_DIR`.

`ray start` refuses a second node where Ray is bound to loopback (it takes that for a machine that cannot have any);
what it would run does not. Ends when it is told to, or when its raylet does.
"""

from __future__ import annotations

import json
import sys
import time

import ray._private.node
import ray._private.parameter


def main(address: str, resources: str, temp_dir: str) -> None:
    parameters = ray._private.parameter.RayParams(
        gcs_address=address,
        node_ip_address="127.0.0.1",
        num_cpus=1,
        resources=json.loads(resources),
        object_store_memory=100 * 1000 * 1000,
        temp_dir=temp_dir,
        include_log_monitor=False,
        node_manager_port=0,
        dashboard_agent_listen_port=None,
    )
    node = ray._private.node.Node(parameters, head=False, shutdown_at_exit=True, spawn_reaper=False)
    print(node.unique_id, flush=True)
    while not node.dead_processes():
        time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
