"""What is linked into the program: a CycloneDX 1.6 bill, and the texts of the licences. From `cargo metadata` and Cargo.lock.

    python3 .ci/sbom.py BILL.cdx.json LICENCES.txt
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

NAMES = ("licen", "copying", "notice", "copyright", "unlicense")


def linked(metadata: dict) -> list[str]:
    """Ids of the packages that are reached from the program over ordinary dependencies."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    seen, ahead = set(), [metadata["resolve"]["root"]]
    while ahead:
        own = ahead.pop()
        if own in seen:
            continue
        seen.add(own)
        for dependency in nodes[own]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                ahead.append(dependency["pkg"])
    return sorted(seen)


def main() -> None:
    bill, licences = map(Path, sys.argv[1:])
    words = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline"]
    words += ["--filter-platform", subprocess.check_output(["rustc", "--print", "host-tuple"], text=True).strip()]
    metadata = json.loads(subprocess.check_output(words))
    packages = {package["id"]: package for package in metadata["packages"]}
    lock = tomllib.loads(Path("Cargo.lock").read_text())["package"]
    checksums = {(own["name"], own["version"]): own.get("checksum") for own in lock}
    root = packages[metadata["resolve"]["root"]]
    components, texts = [], []
    for package in (packages[own] for own in linked(metadata)):
        if package["source"] is None:
            continue  # a room of our own
        reference = f"pkg:cargo/{package['name']}@{package['version']}"
        component = {
            "type": "library",
            "bom-ref": reference,
            "name": package["name"],
            "version": package["version"],
            "purl": reference,
            "scope": "required",
        }
        checksum = checksums.get((package["name"], package["version"]))
        if checksum:
            component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        if package["license"]:
            component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        components.append(component)
        folder = Path(package["manifest_path"]).parent
        found = [path for path in sorted(folder.iterdir()) if path.name.lower().startswith(NAMES) and path.is_file()]
        texts.append(f"{'=' * 80}\n{package['name']} {package['version']}: {package['license'] or 'see below'}\n")
        texts += [f"{'-' * 80}\n{path.name}\n\n{path.read_text(errors='replace').strip()}\n" for path in found]
    value = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "scratchproof",
                "name": root["name"],
                "version": root["version"],
                "licenses": [{"expression": root["license"]}],
            }
        },
        "components": components,
    }
    bill.write_text(json.dumps(value, indent=2) + "\n")
    licences.write_text("\n".join(texts))
    print(f"{len(components)} packages are linked: {bill}, {licences}")


if __name__ == "__main__":
    main()
