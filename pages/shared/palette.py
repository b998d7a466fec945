"""Colours and symbols; a technique has the same on every page. Okabe and Ito's palette, safe for colour blindness."""

from typing import Literal

Theme = Literal["light", "dark"]

_COLORS = {
    "weight_pruning": "#E69F00",
    "channel_pruning": "#D55E00",
    "quantization": "#0072B2",
    "entropy_quantization": "#882255",
    "low_rank": "#009E73",
    "weight_sharing": "#CC79A7",
    "block_sharing": "#8C6BB1",
    "binarization": "#56B4E9",
    "distillation": "#A6761D",
    "recovery": "#999999",
}
_LIGHTER = {"quantization": "#3D9BDC", "channel_pruning": "#F0762B", "low_rank": "#1FBF92",
            "entropy_quantization": "#D16BA0"}
_SYMBOLS = {
    "weight_pruning": "square",
    "channel_pruning": "triangle-up",
    "quantization": "circle",
    "entropy_quantization": "hourglass",
    "low_rank": "cross",
    "weight_sharing": "pentagon",
    "block_sharing": "hexagon",
    "binarization": "x",
    "distillation": "triangle-down",
    "recovery": "bowtie",
}
_SPARE = ("#4477AA", "#AA3377", "#228833", "#CCBB44")
VARIANTS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
_ORIGINS = {  # of a search's trials: Paul Tol's bright colours, which no technique has
    "light": {"probe": "#8A8F98", "plan": "#4477AA", "sampler": "#AA3377"},
    "dark": {"probe": "#9AA0AA", "plan": "#7FB2E5", "sampler": "#EE88BB"},
}
ORIGIN_SYMBOLS = {"probe": "triangle-up", "plan": "square", "sampler": "circle"}
DIVERGING = "RdBu"
BADGE_COLORS = {"measured": "green", "simulated": "orange", "estimated": "gray", "preliminary": "blue",
                "disturbed": "red"}


def technique_color(key: str, theme: Theme = "light") -> str:
    """Colour of a technique; a fixed spare one for techniques not named here."""
    if theme == "dark" and key in _LIGHTER:
        return _LIGHTER[key]
    return _COLORS.get(key) or _SPARE[sum(key.encode()) % len(_SPARE)]


def technique_symbol(key: str) -> str:
    """Plotly marker symbol of a technique."""
    return _SYMBOLS.get(key, "diamond-tall")


def origin_color(origin: str, theme: Theme) -> str:
    """Colour of a search's trials of one origin."""
    return _ORIGINS[theme][origin]


def ink(theme: Theme) -> str:
    """Colour of baseline, current point and selection."""
    return "#1B1F24" if theme == "light" else "#F2F3F5"


def faint(theme: Theme) -> str:
    """Colour of the frontier and of grid lines."""
    return "rgba(27,31,36,0.32)" if theme == "light" else "rgba(242,243,245,0.38)"


def shade(theme: Theme) -> str:
    """Colour of what lies beyond a limit."""
    return "rgba(27,31,36,0.09)" if theme == "light" else "rgba(242,243,245,0.10)"


def pale(color: str, opacity: float = 0.45) -> str:
    """A hexadecimal colour with less weight, for error bars."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
