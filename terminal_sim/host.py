"""The configuration of the machine this runs on: hardware, firmware and software, and nothing personal."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

from signalling.configuration import MAX_VALUE_BYTES, Configuration, quantised_mib

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_KEY = re.compile(r"[a-z0-9][A-Za-z0-9_.+:/~@-]{0,127}")


def read_host() -> Configuration:
    """What this machine is made of: kinds, sizes and versions; no names, serial numbers or addresses."""
    return Configuration(hardware=_hardware(), firmware=_firmware(), base_software={**_debian(), **_python()})


def _hardware() -> dict[str, str]:
    facts = {
        "architecture": platform.machine(),
        "processor": _field("/proc/cpuinfo", "model name"),
        "processors": str(os.cpu_count() or 1),
        "memory_mib": _memory(),
        "manufacturer": _line("/sys/class/dmi/id/sys_vendor"),
        "model": _line("/sys/class/dmi/id/product_name"),
    }
    return {key: value for key, value in facts.items() if value}


def _firmware() -> dict[str, str]:
    facts = {
        "kernel": platform.release(),
        "system": _field("/etc/os-release", "PRETTY_NAME", "=").strip('"'),
        "bios": _line("/sys/class/dmi/id/bios_version"),
    }
    return {key: _clean(value) for key, value in facts.items() if value}


def _memory() -> str:
    kib = _field("/proc/meminfo", "MemTotal").removesuffix("kB").strip()
    return str(quantised_mib(int(kib) // 1024)) if kib.isdigit() else ""


def _debian() -> dict[str, str]:
    try:
        listing = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\t${Version}\n"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = (line.split("\t") for line in listing.splitlines())
    packages = {f"deb/{row[1]}": _clean(row[2]) for row in rows if len(row) == 3 and row[0].startswith("ii")}
    return {key: value for key, value in packages.items() if _KEY.fullmatch(key)}


def _python() -> dict[str, str]:
    packages = {"python3": platform.python_version()}
    for distribution in importlib.metadata.distributions():
        name, version = distribution.metadata["Name"], distribution.version
        if name and version and _KEY.fullmatch(f"py/{name.lower()}"):
            packages[f"py/{name.lower()}"] = _clean(version)
    return packages


def _line(path: str) -> str:
    try:
        return _clean(Path(path).read_text(errors="replace").split("\n", 1)[0])
    except OSError:
        return ""


def _field(path: str, name: str, separator: str = ":") -> str:
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        key, found, value = line.partition(separator)
        if found and key.strip() == name:
            return _clean(value)
    return ""


def _clean(text: str) -> str:
    """Without control characters, and no longer than a value may be."""
    return _CONTROL.sub(" ", text).strip().encode()[:MAX_VALUE_BYTES].decode(errors="ignore")
