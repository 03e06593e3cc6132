"""Starts the processes of a training on the loopback interface, as each engine asks for them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import keras

ROOT = Path(__file__).parents[2]


def free_port():
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def settings_of(index, count, ports):
    """The variables of the environment that tell process `index` of `count` of the others."""
    backend = keras.backend.backend()
    if backend == "torch":
        of_torchrun = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": ports[0]}
        return of_torchrun | {"RANK": index, "WORLD_SIZE": count, "LOCAL_RANK": index}
    addresses = [f"127.0.0.1:{port}" for port in ports]
    if backend == "tensorflow":
        task = {"type": "worker", "index": index}
        return {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})}
    names = ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
    values = (addresses[0], count, index)
    found = {f"KERAS_DISTRIBUTION_{name}": v for name, v in zip(names, values, strict=True)}
    return found | {"JAX_COORDINATOR_BIND_ADDRESS": addresses[0]}  # by default on all interfaces


def start(words, count, **settings):
    """`subprocess.Popen` of each process: `python -m` words, of one training of `count`."""
    ports = [free_port() for _ in range(count)]
    return [
        subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env={
                **os.environ,
                "TF_CPP_MIN_LOG_LEVEL": "2",
                **{name: str(v) for name, v in settings_of(index, count, ports).items()},
                **settings,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]
