"""Every source by its name, in the order in which help lists them."""

from tasks.sources import github, standard
from tasks.sources.source import Source

SOURCES: dict[str, Source] = {source.name: source for source in (standard.SOURCE, github.SOURCE)}
