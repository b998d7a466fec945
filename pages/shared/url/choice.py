"""Which of several is shown where the address and pickers name it; no Streamlit here.

Until the browser has learnt of a change it goes on saying what it said before, and a redraw can start at any time with
that. So the session keeps what was chosen, and only what differs from it and was not said before is taken for news.
"""

from collections.abc import Mapping
from dataclasses import dataclass

LATE_SECONDS = 5.0


@dataclass(frozen=True)
class Choice:
    """What was chosen last.

    Attributes:
        shown: What the address and the pickers were then set to, by their names.
        said: What they said when it was chosen.
        since: When that was, on the monotonic clock.
    """

    shown: Mapping[str, str]
    said: Mapping[str, str | None]
    since: float

    def news(self, said: Mapping[str, str | None], clock: float) -> dict[str, str]:
        """What somebody has changed since; what is not there says nothing.

        Args:
            said: What the address and the pickers say now.
            clock: The monotonic clock.
        """
        late = self.said if clock - self.since < LATE_SECONDS else {}
        return {
            name: value for name, value in said.items()
            if value is not None and value not in (self.shown.get(name), late.get(name))
        }
