"""Speed of the network: `python benchmarks/model.py [--seconds 5] [--threads 2]`.

Prints events/s for inference and for a full training step (forward, loss, backward, AdamW), the ConvNeXt stack next to
the same stack in bare `torch.nn`, and message passing next to the dense execution. fp32, random readings, MEG II.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from record import Recorder, add_record_option
from xecgnn import load_detector
from xecgnn.data import Readings
from xecgnn.models import LatticeLayout, ModelConfig, XECModel
from xecgnn.nn import LatticeConv, NormalizationConfig, Table, Topology
from xecgnn.nn.face_encoder import Edges

BATCH, MESSAGE_BATCH = 32, 4


class Angle(nn.Module):
    """What the model needs of a task: the width of its head."""

    num_outputs = 2

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        return {"angle": raw}


TASKS = nn.ModuleDict({"angle": Angle()})


class BareBlock(nn.Module):
    """ConvNeXt V2 block on (B, C, H, W) tensors in channels_last, written with torch.nn alone."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.expand, self.project = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.gamma, self.beta = nn.Parameter(torch.zeros(4 * dim)), nn.Parameter(torch.zeros(4 * dim))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x).permute(0, 2, 3, 1)
        h = F.gelu(self.expand(self.norm(h)))
        norm = torch.linalg.vector_norm(h, dim=(1, 2), keepdim=True)
        h = torch.addcmul(self.beta, h, 1 + self.gamma * norm / (norm.mean(-1, keepdim=True) + 1e-6))
        return x + self.project(h).permute(0, 3, 1, 2)


class BareStack(nn.Module):
    """The lattice encoder for one face, written with torch.nn alone."""

    def __init__(self, width: int, depths: tuple[int, int] = (2, 3)) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(2, width, 4, padding=1), nn.Conv2d(width, 2 * width, 2, 2)
        self.stem_norm, self.down_norm = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.first = nn.Sequential(*(BareBlock(width) for _ in range(depths[0])))
        self.second = nn.Sequential(*(BareBlock(2 * width) for _ in range(depths[1])))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self._normalise(self.stem_norm, self.stem(x)))
        return self.second(self.down(self._normalise(self.down_norm, x)))

    def _normalise(self, norm: nn.LayerNorm, x: Tensor) -> Tensor:
        return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def timed(*functions: Callable[[], object], seconds: float) -> list[float]:
    """Median time of each function in s, measured in turns so that a noisy machine is noisy for all."""
    times: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    start = time.perf_counter()
    while time.perf_counter() - start < seconds * len(functions) or len(times[0]) < 3:
        for function, record in zip(functions, times, strict=True):
            begin = time.perf_counter()
            function()
            record.append(time.perf_counter() - begin)
    return [sorted(record)[len(record) // 2] for record in times]


def random_readings(detector, batch: int) -> Readings:
    return Readings(torch.rand(batch, detector.num_sensors, 2) * torch.tensor([3000.0, 1e-7]))


def training_step(module: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-5)

    def step() -> None:
        module.train()
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def inference(module: nn.Module, *arguments, **keywords) -> Callable[[], object]:
    @torch.no_grad()
    def run() -> object:
        module.eval()
        return module(*arguments, **keywords)

    return run


def benchmark_model(detector, dim: int, seconds: float, record: Recorder) -> None:
    model = XECModel(detector, ModelConfig(encoder_dim=dim), NormalizationConfig(), TASKS)
    x, y = random_readings(detector, BATCH), torch.randn(BATCH, 2)
    step = training_step(model, lambda: F.smooth_l1_loss(model.raw_outputs(x)["angle"], y))
    forward, full = timed(inference(model, x), step, seconds=seconds)
    few = random_readings(detector, MESSAGE_BATCH)
    graph = model.backbone.spec.batch(few)
    dense, messages = timed(inference(model, few), inference(model, graph), seconds=seconds)
    print(f"encoder_dim {dim:4d}   inference {BATCH / forward:7.1f} events/s   training {BATCH / full:7.1f} events/s")
    print(
        f"   batch {MESSAGE_BATCH}: dense {MESSAGE_BATCH / dense:7.1f}   "
        f"message passing {MESSAGE_BATCH / messages:7.1f} events/s   ({messages / dense:.1f} x slower)"
    )
    record(f"inference, encoder_dim {dim}", BATCH / forward, "events/s", "higher")
    record(f"training, encoder_dim {dim}", BATCH / full, "events/s", "higher")
    record(f"message passing over dense, encoder_dim {dim}", messages / dense, "ratio", "lower")


def benchmark_stack(detector, dim: int, seconds: float, record: Recorder) -> None:
    shape, width = detector.faces["inner"].shape, dim // 32
    config = ModelConfig(encoder_dim=dim)
    backbone = XECModel(detector, config, NormalizationConfig(), TASKS).backbone
    ours, edges = LatticeLayout(["inner"], backbone.spec, config).stack, Edges(dict(backbone.tables.items()))
    flat = {"inner": torch.randn(BATCH * shape[0] * shape[1], 2)}
    bare, image = BareStack(width), flat["inner"].view(BATCH, *shape, 2).permute(0, 3, 1, 2)
    bare.to(memory_format=torch.channels_last)
    forward = timed(inference(ours, flat, edges, {}), inference(bare, image), seconds=seconds)
    full = timed(
        training_step(ours, lambda: ours(flat, edges, {})["inner_2"].square().mean()),
        training_step(bare, lambda: bare(image).square().mean()),
        seconds=seconds,
    )
    for name, (a, b) in {"inference": forward, "training": full}.items():
        print(f"   ConvNeXt stack, inner, {name:9s}: ours {a * 1e3:7.1f} ms, bare {b * 1e3:7.1f} ms, ratio {a / b:.3f}")
        record(f"stack over torch.nn, {name}, encoder_dim {dim}", a / b, "ratio", "lower")


def benchmark_adjacency(detector, dim: int, seconds: float) -> None:
    """One 7 x 7 window of the inner face as edge_index and as SparseTensor, whose sorted rows torch-scatter reduces."""
    try:
        from torch_sparse import SparseTensor
    except ImportError:
        print("   SparseTensor: torch-sparse is not installed (extra [pyg])")
        return
    width = dim // 32
    topology = Topology.windows(detector.faces["inner"].shape, (7, 7), padding=3)
    conv, x = LatticeConv(width, width, 7, groups=width), torch.randn(MESSAGE_BATCH * topology.num_source, width)
    batch = topology.repeat(MESSAGE_BATCH)
    edges, taps = batch.edge_index, batch.edge_type
    adjacency = SparseTensor(row=edges[1], col=edges[0], value=taps, sparse_sizes=(len(x), len(x)))
    runs = (inference(conv, x, Table(topology)), inference(conv, x, edges, taps), inference(conv, x, adjacency))
    dense, index, sparse = (MESSAGE_BATCH / t for t in timed(*runs, seconds=seconds))
    print(f"   7 x 7 window: dense {dense:.0f}, edge_index {index:.1f}, SparseTensor {sparse:.1f} events/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each figure, s")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--dims", type=int, nargs="+", default=[1024, 256], help="encoder_dim")
    add_record_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    detector, record = load_detector("meg2"), Recorder("model", options.record)
    print(f"{platform.processor() or platform.machine()}, {options.threads} threads, torch {torch.__version__}, fp32")
    for dim in options.dims:
        benchmark_model(detector, dim, options.seconds, record)
        benchmark_stack(detector, dim, options.seconds, record)
        benchmark_adjacency(detector, dim, options.seconds)


if __name__ == "__main__":
    main()
