"""A script that trains, interrupted at any step."""

import importlib.util
import json
import os
import signal
import sys

import torch


def interrupt(path, trainer, config, steps, monkeypatch, capsys, request):
    """By Ctrl-C and SIGTERM; lines of steps that a kill took away do not stay in the curve.

    ``path`` is the script, ``trainer`` its class with ``train_step``, ``config`` a file by which it makes so many
    ``steps``.
    """
    spec = importlib.util.spec_from_file_location(f"{path.stem}_script", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    real, output = trainer.train_step, config.parent / "run"
    arguments = ["--config", config, "--output", output, "--threads", 1, "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])

    # a shell's background job has it ignored
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, usual))

    def told():
        assert script.main() == 2
        return capsys.readouterr().err

    for last, number in ((2, signal.SIGINT), (3, signal.SIGTERM)):

        def stopped(self, last=last, number=number):
            losses = real(self)
            if self.step == last:
                os.kill(os.getpid(), number)
            return losses

        monkeypatch.setattr(trainer, "train_step", stopped)
        assert script.main() == 75
        said = f"Interrupted after step {last} of {steps}; the same command goes on"
        assert said in capsys.readouterr().err
        assert torch.load(output / "state.pt", weights_only=True)["step"] == last
        with (output / "losses.jsonl").open("a") as lines:
            lines.write('{"step": 99}\n')
    monkeypatch.setattr(trainer, "train_step", real)
    assert script.main() == 0
    curve = (output / "losses.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in curve] == list(range(steps))
    capsys.readouterr()

    (output / "state.pt").write_bytes((output / "state.pt").read_bytes()[:5000])
    assert "state.pt' is damaged or no state of such a run: remove it" in told()
    sys.argv[-1] = "gpu"
    assert "no device 'gpu'" in told()
    sys.argv[sys.argv.index("--output") + 1] = str(config / "run")
    assert "cannot be written" in told()
