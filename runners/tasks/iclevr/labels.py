"""i-CLEVR's labels, 8 colours x 3 shapes, and conditions, which are sets of them. Neither torch nor Pillow."""

from __future__ import annotations

from runners.contents import About, Shown

# CLEVR's properties.json; Blender takes these numbers / 255 as linear reflectances.
COLOURS: dict[str, tuple[int, int, int]] = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
SHAPES = ("cube", "sphere", "cylinder")
LABELS: tuple[str, ...] = tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)  # i-CLEVR's order

ABOUT = About(
    labels=LABELS,
    facets={
        "colour": tuple(label.split()[0] for label in LABELS),
        "shape": tuple(label.split()[1] for label in LABELS),
    },
    palette={name: "#{:02x}{:02x}{:02x}".format(*rgb) for name, rgb in COLOURS.items()},
    noun="object",
    shown=Shown(
        strip=("red sphere", "cyan cylinder", "cyan cube"),  # of the denoising strips of two of the reports
        interpolation=(("red sphere",), ("blue cube", "yellow cylinder")),
    ),
)
multi_hot = ABOUT.hot
