"""How long a series audit takes, in plain reads of the same bytes.

    python benches/series.py make DIR      # writes a synthetic case of about 4 GB below DIR
    python benches/series.py run DIR       # measures and prints; needs target/release/scratchproof

`make` needs numpy, `run` only Python. See README.md beside this file.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

CHUNK = 1 << 20
SHARDS = 2
STD = 0.02
STEP = 0.002
CHECKPOINTS = 8
EVERY = 100  # steps between checkpoints


def shapes(hidden, layers, vocabulary):
    """Names and shapes of a Llama of this size."""
    wide = hidden * 11 // 4
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (hidden,)
        for part in "qkvo":
            yield f"{prefix}self_attn.{part}_proj.weight", (hidden, hidden)
        yield prefix + "post_attention_layernorm.weight", (hidden,)
        yield prefix + "mlp.gate_proj.weight", (wide, hidden)
        yield prefix + "mlp.up_proj.weight", (wide, hidden)
        yield prefix + "mlp.down_proj.weight", (hidden, wide)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (vocabulary, hidden)


def volume(shape):
    rows, *columns = shape
    return rows * (columns[0] if columns else 1)


def split(tensors):
    """Two shards of nearly equal size, in the order of the names."""
    total, sofar = sum(volume(shape) for _, shape in tensors), 0
    shards = [[] for _ in range(SHARDS)]
    for name, shape in tensors:
        shards[min(SHARDS - 1, SHARDS * sofar // total)].append((name, shape))
        sofar += volume(shape)
    return shards


def header(tensors):
    offset, entries = 0, {}
    for name, shape in tensors:
        end = offset + 2 * volume(shape)
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def start(folder, shards, config, stack):
    """Writes everything of a model but the weights, and returns the open shards."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    names = [f"model-{i + 1:05}-of-{SHARDS:05}.safetensors" for i in range(SHARDS)]
    index = {
        "metadata": {"total_size": sum(2 * volume(shape) for shard in shards for _, shape in shard)},
        "weight_map": {name: file for file, shard in zip(names, shards) for name, _ in shard},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    files = [stack.enter_context(open(folder / name, "wb")) for name in names]
    for file, shard in zip(files, shards):
        file.write(header(shard))
    return files


def make(arguments):
    import numpy as np

    root = Path(arguments.dir)
    tensors = list(shapes(arguments.hidden, arguments.layers, arguments.vocabulary))
    shards = split(tensors)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": arguments.hidden,
        "intermediate_size": arguments.hidden * 11 // 4,
        "num_hidden_layers": arguments.layers,
        "num_attention_heads": arguments.hidden // 64,
        "num_key_value_heads": arguments.hidden // 64,
        "vocab_size": arguments.vocabulary,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }

    def bf16(values):
        """Rounded to nearest, ties to even."""
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)

    random = np.random.default_rng(2026)
    with ExitStack() as stack:
        series = [start(root / "checkpoints" / f"step-{EVERY * t}", shards, config, stack) for t in range(arguments.checkpoints)]
        parent = start(root / "parent", shards, config, stack)
        for number, shard in enumerate(shards):
            for name, shape in shard:
                size, is_norm = volume(shape), len(shape) == 1

                def draw(scale):
                    return random.standard_normal(size, np.float32) * np.float32(scale)

                weights = np.ones(size, np.float32) if is_norm else draw(STD)
                for step, files in enumerate(series):
                    if step:
                        weights += draw(STEP)
                    files[number].write(bf16(weights).tobytes())
                other = draw(STD) + np.float32(is_norm)
                parent[number].write(bf16(other).tobytes())
    (root / "case.toml").write_text(
        'schema = 1\nname = "synthetic-series"\n\n[claim]\nstatement = "from-scratch"\n\n'
        '[subject]\nname = "Synthetic"\ncheckpoints = "checkpoints/step-{step}"\n\n'
        '[[parent]]\nname = "Other"\nmodel = "parent"\nreleased = "2026-01-01T00:00:00Z"\n'
    )
    print(f"{arguments.checkpoints + 1} models of {sum(volume(shape) for _, shape in tensors):,} parameters in {root}")


