"""How fast a `.wandb` log is read, beside a plain read of the same bytes.

    python benches/wandb.py make FILE [--mib 500]     # writes a log shaped like that of a real training
    python benches/wandb.py run FILE                  # measures and prints; needs target/release/scratchproof

`make` needs nothing but Python: it writes records as SDK 0.24 does (history of 22 keys, summary, a printed line, measurements
of eight accelerators every fifteenth step). `run` makes a case with this log only and calls `scratchproof timeline`.
"""

import argparse
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

BLOCK = 32_768
KEYS = ["train/loss", "train/lr", "train/grad_norm", "train/tokens", "perf/mfu", "perf/tokens_per_second"]
KEYS += [f"layers/{layer}/grad_norm" for layer in range(12)]


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def item(key, value):
    return field(2, key.encode()) + field(16, str(value).encode())


class Log:
    """The container: a header of 7 bytes, then chunks that never cross a block of 32 KiB."""

    def __init__(self, out):
        self.out, self.at = out, 7
        out.write(b":W&B\xe1\xbe\x00")

    def put(self, record):
        first = True
        while True:
            left = BLOCK - self.at % BLOCK
            if left < 7:
                self.out.write(bytes(left))
                self.at += left
                left = BLOCK
            part, record = record[: left - 7], record[left - 7 :]
            kind = (1 if first else 4) if not record else (2 if first else 3)
            self.out.write(struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part)
            self.at += 7 + len(part)
            first = False
            if not record:
                return


def make(path, size):
    draw = random.Random(0)
    with open(path, "wb") as out:
        log = Log(out)
        log.put(field(21, field(1, field(1, b"0.24.2"))))
        config = field(4, field(1, item("lr", 0.001)))
        log.put(field(17, field(1, b"bench") + field(3, b"bench") + config + field(17, b"\x08" + varint(1_770_000_000))))
        step = 0
        while log.at < size:
            values = [(key, draw.random() * 10) for key in KEYS] + [("train/update_step", step)]
            values += [("_timestamp", 1.77e9 + step * 0.7), ("_runtime", step * 0.7), ("_step", step)]
            items = b"".join(field(1, item(key, value)) for key, value in values)
            log.put(field(2, items + field(2, b"\x08" + varint(step))))
            log.put(field(3, items))
            line = f"step {step}: loss {draw.random() * 10:.4f} lr 0.001\n"
            log.put(field(13, b"\x08\x01" + field(3, line.encode())))
            if step % 15 == 0:
                names = [f"gpu.{gpu}.{what}" for gpu in range(8) for what in ("gpu", "memory", "temp", "powerWatts")]
                stats = b"".join(field(3, field(1, name.encode()) + field(16, str(draw.random()).encode())) for name in names)
                log.put(field(7, field(2, b"\x08" + varint(1_770_000_000 + step)) + stats))
            step += 1
        log.put(field(18, b"\x08\x00"))
    print(f"{path}: {os.path.getsize(path)} bytes, {step} steps")


def plain(path):
    buffer, began = bytearray(1 << 20), time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - began


def run(path, binary, rounds):
    size = os.path.getsize(path)
    with tempfile.TemporaryDirectory() as folder:
        case = Path(folder) / "case.toml"
        case.write_text(
            'schema = 1\nname = "bench"\n[claim]\nstatement = "from-scratch"\n[subject]\nname = "none"\nmodel = "none"\n'
            f"[[run]]\nlog = {str(Path(path).resolve())!r}\n".replace("'", '"')
        )
        plain(path)
        for _ in range(rounds):
            read = plain(path)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            done = subprocess.run([binary, "timeline", str(case), "-q"], stdout=subprocess.DEVNULL)
            took = time.perf_counter() - began
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if done.returncode == 2:
                sys.exit("the tool could not do its job")
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(
                f"plain read {read:.3f} s; timeline {took:.3f} s, CPU {cpu:.3f} s ({size / cpu / 1e6:.0f} MB/s a core),"
                f" {took / read:.1f} plain reads, peak {after.ru_maxrss / 1024:.0f} MiB"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["make", "run"])
    parser.add_argument("path")
    parser.add_argument("--mib", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binary", default="target/release/scratchproof")
    given = parser.parse_args()
    make(given.path, given.mib << 20) if given.what == "make" else run(given.path, given.binary, given.rounds)
