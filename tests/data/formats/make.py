"""Makes the golden audit of this version: `python3 make.py PROGRAM`. Once a version; what is there stays.

Three checkpoints of a model of two layers, drawn and moved at random, a parent that is another draw, and a log; `audit-VERSION` is
what `audit` leaves of them, `fingerprint-VERSION.safetensors` what `fingerprint` makes of the parent.
"""

import json
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HIDDEN, LAYERS, ROWS, MIDDLE = 16, 2, 48, 32


def shapes():
    yield "model.embed_tokens.weight", (ROWS, HIDDEN)
    for layer in range(LAYERS):
        start = f"model.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield f"{start}self_attn.{name}.weight", (HIDDEN, HIDDEN)
        yield f"{start}mlp.gate_proj.weight", (MIDDLE, HIDDEN)
        yield f"{start}mlp.up_proj.weight", (MIDDLE, HIDDEN)
        yield f"{start}mlp.down_proj.weight", (HIDDEN, MIDDLE)
        yield f"{start}input_layernorm.weight", (HIDDEN,)
        yield f"{start}post_attention_layernorm.weight", (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (ROWS, HIDDEN)


def save(folder, values):
    folder.mkdir(parents=True)
    header, data = {}, b""
    for name, shape in shapes():
        part = struct.pack(f"<{len(values[name])}f", *values[name])
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "vocab_size": ROWS}
    config |= {"num_hidden_layers": LAYERS, "intermediate_size": MIDDLE, "num_attention_heads": 2, "num_key_value_heads": 2}
    (folder / "config.json").write_text(json.dumps(config))


def drawn(chance):
    def of(name, shape):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        return [1.0] * count if len(shape) == 1 else [chance.gauss(0, 0.02) for _ in range(count)]

    return {name: of(name, shape) for name, shape in shapes()}


def main():
    program, here = sys.argv[1], Path(__file__).resolve().parent
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    version = version.rsplit(".", 1)[0]
    with tempfile.TemporaryDirectory() as folder:
        folder, chance = Path(folder), random.Random(1)
        save(folder / "parent", drawn(chance))
        own, rows = drawn(chance), []
        for step in range(0, 31, 10):
            save(folder / "checkpoints" / f"step-{step}", own)
            own = {name: [value + chance.gauss(0, 0.004) for value in values] for name, values in own.items()}
            rows.append({"_step": step, "_timestamp": 1.8e9 + step, "train/loss": 3.9 - step / 40})
        log = {"name": "golden", "state": "finished", "config": {"learning_rate": 1e-3}, "history": rows}
        (folder / "run.json").write_text(json.dumps(log))
        (folder / "case.toml").write_text(
            'schema = 1\nname = "golden"\n\n[claim]\nstatement = "from-scratch"\n\n[subject]\n'
            'checkpoints = "checkpoints/step-{step}"\n\n[[parent]]\nname = "other"\nmodel = "parent"\n\n[[run]]\nlog = "run.json"\n'
        )
        out = here / f"audit-{version}"
        shutil.rmtree(out, ignore_errors=True)
        subprocess.run([program, "-q", "audit", folder / "case.toml", "-o", folder / "out"], stdout=subprocess.DEVNULL)
        (folder / "out" / ".scratchproof-inputs").unlink(missing_ok=True)
        shutil.copytree(folder / "out", out)
        print_ = here / f"fingerprint-{version}.safetensors"
        print_.unlink(missing_ok=True)
        subprocess.run([program, "-q", "fingerprint", folder / "parent", "-o", print_], check=True)


main()
