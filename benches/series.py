"""What an audit of a series and a comparison cost beside what else is done with the same bytes.

    python benches/series.py make DIR      # writes a synthetic case of about 4 GB below DIR
    python benches/series.py run DIR       # measures and prints; needs target/release/scratchproof
    python benches/series.py grow DIR      # growth exponents: makes small cases below DIR, one size changed at a time

`make` and `grow` need numpy, `run` only Python; numpy and torch are measured where they are installed. See README.md beside
this file.
"""

import argparse
import hashlib
import importlib.util
import json
import math
import os
import platform
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


def shapes(hidden, layers, vocabulary, experts=0):
    """Names and shapes of a Llama of this size; with experts of a quarter of its width, of a Mixtral."""
    wide = hidden * 11 // 4
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (hidden,)
        for part in "qkvo":
            yield f"{prefix}self_attn.{part}_proj.weight", (hidden, hidden)
        yield prefix + "post_attention_layernorm.weight", (hidden,)
        if experts:
            yield prefix + "mlp.gate.weight", (experts, hidden)
            for expert in range(experts):
                yield f"{prefix}mlp.experts.{expert}.gate_proj.weight", (wide // 4, hidden)
                yield f"{prefix}mlp.experts.{expert}.up_proj.weight", (wide // 4, hidden)
                yield f"{prefix}mlp.experts.{expert}.down_proj.weight", (hidden, wide // 4)
            continue
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
    tensors = list(shapes(arguments.hidden, arguments.layers, arguments.vocabulary, arguments.experts))
    shards = split(tensors)
    mixture = {
        "moe_intermediate_size": arguments.hidden * 11 // 16,
        "num_experts": arguments.experts,
        "num_experts_per_tok": 2,
    }
    config = {
        "architectures": ["Qwen3MoeForCausalLM" if arguments.experts else "LlamaForCausalLM"],
        "model_type": "qwen3_moe" if arguments.experts else "llama",
        **(mixture if arguments.experts else {}),
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
        others = [start(root / name, shards, config, stack) for name in ["parent", "control"][: 1 + arguments.control]]
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
                for files in others:
                    other = draw(STD) + np.float32(is_norm)
                    files[number].write(bf16(other).tobytes())
    (root / "case.toml").write_text(
        'schema = 1\nname = "synthetic-series"\n\n[claim]\nstatement = "from-scratch"\n\n'
        '[subject]\nname = "Synthetic"\ncheckpoints = "checkpoints/step-{step}"\n\n'
        '[[parent]]\nname = "Other"\nmodel = "parent"\nreleased = "2026-01-01T00:00:00Z"\n'
        + ('\n[[control]]\nname = "Third"\nmodel = "control"\n' if arguments.control else "")
    )
    print(f"{arguments.checkpoints + 1 + arguments.control} models of {sum(volume(shape) for _, shape in tensors):,} parameters in {root}")


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


def measured(command, out):
    """Seconds on the clock, seconds of processor, peak memory in bytes, bytes that read calls gave (0 where the system does
    not count them)."""
    shutil.rmtree(out, ignore_errors=True)
    before = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    reads = 0
    # A zombie keeps its counts until it is waited for.
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        time.sleep(0.02)
    try:
        with open(f"/proc/{child.pid}/io") as io:
            reads = int(io.readline().split()[1])
    except OSError:
        pass
    seconds = time.perf_counter() - before
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 1, 3):
        sys.exit(f"{' '.join(command)} ended with status {child.returncode}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return seconds, usage.ru_utime + usage.ru_stime, peak, reads


COSINES = """
import json, struct, sys
first, second, library = sys.argv[1:]
def tensors(folder):
    import glob
    for path in sorted(glob.glob(folder + "/*.safetensors")):
        file = open(path, "rb")
        size = struct.unpack("<Q", file.read(8))[0]
        for name, entry in json.loads(file.read(size)).items():
            if name != "__metadata__":
                file.seek(8 + size + entry["data_offsets"][0])
                yield name, bytearray(file.read(entry["data_offsets"][1] - entry["data_offsets"][0]))
for (name, a), (_, b) in zip(tensors(first), tensors(second)):
    if library == "torch":
        import torch
        x, y = (torch.frombuffer(v, dtype=torch.bfloat16).float() for v in (a, b))
        torch.nn.functional.cosine_similarity(x, y, dim=0)
    else:
        import numpy as np
        sums = np.zeros(3)
        for at in range(0, len(a), 1 << 19):
            x, y = ((np.frombuffer(v[at:at + (1 << 19)], "<u2").astype(np.uint32) << 16).view(np.float32) for v in (a, b))
            sums += [x @ y, x @ x, y @ y]
"""


def machine():
    """Processor, how many of it, memory, and how busy it is with other work."""
    name, memory = platform.machine(), 0
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        of = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        name = f"{of.get('model name', name)} (family {of.get('cpu family', '?')}, model {of.get('model', '?')})"
        memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    except (OSError, ValueError):
        pass
    return f"{name}, {os.cpu_count()} processors, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}"


def run(arguments):
    root, out = Path(arguments.dir), Path(arguments.dir) / "out"
    files = sorted(root.glob("**/*.safetensors"))
    if not files:
        sys.exit(f"no safetensors below {root}: run `make` first")
    last = max((root / "checkpoints").glob("step-*"), key=lambda path: int(path.name.split("-")[1]))
    pair = [*sorted(last.glob("*.safetensors")), *sorted((root / "parent").glob("*.safetensors"))]
    control = ["--control", str(root / "control")] if (root / "control").is_dir() else []
    ways = {
        "sha256sum": (["sha256sum", *map(str, files)], files),
        "audit": ([arguments.binary, "audit", str(root / "case.toml"), "-o", str(out), "-q"], files),
        "sha256sum of two": (["sha256sum", *map(str, pair)], pair),
        "compare": ([arguments.binary, "compare", str(last), str(root / "parent"), *control, "-q"], pair),
    }
    for library in ["numpy", "torch"]:
        if importlib.util.find_spec(library):
            command = [sys.executable, "-c", COSINES, str(last), str(root / "parent"), library]
            ways[f"cosines by {library}"] = (command, pair)
    if arguments.against:
        ways["audit, other build"] = ([arguments.against, *ways["audit"][0][1:]], files)
    plain_read(files)
    plain, hashed, results = [], [], {name: [] for name in ways}
    for _ in range(arguments.rounds):
        plain.append(plain_read(files)[0])
        hashed.append(digest(files))
        for name, (command, _) in ways.items():
            results[name].append(measured(command, out))
    shutil.rmtree(out, ignore_errors=True)
    total = sum(path.stat().st_size for path in files)
    print(machine())
    print(f"{total:,} bytes in {len(files)} files, {arguments.rounds} rounds, {os.cpu_count()} processors, medians")
    print(f"plain read {statistics.median(plain):.2f} s; SHA-256 on all processors {statistics.median(hashed):.2f} s")
    print("| | s | CPU s | CPU over sha256sum of the same bytes | bytes read over bytes given | peak MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in results.items()}
    for name, (seconds, processor, peak, reads) in medians.items():
        given = ways[name][1] + (sorted((root / "control").glob("*.safetensors")) if name == "compare" and control else [])
        size = sum(path.stat().st_size for path in given)
        base = medians["sha256sum" if ways[name][1] is files else "sha256sum of two"][1]
        print(f"| {name} | {seconds:.2f} | {processor:.2f} | {processor / base:.2f} | {reads / size:.2f} | {peak / 2**20:.0f} |")


def grow(arguments):
    """CPU seconds of an audit while one size doubles: the exponent is log2 of their ratio."""
    start = {"hidden": 512, "layers": 4, "vocabulary": 4096, "checkpoints": 3, "experts": 0, "control": 1}
    steps = [("hidden", 1024, {}), ("layers", 8, {}), ("checkpoints", 6, {}), ("experts", 32, {"experts": 16})]
    cases = {}
    for name, value, base in steps:
        for sizes in [{**start, **base}, {**start, **base, name: value}]:
            key = json.dumps(sizes)
            if key not in cases:
                folder = Path(arguments.dir) / f"grow-{len(cases)}"
                shutil.rmtree(folder, ignore_errors=True)
                make(argparse.Namespace(dir=folder, **sizes))
                command = [arguments.binary, "audit", str(folder / "case.toml"), "-o", str(folder / "out"), "-q"]
                rows = [measured(command, folder / "out") for _ in range(arguments.rounds)]
                cases[key] = [statistics.median(column) for column in zip(*rows)]
                shutil.rmtree(folder)
    print(machine())
    print("| doubled | CPU s | of twice as much | exponent | peak MiB |")
    print("| --- | --- | --- | --- | --- |")
    for name, value, base in steps:
        one, two = (cases[json.dumps(sizes)] for sizes in [{**start, **base}, {**start, **base, name: value}])
        exponent = math.log2(two[1] / one[1])
        print(f"| {name} | {one[1]:.2f} | {two[1]:.2f} | {exponent:.2f} | {one[2] / 2**20:.0f}, {two[2] / 2**20:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("make", help="write the synthetic case")
    making.add_argument("dir")
    making.add_argument("--hidden", type=int, default=1024)
    making.add_argument("--layers", type=int, default=14)
    making.add_argument("--vocabulary", type=int, default=16384)
    making.add_argument("--checkpoints", type=int, default=CHECKPOINTS)
    making.add_argument("--experts", type=int, default=0, help="experts of every layer; 0 for a dense model")
    making.add_argument("--control", type=int, choices=[0, 1], default=1, help="whether there is a control")
    making.set_defaults(do=make)
    running = commands.add_parser("run", help="measure")
    running.add_argument("dir")
    running.add_argument("--binary", default="target/release/scratchproof")
    running.add_argument("--against", help="another build of the program, measured in turn")
    running.add_argument("--rounds", type=int, default=3)
    running.set_defaults(do=run)
    growing = commands.add_parser("grow", help="measure how the cost grows")
    growing.add_argument("dir")
    growing.add_argument("--binary", default="target/release/scratchproof")
    growing.add_argument("--rounds", type=int, default=1)
    growing.set_defaults(do=grow)
    arguments = parser.parse_args()
    arguments.do(arguments)


if __name__ == "__main__":
    main()
