"""Facts about the installation that `clipapps doctor` prints: each a finding with a level and, if needed, a cure."""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OK, NOTE, BROKEN = "ok", "note", "broken"

# Distributions that install the same import name: any one of a row serves a requirement on another of that row.
INTERCHANGEABLE = (
    ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    ("open3d-cpu", "open3d"),
)
# Import names that two unrelated distributions are known to claim; with both installed files overwrite each other.
CONTESTED_NAMES = ("mmengine", "mmcv", "mmseg", "decord", "cv2", "open3d")
UPSTREAM = {"mmengine": "onedl-mmengine", "mmcv": "onedl-mmcv", "mmsegmentation": "onedl-mmsegmentation",
            "decord": "decord2"}
# Shared library, Debian/Ubuntu package, distributions that link to it, Python packages that bring their own copy.
SYSTEM_LIBRARIES = (
    ("libGL.so.1", "libgl1", ("opencv-python", "opencv-contrib-python", "open3d", "open3d-cpu"), ()),
    ("libglib-2.0.so.0", "libglib2.0-0", ("opencv-python", "opencv-contrib-python"), ()),
    ("libX11.so.6", "libx11-6", ("open3d", "open3d-cpu"), ()),
    ("libEGL.so.1", "libegl1", ("open3d", "open3d-cpu"), ()),
    ("libidn2.so.0", "libidn2-0", ("open3d", "open3d-cpu"), ()),
    ("libudev.so.1", "libudev1", ("open3d", "open3d-cpu"), ()),
    ("libusb-1.0.so.0", "libusb-1.0-0", ("open3d", "open3d-cpu"), ("libusb-package",)),
)
LOW_DISK_GB = 5.0
LOW_SHARED_MEMORY_GB = 0.5


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was found, how bad it is, and the command or step that mends it."""

    text: str
    level: str = OK
    cure: str = ""


def installed() -> dict[str, str]:
    """Canonical name -> version of every installed distribution."""
    return {canonicalize_name(name): distribution.version for distribution in metadata.distributions()
            if (name := distribution.metadata["Name"])}


def system() -> Iterator[Finding]:
    """Python, platform and where clipapps is imported from."""
    import clipapps

    yield Finding(f"clipapps {clipapps.__version__} in {Path(clipapps.__file__).parent}")
    yield Finding(f"Python {platform.python_version()} in {sys.prefix}")
    yield Finding(f"{platform.platform()}, {os.cpu_count()} CPU cores")


def requirements(versions: dict[str, str]) -> Iterator[Finding]:
    """Every requirement of the installed clipapps: required ones, then each extra with its install command."""
    groups = _requirements_by_extra()
    for requirement in groups.pop("", []):
        yield _check(requirement, versions, BROKEN, f"pip install '{requirement}'")
    for extra, wanted in sorted(groups.items()):
        missing = [r for r in wanted if _check(r, versions, NOTE, "").level != OK]
        if missing:
            yield Finding(f"extra [{extra}]: missing {', '.join(str(r) for r in missing)}", NOTE,
                          f'pip install "clipapps[{extra}]"')
        elif wanted:
            have = (_check(r, versions, NOTE, "").text for r in wanted)
            yield Finding(f"extra [{extra}]: complete ({', '.join(have)})")


def _requirements_by_extra() -> dict[str, list[Requirement]]:
    """Extra -> its own requirements, the empty name for the required ones; references between extras are left out."""
    groups: dict[str, list[Requirement]] = {"": []}
    try:
        lines = metadata.requires("clipapps") or []
        extras = metadata.metadata("clipapps").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return groups
    for line in lines:
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) == "clipapps":
            continue
        marker, requirement.marker = requirement.marker, None
        if marker is None or marker.evaluate({"extra": ""}):
            groups[""].append(requirement)
            continue
        for extra in extras:
            if marker.evaluate({"extra": extra}):
                groups.setdefault(extra, []).append(requirement)
    return groups


def _serving(name: str, versions: dict[str, str]) -> str | None:
    """The installed distribution that serves a requirement on `name`: itself, or one that takes its place."""
    row = next((row for row in INTERCHANGEABLE if canonicalize_name(name) in row), ())
    return next((other for other in (name, *row) if canonicalize_name(other) in versions), None)


def _check(requirement: Requirement, versions: dict[str, str], level: str, cure: str) -> Finding:
    name = _serving(requirement.name, versions)
    if name is None:
        return Finding(f"{requirement.name}: not installed", level, cure)
    version = versions[canonicalize_name(name)]
    if not requirement.specifier.contains(version, prereleases=True):
        return Finding(f"{name} {version}: {requirement.specifier} is needed", level, cure)
    return Finding(f"{name} {version}")


def conflicts(versions: dict[str, str]) -> Iterator[Finding]:
    """Distributions that overwrite each other's files, or upstream ones in the place of the maintained forks."""
    owners = metadata.packages_distributions()
    for name in CONTESTED_NAMES:
        claimed = sorted(set(owners.get(name, [])))
        if len(claimed) > 1:
            yield Finding(f"{' and '.join(claimed)} both install {name!r}: their files overwrite each other", BROKEN,
                          f"pip uninstall -y {' '.join(claimed)} && pip install --force-reinstall --no-deps "
                          f"{_preferred(claimed)}")
        elif claimed and canonicalize_name(claimed[0]) in UPSTREAM:
            fork = UPSTREAM[canonicalize_name(claimed[0])]
            yield Finding(f"{claimed[0]} is installed where the maintained {fork} is needed", BROKEN,
                          f"pip uninstall -y {claimed[0]} && pip install {fork}")


