"""Exit codes and messages of the command line."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import types

import pytest

from clipapps.cli import main as cli
from clipapps.cli.parsing import add_overrides, verb_parser
from clipapps.errors import BadSampleError, ConfigError, DiskError, NonFiniteLossError


@pytest.fixture
def verb_that(monkeypatch):
    """Install a verb `probe` that calls the given function with the parsed arguments."""

    def install(action):
        def add_parser(subparsers):
            parser = verb_parser(subparsers, "probe", "probe", action, example="clipapps probe")
            parser.add_argument("config")
            parser.add_argument("--seed", type=int)
            add_overrides(parser)

        module = types.ModuleType("clipapps.cli.probe")
        module.add_parser = add_parser
        monkeypatch.setitem(sys.modules, "clipapps.cli.probe", module)
        monkeypatch.setattr(cli, "VERBS", (*cli.VERBS, "probe"))

    return install


def raising(error):
    def action(args):
        raise error

    return action


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(("error", "code"), [
    (ConfigError("train_cfg.max_iter: unknown key. Did you mean 'max_iters'?"), 2),
    (DiskError("The checkpoint could not be written."), 3),
    (OSError(errno.ENOSPC, "No space left on device", "x.pth"), 3),
    (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 3),
    (FileExistsError(errno.EEXIST, "File exists", "out"), 2),
    (ModuleNotFoundError("No module named 'open3d'", name="open3d.core"), 2),
    (ImportError("libGL.so.1: cannot open shared object file: No such file or directory"), 2),
    (ModuleNotFoundError("No module named 'clipapps.gone'", name="clipapps.gone"), 1),
    (MemoryError(), 4),
    (OutOfMemoryError("CUDA out of memory"), 4),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 4),
    (NonFiniteLossError("The loss is not finite at iteration 7."), 5),
    (KeyboardInterrupt(), 130),
    (KeyError("stride"), 1),
], ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value))
def test_exit_code_and_message_without_traceback(clipapps_cli, verb_that, error, code):
    verb_that(raising(error))
    result = clipapps_cli("probe", "x")
    assert result.code == code
    assert "Traceback" not in result.err
    assert result.out == ""
    assert result.err.count("\n") <= 2 and result.err.strip()


@pytest.mark.parametrize("arguments", [("--traceback", "probe", "x"), ("probe", "x", "--traceback")])
def test_traceback_on_request_keeps_the_exit_code(clipapps_cli, verb_that, arguments):
    verb_that(raising(ConfigError("bad key")))
    result = clipapps_cli(*arguments)
    assert result.code == 2
    assert "Traceback (most recent call last)" in result.err
    assert result.err.rstrip().endswith("error: bad key")


@pytest.mark.parametrize(("error", "said"), [
    (OSError(errno.ENOSPC, "No space left on device", "x.pth"), "No space left on device: x.pth"),
    (FileExistsError(errno.EEXIST, "File exists", "out"), "File exists: out"),
    (ModuleNotFoundError("No module named 'open3d'", name="open3d.core"), "The package 'open3d' is not installed."),
    (ImportError("libGL.so.1: cannot open shared object file: No such"), "The system library libGL.so.1 is missing."),
])
def test_message_names_what_is_wrong(clipapps_cli, verb_that, error, said):
    verb_that(raising(error))
    assert said in clipapps_cli("probe", "x").err


def test_unexpected_error_names_itself_and_the_way_out(clipapps_cli, verb_that):
    verb_that(raising(KeyError("stride")))
    result = clipapps_cli("probe", "x")
    assert result.err.startswith("error: KeyError: 'stride'\n")
    assert "--traceback" in result.err


@pytest.mark.parametrize(("error", "code", "message"), [
    (BadSampleError("a.png does not decode.\nRemove it or mend it."), 2,
     "error: a.png does not decode.\nRemove it or mend it.\n"),
    (ValueError("bad size"), 1, "error: ValueError: bad size\n"),
])
def test_error_in_a_data_loader_worker_shows_only_its_own_sentence(clipapps_cli, verb_that, error, code, message):
    from torch.utils.data import DataLoader, Dataset

    class Broken(Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            raise error

    verb_that(lambda args: list(DataLoader(Broken(), num_workers=1)) and 0)
    result = clipapps_cli("probe", "x")
    assert result.code == code
    assert result.err.startswith(message)
    assert "Traceback" not in result.err and "worker process" not in result.err


def test_overrides_arrive_in_both_spellings(clipapps_cli, verb_that):
    seen = {}
    verb_that(lambda args: seen.update(vars(args)) or 0)
    assert clipapps_cli("probe", "a.py", "x.y=1", "--cfg-options", "b=2", "c=[1,2]", "--seed", "3", "d=e=f").code == 0
    assert seen["overrides"] == ["b=2", "c=[1,2]", "x.y=1", "d=e=f"]
    assert seen["config"] == "a.py" and seen["seed"] == 3


@pytest.mark.parametrize(("arguments", "said"), [
    (("lst",), "There is no verb 'lst'. Did you mean 'list'?"),
    (("probe",), "the following arguments are required: config"),
    (("probe", "a.py", "--sed", "1"), "unknown option '--sed'. Did you mean '--seed'?"),
    (("probe", "a.py", "b.py"), "unexpected argument 'b.py'; an override is written a.b=c"),
    (("list", "project"), "invalid choice: 'project'"),
])
def test_wrong_command_line_is_refused_with_code_2(clipapps_cli, verb_that, arguments, said):
    verb_that(lambda args: 0)
    result = clipapps_cli(*arguments)
    assert result.code == 2
    assert said in result.err


def test_no_verb_shows_help_and_fails(clipapps_cli):
    result = clipapps_cli()
    assert result.code == 2 and "clipapps <verb> --help" in result.out


def test_libraries_below_are_told_to_load_safely(clipapps_cli, verb_that, monkeypatch):
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    verb_that(lambda args: 0 if os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1" else 9)
    assert clipapps_cli("probe", "x").code == 0


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help_with_an_example(clipapps_cli, verb):
    result = clipapps_cli(verb, "--help")
    assert result.code == 0
    examples = result.out.partition("example:\n")[2]
    assert f"clipapps {verb}" in examples
    assert "--traceback" in result.out
    assert max(map(len, result.out.splitlines())) <= 120


def test_top_help_lists_every_verb(clipapps_cli):
    listed = clipapps_cli("--help").out
    assert re.findall(r"^    (\w+)\b", listed, flags=re.MULTILINE) == list(cli.VERBS)


@pytest.mark.parametrize("code", [
    "import clipapps",
    "import clipapps.projects.denseclip, clipapps.projects.pretrain",
    "from clipapps.cli.main import main; main(['--help'])",
    "from clipapps.cli.main import main; main(['train', '--help'])",
    "from clipapps.cli.main import main; main(['list', 'projects'])",
])
def test_light_commands_import_nothing_heavy(code):
    heavy = "{'torch', 'numpy', 'mmengine', 'mmcv', 'mmseg', 'open_clip', 'cv2', 'PIL', 'matplotlib'}"
    check = f"import sys\n{code}\nsys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(f"{sys.executable} -m clipapps list projects --json | head -c 1", shell=True,
                          capture_output=True, text=True, check=False)
    assert done.stderr == ""
