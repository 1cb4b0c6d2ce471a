"""What a detector YAML may say: a few numbers per face, checked strictly, every error in one line."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from xecgnn.settings import Settings, parse_yaml, validated

__all__ = ["Cylinder", "Description", "Endcap", "Hex", "parse_description"]

Side = Literal["first_row", "last_row", "first_col", "last_col"]
Range = tuple[Annotated[int, Field(ge=0)], PositiveInt]  # [from, to): to excluded


class _Entry(Settings):
    """Base of all entries: immutable, without infinities."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class SensorEntry(_Entry):
    """A kind of sensor; `size` is the half width of its active square or the radius of its active disc (cm)."""

    shape: Literal["square", "disc"]
    size: PositiveFloat
    efficiency: float = Field(gt=0, le=1)


class BlockEntry(_Entry):
    """A finer lattice that replaces the cells `rows` x `cols` of a cylinder face, whose ids it keeps among its own."""

    rows: Range
    cols: Range
    pitch_z: PositiveFloat
    ids: list[list[int]]

    @model_validator(mode="after")
    def _rectangular(self) -> BlockEntry:
        lengths = {len(row) for row in self.ids}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"ids must be rows of one length, found lengths {sorted(lengths)}")
        for name, (low, high) in (("rows", self.rows), ("cols", self.cols)):
            if low >= high:
                raise ValueError(f"{name} must be [from, to) with from < to, found {[low, high]}")
        return self

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.ids), len(self.ids[0])


class _FaceEntry(_Entry):
    sensor: str
    first_id: int = Field(ge=0)


class Cylinder(_FaceEntry):
    """Lattice on a cylinder around the beam: rows fill the opening angle, columns are centred on z = 0."""

    kind: Literal["cylinder"]
    shape: tuple[PositiveInt, PositiveInt]
    radius: PositiveFloat
    pitch_z: PositiveFloat
    facing: Literal["outward", "inward"]
    block: BlockEntry | None = None

    @model_validator(mode="after")
    def _block_inside(self) -> Cylinder:
        if self.block is None:
            return self
        (row0, row1), (col0, col1), (rows, cols) = self.block.rows, self.block.cols, self.shape
        if row1 > rows or col1 > cols:
            raise ValueError(f"block rows {[row0, row1]}, cols {[col0, col1]} leave the lattice of {rows} x {cols}")
        replaced = {self.first_id + row * cols + col for row in range(row0, row1) for col in range(col0, col1)}
        lost = sorted(replaced - {i for row in self.block.ids for i in row})
        if lost:
            raise ValueError(f"block lacks the ids {lost} of the cells that it replaces")
        return self


class Endcap(_FaceEntry):
    """Lattice on a cone around the beam: rows fill the opening angle, columns run in r and z from (`radius`, `z`)."""

    kind: Literal["endcap"]
    shape: tuple[PositiveInt, PositiveInt]
    radius: PositiveFloat
    pitch_radius: PositiveFloat
    z: float
    pitch_z: float


class Hex(_FaceEntry):
    """Hexagonal rows in a half plane of constant phi, an end of the opening: rows run in r, each centred on z = 0."""

    kind: Literal["hex"]
    rows: list[PositiveInt] = Field(min_length=1)
    plane: Literal["low", "high"]
    radius: PositiveFloat
    pitch_radius: PositiveFloat
    pitch_z: PositiveFloat

    @model_validator(mode="after")
    def _interleaved(self) -> Hex:
        for row, (a, b) in enumerate(zip(self.rows, self.rows[1:], strict=False)):
            if (a - b) % 2 == 0:
                raise ValueError(f"rows {row} and {row + 1} ({a} and {b} sensors) are not shifted by half a pitch")
        return self


FaceEntry = Annotated[Cylinder | Endcap | Hex, Field(discriminator="kind")]


class Description(_Entry):
    """The whole file. `faces` stand in token order; each seam names two faces and the side of each that touches."""

    name: str
    radius: PositiveFloat
    phi_opening: float = Field(gt=0, lt=360)
    sensors: dict[str, SensorEntry]
    faces: dict[str, FaceEntry] = Field(min_length=1)
    seams: list[dict[str, Side]] = Field([])

    @model_validator(mode="after")
    def _names_exist(self) -> Description:
        for name, face in self.faces.items():
            if face.sensor not in self.sensors:
                raise ValueError(f"face {name!r} has sensor {face.sensor!r}; known: {', '.join(self.sensors)}")
        for seam in self.seams:
            if len(seam) != 2 or not seam.keys() <= self.faces.keys():
                raise ValueError(f"seam {seam} must name two of the faces {', '.join(self.faces)}")
        pairs = [frozenset(seam) for seam in self.seams]
        for pair in pairs:
            if pairs.count(pair) > 1:
                raise ValueError(f"two seams between {' and '.join(sorted(pair))}; at most one is allowed")
        return self


def parse_description(text: str, source: str = "detector") -> Description:
    """Read the YAML `text`; a ValueError in one line names `source`, the key and what is allowed there."""
    return validated(Description, parse_yaml(text, source), source)
