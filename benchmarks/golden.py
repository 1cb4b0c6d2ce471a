"""Are the numbers still the same? Small runs of every kind on mini, stored by two states of the code, compared.

Usage: python benchmarks/golden.py store FOLDER
       python benchmarks/golden.py compare BEFORE AFTER

`store` simulates events and goes through the commands: training with all tasks (20 steps), pretraining, inpainting,
export, inference, filling. It keeps weights, losses, predictions, tables, the order of the events of three epochs, and
outputs of the ONNX file. `compare` prints what differs by more than 1e-6 of the values' size.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TOLERANCE = 1e-6
# Muon works in bf16, and LayerNorm over the two channels of encoder_dim 64 is nearly a step: both make differences of
# the last bit large.
SMALL = ["--detector", "mini", "--model.encoder_dim", "256", "--model.hex_dim", "16", "--model.hex_depth", "1"]
SMALL += ["--training.optimizer", "adamw", "--training.lr", "1e-4", "--model.depths", "[1,1]"]
SMALL += ["--data.batch_size", "32", "--logging.mlflow", "false", "--logging.tensorboard", "false"]
SMALL += ["--data.train_path", "train_0.root", "train_1.root", "--data.val_path", "val.root", "--data.num_workers", "0"]
TASKS = [f"--tasks.{name}.enabled=true" for name in ("energy", "timing", "uvwFI", "angleVec", "n_gamma")]
# Names of weights before the graph became the definition -> after it.
LEVEL = r"(backbone\.encoder\..*)<"
RENAMED = (
    (r"^(.*objective\.model\.|)encoder\.", r"\1backbone.encoder."),
    (r"^(.*objective\.model\.|)fusion\.", r"\1backbone.fusion."),
    (r"backbone\.encoder\.normalizer\.", "backbone.normalizer."),
    (LEVEL + r"(\w+_[12])___lattice___\2>", r"\1<\2___window___\2>"),
    (LEVEL + r"(\w+?)___lattice___(\w+?_1)>", r"\1<\2___stem___\3>"),
    (LEVEL + r"(\w+?)___lattice___(\w+?_2)>", r"\1<\2___down___\3>"),
    (r"decoder\.lattice\.(.*)<(\w+?)___lattice___(\w+?)>", r"decoder.blocks.lattice.\1<\2_patch___window___\3_patch>"),
    (r"decoder\.hex\.layers", "decoder.blocks.hex.layers"),
    (r"decoder\.(lattice|hex)_head\.", r"decoder.heads.\1."),
    (r"(lattice|hex)_local\.", r"local.\1."),
    (r"local\.lattice\.(.*)<(\w+?)___lattice___(\w+?)>", r"local.lattice.\1<\2___around___\3>"),
    (r"(lattice|hex)_global\.", r"\1_token."),
    (r"(^|model\.)(lattice|hex)_head\.", r"\1heads.\2."),
    # Names before a layout became a class -> after it.
    (r"encoder\.(lattice|hex)\.(layers)", r"encoder.\1.stack.\2"),
    (r"encoder\.light_weights\.(lattice|hex)\.", r"encoder.\1.light."),
    (r"encoder\.hex_projection\.", r"encoder.hex.projection."),
    (r"decoder\.grid\.linear\.", "decoder.context.lattice."),
    (r"decoder\.hex_linear\.", "decoder.context.hex."),
    (r"(^|model\.)(lattice|hex)_token\.(linear\.)?", r"\1context.\2."),
)
TIMED = ("sec", "mb", "samples", "batches")  # columns of a run's table that are never the same


def run(command: str, *arguments: str) -> None:
    """A command of the package, in this folder."""
    module = {"inpaint": "from xecgnn.cli.pretrain import inpaint as main"}
    code = f"{module.get(command, f'from xecgnn.cli.{command} import main')}; main()"
    print("xecgnn-" + command, flush=True)
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"xecgnn-{command} failed:\n{result.stderr[-2000:]}")
    Path(f"{command}.txt").write_text(result.stdout)


def store() -> None:
    """Fill the working directory."""
    for name, events, seed in (("train_0", 32, 1), ("train_1", 32, 2), ("val", 40, 3)):
        options = "--detector", "mini", "--events", str(events), "--seed", str(seed), "--output", f"{name}.root"
        run("simulate", *options, "--pileup")
    run("train", "angle.yaml", *SMALL, *TASKS, "--training.epochs", "10", "--run_name", "train")  # 20 steps
    for kind in ("pretrain", "inpaint"):
        options = "--training.epochs", "3", "--run_name", kind, "--save_predictions", "true"
        run(kind, f"{kind}.yaml", *SMALL, *options)
    best = "checkpoint_best.pth"
    run("export", f"artifacts/train/{best}", "--output", "model.onnx")
    run("infer", "--onnx", "model.onnx", "--input", "val.root", "--output", "inferred.root", "--csv", "inferred.csv")
    run("fill", f"artifacts/inpaint/{best}", "--input", "val.root", "--output", "filled.root")
    np.save("order.npy", event_order())
    np.savez("onnx.npz", **onnx_outputs())


def event_order() -> np.ndarray:
    """Event numbers of three shuffled epochs."""
    from xecgnn.data import DataConfig, EventLoader
    from xecgnn.detector import load_detector

    config = DataConfig(batch_size=8, chunksize=32, num_workers=0)
    loader = EventLoader(["train_0.root", "train_1.root"], load_detector("mini"), config, shuffle=True, seed=5)
    batches = [batch for _ in range(3) for batch in loader]
    return np.concatenate([1000 * batch.run.numpy() + batch.event.numpy() for batch in batches])


def onnx_outputs() -> dict[str, np.ndarray]:
    """What the exported network says to fixed readings, invalid ones among them."""
    import onnxruntime

    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feed = {}
    for entry, (low, high) in zip(session.get_inputs(), ((0, 3000), (0, 2e-7)), strict=True):
        values = rng.uniform(low, high, (8, entry.shape[1])).astype(np.float32)
        values[rng.random(values.shape) < 0.1] = 1e10
        feed[entry.name] = values
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def renamed(name: str) -> str:
    """The present name of a weight."""
    for pattern, new in RENAMED:
        name = re.sub(pattern, new, name)
    return name


def numbers(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """All that was stored, by name."""
    import torch
    import uproot

    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".pth" and "best" in path.name:
            state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
            for key, value in state.items():
                if key.startswith("objective.model."):
                    yield f"{name}: {renamed(key)}", np.asarray(value)
        elif path.suffix == ".root" and path.name != "events.root":
            with uproot.open(path) as file:
                for key, values in file["tree"].arrays(library="np").items():
                    yield f"{name}: {key}", values
        elif path.suffix == ".csv" and not path.name.startswith("inferred"):
            with path.open() as file:
                rows = list(csv.DictReader(file))
            for key in rows[0] if rows else ():
                if not any(word in key for word in TIMED):
                    texts = np.array([row[key] or "nan" for row in rows])
                    is_number = all(text.lstrip("-")[:1].isdigit() or text in ("nan", "inf") for text in texts)
                    yield f"{name}: {key}", texts.astype(float) if is_number else texts
        elif path.suffix == ".npy":
            yield name, np.load(path)
        elif path.suffix == ".npz":
            yield from ((f"{name}: {key}", values) for key, values in np.load(path).items())


def compare(before: Path, after: Path) -> int:
    """Print the differences; their number."""
    old, new, found = dict(numbers(before)), dict(numbers(after)), 0
    for name in dict.fromkeys([*old, *new]):
        if name not in old or name not in new:
            print(f"only in {after if name in new else before}: {name}")
        elif old[name].shape != new[name].shape:
            print(f"{name}: shape {old[name].shape} became {new[name].shape}")
        elif old[name].dtype.kind in "fiub":
            a, b = old[name].astype(float), new[name].astype(float)
            size = np.nanmax(np.abs(np.where(np.abs(a) < 9e9, a, 0)), initial=0)
            shift = np.nanmax(np.abs(a - b), initial=0) if (np.isnan(a) == np.isnan(b)).all() else np.inf
            if shift <= TOLERANCE * size:
                continue
            print(f"{name}: differs by {shift:.3g} of {size:.3g}")
        else:
            continue
        found += 1
    print(f"{len(old)} arrays before, {len(new)} after, {found} differ")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("store", "compare"))
    parser.add_argument("folders", type=Path, nargs="+")
    options = parser.parse_args()
    if options.action == "store":
        import os

        options.folders[0].mkdir(parents=True)
        os.chdir(options.folders[0])
        store()
    else:
        raise SystemExit(compare(*options.folders) > 0)


if __name__ == "__main__":
    main()