def plain_read(files):
    """One thread, read(2) into one buffer."""
    buffer, total = bytearray(CHUNK), 0
    before = time.perf_counter()
    for path in files:
        with open(path, "rb", buffering=0) as file:
            while got := file.readinto(buffer):
                total += got
    return time.perf_counter() - before, total


def read_into_memory(files):
    """One thread, each file into memory of its own, as a program that uses the weights must."""
    before = time.perf_counter()
    for path in files:
        with open(path, "rb", buffering=0) as file:
            file.readall()
    return time.perf_counter() - before


def digest(files):
    """SHA-256 of every file by Python's hashlib (OpenSSL), a thread for each processor: a part of every audit."""
    before = time.perf_counter()

    def one(path):
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, files))
    return time.perf_counter() - before


def audit(command, out):
    """Seconds on the clock, seconds of processor, peak memory in bytes."""
    shutil.rmtree(out, ignore_errors=True)
    before = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - before
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 1, 3):
        sys.exit(f"{' '.join(command)} ended with status {child.returncode}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(arguments):
    root, out = Path(arguments.dir), Path(arguments.dir) / "out"
    files = sorted(root.glob("**/*.safetensors"))
    if not files:
        sys.exit(f"no safetensors below {root}: run `make` first")
    base = [arguments.binary, "audit", str(root / "case.toml"), "-o", str(out), "-q"]
    ways = {"audit": base, "audit --threads 1": [*base, "--threads", "1"]}
    if arguments.against:
        ways["the other build"] = [arguments.against, *base[1:]]
    _, total = plain_read(files)
    plain, others, audits = [], {"read into memory": [], "SHA-256 only": []}, {name: [] for name in ways}
    for _ in range(arguments.rounds):
        plain.append(plain_read(files)[0])
        others["read into memory"].append(read_into_memory(files))
        others["SHA-256 only"].append(digest(files))
        for name, command in ways.items():
            audits[name].append(audit(command, out))
    shutil.rmtree(out, ignore_errors=True)

    def line(name, seconds, rest=""):
        median, best = statistics.median(seconds), min(seconds)
        ratios = f"{median / statistics.median(plain):6.2f} {best / min(plain):6.2f}"
        print(f"{name:20} {median:8.2f} {best:8.2f} {total / median / 1e9:8.2f} {ratios}{rest}")

    print(f"{total:,} bytes in {len(files)} files, {arguments.rounds} rounds, {os.cpu_count()} processors")
    print(f"{'':20} {'median s':>8} {'min s':>8} {'GB/s':>8} {'ratio':>6} {'of min':>6} {'cpu s':>8} {'peak MiB':>9}")
    line("plain read", plain)
    for name, seconds in others.items():
        line(name, seconds)
    for name, measured in audits.items():
        seconds, processor, peak = zip(*measured)
        line(name, seconds, f" {statistics.median(processor):8.2f} {max(peak) / (1 << 20):9.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("make", help="write the synthetic case")
    making.add_argument("dir")
    making.add_argument("--hidden", type=int, default=1024)
    making.add_argument("--layers", type=int, default=14)
    making.add_argument("--vocabulary", type=int, default=16384)
    making.add_argument("--checkpoints", type=int, default=CHECKPOINTS)
    making.set_defaults(do=make)
    running = commands.add_parser("run", help="measure")
    running.add_argument("dir")
    running.add_argument("--binary", default="target/release/scratchproof")
    running.add_argument("--against", help="another build of the program, measured in turn")
    running.add_argument("--rounds", type=int, default=5)
    running.set_defaults(do=run)
    arguments = parser.parse_args()
    arguments.do(arguments)


if __name__ == "__main__":
    main()