def _preferred(claimed: list[str]) -> str:
    """Of distributions that claim one name, the one to keep."""
    return next((name for name in claimed if canonicalize_name(name) in UPSTREAM.values()), claimed[0])


def libraries(versions: dict[str, str]) -> Iterator[Finding]:
    """System libraries that installed packages link to; one that no package here needs is not mentioned."""
    if sys.platform != "linux":
        return
    absent = []
    for library, package, needed_by, brought_by in SYSTEM_LIBRARIES:
        users = [name for name in needed_by if name in versions]
        if not users or any(name in versions for name in brought_by) or _loads(library):
            continue
        absent.append(package)
        yield Finding(f"{library} is missing; {', '.join(users)} needs it", BROKEN,
                      f"sudo apt-get install -y {package}")
    if not absent:
        yield Finding("all system libraries that the installed packages need are there")


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def imports() -> Iterator[Finding]:
    """Whether the packages with compiled parts can be imported at all."""
    for name in ("torch", "torchvision", "cv2"):
        try:
            importlib.import_module(name)
        except Exception as error:  # an extension module can fail with anything
            yield Finding(f"import {name} fails: {error}", BROKEN, f"pip install --force-reinstall {name}"
                          if name != "cv2" else "see the system libraries above")


def accelerator() -> Iterator[Finding]:
    """GPUs as torch sees them."""
    try:
        import torch
    except Exception:  # reported by `imports`
        return
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
        yield Finding(f"no GPU in use (torch {torch.__version__} is {built}); {torch.get_num_threads()} CPU threads")
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        gpu = torch.cuda.get_device_properties(index)
        yield Finding(f"GPU {index}: {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, "
                      f"capability {gpu.major}.{gpu.minor}, CUDA {torch.version.cuda}")


def disk() -> Iterator[Finding]:
    """Free space where runs are written and where temporary files go, and shared memory for data-loader workers."""
    places = {"this folder": Path.cwd(), "temporary files": Path(os.environ.get("TMPDIR", "/tmp"))}
    for name, place in places.items():
        free = shutil.disk_usage(place).free / 2**30
        level = NOTE if free < LOW_DISK_GB else OK
        yield Finding(f"{free:.1f} GiB free for {name} ({place})", level, "free some space" if level == NOTE else "")
    shared = Path("/dev/shm")
    if shared.is_dir() and (size := shutil.disk_usage(shared).total / 2**30) < LOW_SHARED_MEMORY_GB:
        yield Finding(f"only {size:.2f} GiB of shared memory: data-loader workers may die with a bus error", NOTE,
                      "start the container with --shm-size=2g, or set num_workers=0")


def plugins() -> Iterator[Finding]:
    """Every project plugin, and why a broken one cannot be used."""
    from clipapps.project import BrokenProject, discover

    for name, project in discover().items():
        if isinstance(project, BrokenProject):
            yield Finding(f"{name}: broken, {project.reason}", NOTE, "update or uninstall the package that brings it")
        else:
            yield Finding(f"{name}: {project.package}")
